"""The engine of many machines: Ray tasks, on a cluster that there is or on one of this machine alone."""

import os
import secrets
import socket
import tempfile
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from scripts.sweeping.engine import ATTEMPTS, WORKER_ENVIRONMENT, Outcome, Perform, attempt
from scripts.sweeping.task import Task

_AHEAD = 2  # tasks in flight per core: one runs, and the next is there when it ends
_SOCKET_S, _ANSWER_S = 2.0, 4.0  # how long a cluster may take to accept a connection, and to answer
_ROOT = Path(__file__).parents[2]
# What of the repository is not code, or is another machine's: compiled kernels fit one processor.
_LEFT_BEHIND = [".git", ".venv", "runs", "docs", "tests", "dist", "**/__pycache__"]


class RayEngine:
    """Ray tasks of one core each.

    Args:
        address: host:port of the head of a cluster that this machine is a node of; its nodes need the same Python
            packages, the repository's own code is sent to them. None starts a cluster on this machine, with all its
            cores: on the loopback interface alone, with a token of its own, and ended with the sweep.

    Raises:
        ImportError: Ray is not installed.
        ValueError: The address is not host:port.
    """

    def __init__(self, address: str | None = None) -> None:
        host, _, port = (address or "127.0.0.1:0").rpartition(":")
        if not host or "/" in host or not port.isdecimal():
            raise ValueError(f"--address must be host:port of a Ray cluster's head, got {address!r}")
        self._address = address
        self._place = host, int(port)
        # Ray reads some of it when it is imported, and some when it starts.
        self._environment = _joining_environment() if address else _own_environment()
        with _environment(self._environment):
            self._ray = _import_ray()

    def run(self, tasks: Sequence[Task], perform: Perform) -> Generator[Outcome, None, None]:
        """Yield the outcome of every task, see `Engine.run`.

        Raises:
            ConnectionError: No cluster answers at the address.
        """
        ray = self._ray
        with self._cluster():

            def work(task: Task) -> Outcome:
                return attempt(perform, task)

            remote = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(work)
            waiting, running = iter(tasks), {}
            while True:
                # Asked anew each time: nodes come and go.
                cores = int(ray.cluster_resources().get("CPU", 1))
                room = max(_AHEAD * cores - len(running), 0)
                running |= {remote.remote(task): task for task in islice(waiting, room)}
                if not running:
                    return
                ray.wait(list(running))
                ended, _ = ray.wait(list(running), num_returns=len(running), timeout=0)
                yield from [_outcome(ray, reference, running.pop(reference)) for reference in ended]

    @contextmanager
    def _cluster(self) -> Iterator[None]:
        """Be a driver while the block runs."""
        with _environment(self._environment), self._joined() if self._address else _own_cluster(self._ray):
            try:
                yield
            finally:
                self._ray.shutdown()

    @contextmanager
    def _joined(self) -> Iterator[None]:
        """Connect to the cluster at the address.

        Raises:
            ConnectionError: It does not answer, or does not take this driver.
        """
        address = str(self._address)
        _check_answers(address, self._place)
        sent = {"working_dir": str(_ROOT), "excludes": _LEFT_BEHIND, "env_vars": WORKER_ENVIRONMENT}
        try:
            self._ray.init(address=address, runtime_env=sent, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # Ray's own classes, OSError, RuntimeError, and gRPC's
            raise _unreachable(address, f"{_reason(error)}; this machine must be a node of it") from error
        yield


@contextmanager
def _own_cluster(ray: ModuleType) -> Iterator[None]:
    """Start a cluster on this machine; Ray's processes end with this one, however it ends.

    Raises:
        RuntimeError: Ray would listen to other machines.
    """
    # Not in any temporary folder: the names of its sockets must not become too long.
    place = os.environ.get("RAY_TMPDIR", "/tmp")
    with tempfile.TemporaryDirectory(dir=place, prefix="hftgym-ray-", ignore_cleanup_errors=True) as folder:
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        ray.init(address="local", _temp_dir=folder, **quiet)
        if ray.util.get_node_ip_address() != "127.0.0.1":
            ray.shutdown()
            raise RuntimeError("ray was imported before RayEngine was made: it would listen to other machines")
        yield


def _own_environment() -> dict[str, str]:
    """Return the environment of a cluster of this machine's own, and of its workers."""
    return {
        # Ray's switch for desktops, and the only one that keeps every port of it on the loopback interface.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        # With a token of its own Ray writes none into the home folder.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "PYTHONPATH": os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        **WORKER_ENVIRONMENT,
    }


def _import_ray() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise ImportError("--engine ray needs Ray: pip install 'hftgym[ray]', or use --engine local") from error
    return ray


def _check_answers(address: str, place: tuple[str, int]) -> None:
    """Raise a ConnectionError unless a cluster's head answers at an address; `ray.init` would wait for minutes."""
    try:
        socket.create_connection(place, timeout=_SOCKET_S).close()
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from error
    # What `ray.init` begins with; there is no public way to ask. It is compiled, which pyright does not look into.
    from ray._raylet import GcsClient  # pyright: ignore[reportAttributeAccessIssue]

    found: list[Exception | None] = []

    def ask() -> None:
        try:
            GcsClient(address=address)
            found.append(None)
        except Exception as error:  # Ray's own classes have no base in common
            found.append(error)

    # It cannot be interrupted: a thread that is left behind ends with this process.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_ANSWER_S)
    if not found:
        raise _unreachable(address, f"something listens there, but gave no answer in {_ANSWER_S:g} s")
    if found[0] is not None:
        raise _unreachable(address, _reason(found[0])) from found[0]


def _unreachable(address: str, why: str) -> ConnectionError:
    return ConnectionError(f"no Ray cluster can be used at {address}: {why}. --engine local needs none")


def _joining_environment() -> dict[str, str]:
    """Return what Ray needs to use a token that it would find here: for a given address it looks for none unasked."""
    file = Path.home() / ".ray" / "auth_token"
    known = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH") or file.exists()
    return {"RAY_AUTH_MODE": "token"} if known and "RAY_AUTH_MODE" not in os.environ else {}


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables while the block runs."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def _outcome(ray: ModuleType, reference: Any, task: Task) -> Outcome:
    """Return what came of a task that has ended."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:  # no worker could tell: it died too often, or never had the code
        return Outcome(task, None, f"{type(error).__name__}: {_reason(error)}", 0.0)


def _reason(error: BaseException) -> str:
    """Return the first sentence of an error's last line: above it Ray puts tracebacks, behind it whole manuals."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip().partition(". ")[0] if lines else type(error).__name__
