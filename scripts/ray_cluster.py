"""A Ray cluster for as long as a block runs: this machine's own, which listens on loopback alone, or one that is there.

Enter the block before anything imports `ray`: Ray reads a part of its environment then.
"""

import importlib
import os
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

_ROOT = Path(__file__).parents[1]
_LOOPBACK = "127.0.0.1"
_SOCKET_S, _ANSWER_S = 2.0, 4.0  # how long a cluster may take to accept a connection, and to answer
# Nets and batches of this size only wait for further threads.
_THREADS: Mapping[str, str] = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
# What of the repository is not code, or is another machine's: compiled kernels fit one processor.
_NOT_SENT = [".git", ".venv*", "runs", "docs", "tests", "dist", "**/__pycache__"]


@contextmanager
def connected(
    address: str | None, *, cpus: int | None = None, workers: Mapping[str, str] = _THREADS
) -> Iterator[ModuleType]:
    """Be the driver of a Ray cluster while the block runs, and return the module `ray`.

    Without an address the cluster is this machine's, under a token of its own, and on the loopback interface alone
    (`ray.init()` by itself listens on all of them). Its processes end with the block, or with this process, however
    that ends.

    Args:
        address: host:port of the head of a cluster that this machine is a node of. Its nodes need the same Python
            packages; the code of this repository is sent to them.
        cpus: CPUs that a cluster of this machine's own has to give away; None is all of them.
        workers: Environment of the workers.

    Raises:
        ImportError: Ray is not installed.
        ValueError: The address is not host:port.
        ConnectionError: No cluster answers at the address (known after at most ten seconds).
        RuntimeError: Ray was imported before, and would listen to other machines.
    """
    with ExitStack() as stack:
        stack.enter_context(_environment(_token_mode() if address else own_environment(workers)))
        ray = _import_ray()
        if address:
            stack.callback(ray.shutdown)
            _join(ray, address, workers)
        else:
            folder = TemporaryDirectory(prefix="hftgym-ray-", dir=_short(), ignore_cleanup_errors=True)
            stack.enter_context(folder)
            stack.callback(ray.shutdown)
            _start(ray, folder.name, cpus)
        yield ray


def own_environment(workers: Mapping[str, str] = _THREADS) -> dict[str, str]:
    """Return the environment of a cluster of this machine's own, which its processes inherit."""
    path = filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")])
    return {
        # Ray's switch for desktops, and the only one that keeps every port of it on the loopback interface.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray's workers give way to everything else on the machine: on a busy one they would never start.
        "RAY_worker_niceness": "0",
        # With a token of its own Ray writes none into the home folder.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32),
        "PYTHONPATH": os.pathsep.join(path),
        **workers,
    }


def place_of(address: str) -> tuple[str, int]:
    """Return host and port of a cluster's head.

    Raises:
        ValueError: It is not host:port.
    """
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise ValueError(f"address must be host:port of a Ray cluster's head, got {address!r}")
    return host, int(port)


def reason(error: BaseException) -> str:
    """Return the first sentence of an error's last line: above it Ray puts tracebacks, behind it whole manuals."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip().partition(". ")[0] if lines else type(error).__name__


def _start(ray: ModuleType, folder: str, cpus: int | None) -> None:
    ray.init(
        address="local",
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        _temp_dir=folder,
    )
    if ray.util.get_node_ip_address() != _LOOPBACK:
        raise RuntimeError("ray was imported before the cluster was asked for: it would listen to other machines")


def _join(ray: ModuleType, address: str, workers: Mapping[str, str]) -> None:
    _check_answers(address)
    sent = {"working_dir": str(_ROOT), "excludes": _NOT_SENT, "env_vars": dict(workers)}
    try:
        ray.init(address=address, runtime_env=sent, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # Ray's own classes, OSError, RuntimeError, and gRPC's
        raise _unusable(address, f"{reason(error)}; this machine must be a node of it") from error


def _check_answers(address: str) -> None:
    """Raise a ConnectionError unless a cluster's head answers at an address: `ray.init` would wait for minutes."""
    try:
        socket.create_connection(place_of(address), timeout=_SOCKET_S).close()
    except OSError as error:
        raise _unusable(address, error.strerror or str(error)) from error
    # What `ray.init` begins with; there is no public way to ask.
    client = importlib.import_module("ray._raylet").GcsClient

    found: list[Exception | None] = []

    def ask() -> None:
        try:
            client(address=address)
            found.append(None)
        except Exception as error:  # Ray's own classes have no base in common
            found.append(error)

    # It cannot be interrupted: a thread that is left behind ends with this process.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_ANSWER_S)
    if not found:
        raise _unusable(address, f"something listens there, but gave no answer in {_ANSWER_S:g} s")
    if found[0] is not None:
        raise _unusable(address, reason(found[0])) from found[0]


def _unusable(address: str, why: str) -> ConnectionError:
    return ConnectionError(f"no Ray cluster can be used at {address}: {why}")


def _token_mode() -> dict[str, str]:
    """Return what makes Ray use a token that it would find, where nobody has said whether it should."""
    known = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    there = known or (Path.home() / ".ray" / "auth_token").exists()
    return {"RAY_AUTH_MODE": "token"} if there and "RAY_AUTH_MODE" not in os.environ else {}


def _import_ray() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise ImportError(f"this needs Ray ({error}): pip install 'hftgym[ray]'") from error
    return ray


def _short() -> str:
    """Return a folder with a short name: sockets lie below it, whose paths have about 100 characters at most."""
    return os.environ.get("RAY_TMPDIR", "/tmp")


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables while the block runs."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
