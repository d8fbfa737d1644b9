"""What a sweep runs on: something that performs tasks elsewhere, and outlives the death of whatever performs them."""

from collections.abc import Callable, Generator, Sequence
from time import perf_counter
from typing import Any, NamedTuple, Protocol

from scripts.sweeping.task import Task

ATTEMPTS = 3  # of a task whose worker dies
# Of workers. One thread each: more would only wait for each other. And no progress bars within the sweep's own.
WORKER_ENVIRONMENT = dict.fromkeys(
    (*(f"{library}_NUM_THREADS" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")), "POLARS_MAX_THREADS"), "1"
) | {"TERM": "dumb"}
Rows = list[dict[str, Any]]
Perform = Callable[[Task], Rows]


class Outcome(NamedTuple):
    """What came of a task.

    Attributes:
        task: Which.
        rows: Its results; None if it failed.
        error: Type and message of what the last attempt raised; empty if it did not fail.
        seconds: Of the last attempt, in the worker.
    """

    task: Task
    rows: Rows | None
    error: str
    seconds: float


class Engine(Protocol):
    """Performs tasks."""

    def run(self, tasks: Sequence[Task], perform: Perform) -> Generator[Outcome, None, None]:
        """Yield the outcome of every task exactly once, in the order of completion.

        An exception of `perform` is the task's outcome: another attempt would raise it again. A task whose worker or
        node dies is tried `ATTEMPTS` times. Closing the generator, or an exception in it, ends all workers.

        Args:
            tasks: With different keys.
            perform: Importable, or at least picklable; called in the workers.
        """
        ...


def attempt(perform: Perform, task: Task) -> Outcome:
    """Perform a task here, whatever it raises: what every engine calls in its workers."""
    began = perf_counter()
    try:
        rows, error = perform(task), ""
    except Exception as raised:
        rows, error = None, f"{type(raised).__name__}: {raised}"
    return Outcome(task, rows, error, perf_counter() - began)
