"""Sweeps on Ray lose nothing, whatever dies. Everything listens on loopback alone and ends with its test."""

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from scripts import ray_cluster
from scripts.sweeping.dataset import Dataset
from scripts.sweeping.engine import ATTEMPTS
from scripts.sweeping.on_ray import RayEngine

pytest.importorskip("ray", reason="the extra 'ray' is not installed")

HERE = Path(__file__).parent
OWN_SESSION = {"start_new_session": True}

pytestmark = pytest.mark.slow


@pytest.fixture
def marks(tmp_path):
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


@pytest.fixture
def environment():
    """Of Ray's processes: a folder of short names, because sockets are in it, and nothing in the home folder."""
    folder = tempfile.mkdtemp(dir="/tmp", prefix="hftgym-")
    yield {"RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0"}
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def driver(tmp_path, marks, environment):
    """Start drivers on one dataset, each in a session of its own; whatever is left of them is killed."""
    started = []

    def start(address="", *words, **more):
        command = [sys.executable, str(HERE / "driver.py"), str(tmp_path / "data"), str(marks), address, *words]
        variables = {**os.environ, **environment, **more}
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables, **OWN_SESSION))
        return started[-1]

    yield start
    for process in started:
        for pid in session(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()


@pytest.fixture
def cluster(environment):
    """A cluster of two nodes with one core each: (its process, its address, the environment of its drivers)."""
    more = {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # keeps it on loopback
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    variables, pipe = {**os.environ, **environment, **more}, subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, str(HERE / "cluster.py")], stdin=pipe, stdout=pipe, text=True, env=variables, **OWN_SESSION
    )
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("127.0.0.1:")
        yield process, address, more
    finally:
        process.communicate()  # closes its stdin
        wait_for(lambda: not session(process))


def session(process):
    """Return what lives of a process and its offspring."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            pid = int(path.name)
            if os.getsid(pid) == process.pid and "\nState:\tZ" not in (path / "status").read_text():
                found.append(pid)
    return found


def agent(pid):
    try:
        return b"Agent" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True  # it has just ended


def listening(pids):
    """Return the addresses that processes listen on, as Linux writes them."""
    links = [link for pid in pids for link in Path(f"/proc/{pid}/fd").iterdir()]
    sockets = {str(link.readlink()) for link in links if link.is_symlink()}
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return [row[1].rpartition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]


def wait_for(condition, process=None):
    deadline = time.monotonic() + 120
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def attempts(marks):
    """Return (task, process id, node) of every attempt so far."""
    return [tuple(path.name.split(".")) for path in marks.iterdir()]


def check_complete(tmp_path, process):
    """Wait for a driver, and check that every task is in the dataset once, with its own result."""
    _, stderr = process.communicate(timeout=150)
    assert process.returncode == 0, stderr
    results = Dataset(tmp_path / "data").read()
    assert len(results.files) == 200
    assert not results.unreadable
    assert sorted(results.table.select("number", "square").rows()) == [(n, n * n) for n in range(200)]
    return results.failures


def test_a_worker_is_killed_and_a_task_that_fails_fails_alone(driver, tmp_path, marks):
    process = driver("", "with odd ones")
    wait_for(lambda: len(attempts(marks)) > 20, process)
    addresses = listening(session(process))
    assert len(addresses) > 4
    assert set(addresses) <= {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1
    workers = {pid for _, pid, _ in attempts(marks)}
    os.kill(int(max(workers)), signal.SIGKILL)
    failures = sorted(check_complete(tmp_path, process).values())
    assert len(failures) == 3
    for failure, message in zip(
        failures, ("RayTaskError.*lock", "ValueError: so it is", "WorkerCrashedError"), strict=True
    ):
        assert re.match(message, failure)
    assert {pid for _, pid, _ in attempts(marks)} > workers
    assert Counter(task for task, _, _ in attempts(marks))["901"] == ATTEMPTS
    wait_for(lambda: not session(process))


def test_a_node_is_removed(driver, cluster, tmp_path, marks):
    control, address, environment = cluster
    process = driver(address, **environment)
    wait_for(lambda: len({node for _, _, node in attempts(marks)}) == 2, process)
    control.stdin.write("\n")
    control.stdin.flush()
    assert control.stdout.readline() == "removed\n"
    before = Counter(node for _, _, node in attempts(marks))
    assert not check_complete(tmp_path, process)
    after = Counter(node for _, _, node in attempts(marks))
    assert sum(after[node] > before[node] for node in after) == 1


def test_the_driver_is_stopped_and_killed(driver, tmp_path, marks):
    data = tmp_path / "data" / "results"

    def done():
        return len(list(data.rglob("*.parquet")))

    for end in (signal.SIGINT, signal.SIGKILL):
        before, process = done(), driver()
        wait_for(lambda before=before: done() > before + 20, process)
        process.send_signal(end)
        process.communicate()
        assert done() < 200
        # Ray ends with its driver, without anybody's help. Two idle agents do so when a minute has passed.
        wait_for(lambda process=process: not [pid for pid in session(process) if not agent(pid)])
    assert not check_complete(tmp_path, driver())
    # What was in flight is done once more, and nothing else.
    assert len(attempts(marks)) <= 200 + 2 * 2 * os.cpu_count()


@pytest.mark.parametrize("kind", ["closed", "silent"])
def test_a_cluster_that_is_none_is_said_to_be(driver, kind):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        if kind == "closed":
            server.close()
        process = driver(address)
        _, stderr = process.communicate(timeout=60)
    assert re.search(rf"^ConnectionError: no Ray cluster can be used at {address}: .*--engine local", stderr, re.M)
    assert ray_cluster._SOCKET_S + ray_cluster._ANSWER_S < 10


@pytest.mark.parametrize("address", ["head", "ray://head:10001", "head:", ":6379"])
def test_an_address_is_a_host_and_a_port(address):
    with pytest.raises(ValueError, match=f"address must be host:port of a Ray cluster's head, got '{address}'"):
        RayEngine(address)


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        ImportError, match=r"--engine ray needs Ray: pip install 'hftgym\[ray\]', or use --engine local"
    ):
        RayEngine()
