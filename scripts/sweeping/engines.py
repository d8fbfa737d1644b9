"""Which engine a command line asks for."""

import os

from scripts.sweeping.engine import Engine
from scripts.sweeping.local import LocalEngine
from scripts.sweeping.on_ray import RayEngine


def engine_for(name: str, *, workers: int, address: str | None) -> Engine:
    """Return the engine that was asked for.

    Args:
        name: "local" or "ray".
        workers: Processes of the local engine; 0 for one per core.
        address: Of the Ray cluster; None for a new one on this machine.

    Raises:
        ValueError: An option has no effect, or is outside its range.
        ImportError: Ray is not installed.
    """
    if name == "ray":
        if workers:
            raise ValueError(f"--workers has no effect with --engine ray, got {workers}")
        return RayEngine(address)
    if address is not None:
        raise ValueError(f"--address needs --engine ray, got {address}")
    return LocalEngine(workers or len(os.sched_getaffinity(0)))
