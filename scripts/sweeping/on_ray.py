"""The engine of many machines: Ray tasks, on a cluster that there is or on one of this machine alone."""

from collections.abc import Generator, Sequence
from importlib.util import find_spec
from itertools import islice
from types import ModuleType
from typing import Any

from scripts.ray_cluster import connected, place_of, reason
from scripts.sweeping.engine import ATTEMPTS, WORKER_ENVIRONMENT, Outcome, Perform, attempt
from scripts.sweeping.task import Task

_AHEAD = 2  # tasks in flight per core: one runs, and the next is there when it ends


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
        if address is not None:
            place_of(address)
        if find_spec("ray") is None:
            raise ImportError("--engine ray needs Ray: pip install 'hftgym[ray]', or use --engine local")
        self._address = address

    def run(self, tasks: Sequence[Task], perform: Perform) -> Generator[Outcome, None, None]:
        """Yield the outcome of every task, see `Engine.run`.

        Raises:
            ConnectionError: No cluster answers at the address.
        """
        try:
            with connected(self._address, workers=WORKER_ENVIRONMENT) as ray:
                yield from _outcomes(ray, tasks, perform)
        except ConnectionError as error:
            raise ConnectionError(f"{error}. --engine local needs none") from error


def _outcomes(ray: ModuleType, tasks: Sequence[Task], perform: Perform) -> Generator[Outcome, None, None]:
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


def _outcome(ray: ModuleType, reference: Any, task: Task) -> Outcome:
    """Return what came of a task that has ended."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:  # no worker could tell: it died too often, or never had the code
        return Outcome(task, None, f"{type(error).__name__}: {reason(error)}", 0.0)
