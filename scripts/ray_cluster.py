"""A Ray cluster for as long as a block runs: this machine's own, which listens on loopback alone, or one that is there.

Import this module, and enter the block, before anything imports `ray`: Ray reads its environment then.
"""

import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_REACHABLE_S = 5.0
_OBJECT_STORE_BYTES = 200_000_000
_LOOPBACK = "127.0.0.1"


class ClusterError(RuntimeError):
    """There is no cluster to work on; the message says what to do."""


@contextmanager
def connected(address: str | None, *, cpus: int) -> Iterator[None]:
    """Connect to a Ray cluster while the block runs.

    Without an address the cluster is started for the block, on this machine; all its processes end with the block, or
    with this process, however that ends. It listens on 127.0.0.1 alone, under a token of its own: plain `ray.init()`
    listens on every interface.

    Args:
        address: "host:port" of a cluster's head (`ray start --head` prints it; its token is to be in RAY_AUTH_TOKEN or
            RAY_AUTH_TOKEN_PATH), or None.
        cpus: CPUs that the cluster of this machine has to give away.

    Raises:
        ClusterError: Ray is not installed, nothing answers at the address, or Ray would not keep to loopback.
    """
    own = address is None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if own:
        # Ray's own switch for "this node is loopback", by its name for other systems alone.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    else:
        _check_reachable(address)
    try:
        import ray
    except ImportError as error:
        raise ClusterError(f"this needs Ray ({error}): pip install 'hftgym[rllib]'") from error
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    # A short path: sockets lie below it, whose paths have at most about 100 characters.
    with tempfile.TemporaryDirectory(prefix="ray_", dir="/tmp" if Path("/tmp").is_dir() else None) as folder:
        try:
            if own:
                ray.init(
                    address="local",
                    num_cpus=cpus,
                    include_dashboard=False,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    _temp_dir=folder,
                    **quiet,
                )
                _check_loopback([node["NodeManagerAddress"] for node in ray.nodes()])
            else:
                ray.init(address=address, **quiet)
            yield
        finally:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        raise ClusterError(f"address must be host:port, as in 10.0.0.5:6379, got {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=_REACHABLE_S).close()
    except OSError as error:
        raise ClusterError(
            f"no Ray cluster answers at {address} ({error}): start one there with `ray start --head`, or leave the "
            "address out to use this machine alone"
        ) from error


def _check_loopback(hosts: list[str]) -> None:
    if hosts != [_LOOPBACK]:
        raise ClusterError(f"Ray must listen on {_LOOPBACK} alone, got {hosts}: it was imported before the cluster")
