"""The processes that a test starts: whose they are, and waiting for something about them."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0


def wait_for(condition):
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


def workers_of(pid):
    """The worker processes that a process has started."""
    return [one for one in _processes() if _parent(one) == pid and b"spawn_main" in _command(one)]


def alive(pids):
    return [pid for pid in pids if _state(pid) not in ("", "Z")]


@contextmanager
def sweep(*words):
    """Run the command; at the end of the block neither it nor a worker of it is left."""
    command = [sys.executable, "scripts/sweep.py", *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as process:
        try:
            yield process
        finally:
            for pid in [*workers_of(process.pid), *([process.pid] if process.poll() is None else [])]:
                os.kill(pid, signal.SIGKILL)


def _processes():
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _fields(pid):
    """The state of a process and the number of its parent."""
    try:
        state, parent, *_ = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return state, int(parent)


def _state(pid):
    return _fields(pid)[0]


def _parent(pid):
    return _fields(pid)[1]


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
