"""What a sweep costs on top of its tasks, and what a second worker is worth."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

from scripts.benchmarks.figure import Figure
from scripts.sweeping.dataset import Dataset
from scripts.sweeping.engine import Rows
from scripts.sweeping.local import LocalEngine
from scripts.sweeping.task import Task

_EMPTY, _BUSY, _ROUNDS = 200, 20, 7
_TASK_S = 0.1  # CPU seconds, or seconds that are waited


def perform(task: Task) -> Rows:
    """Wait for a task's seconds, then be busy for its CPU seconds."""
    time.sleep(task.values["wait_s"])
    began = time.process_time()
    while time.process_time() - began < task.values["work_s"]:
        sum(range(10_000))
    return [{"worked_s": time.process_time() - began}]


def sweep_figures() -> Iterator[Figure]:
    """Yield the overhead of a task, and the throughput of two workers against that of one."""
    with _sweep(1) as empty:
        overheads = [empty(_EMPTY) for _ in range(_ROUNDS)]
    yield Figure(
        name="sweep, overhead of a task",
        value=statistics.median(overheads) * 1e3,
        unit="ms",
        bar=20.0,
        lower_is_better=True,
        note=f"empty tasks on one worker: sent, done, written and synced; median of {_ROUNDS} x {_EMPTY}",
    )
    for name, task in (("", {"work_s": _TASK_S}), (", tasks that wait", {"wait_s": _TASK_S})):
        with _sweep(1, **task) as one, _sweep(2, **task) as two:
            ratios = [one(_BUSY) / two(2 * _BUSY) for _ in range(_ROUNDS)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        yield Figure(
            name=f"sweep, throughput of 2 workers{name}",
            value=statistics.median(ratios),
            unit="x one",
            bar=None if name else 1.8,
            note=f"median of {_ROUNDS} interleaved rounds, {spread}; machine's load {os.getloadavg()[0]:.1f}",
        )


@contextmanager
def _sweep(workers: int, *, work_s: float = 0.0, wait_s: float = 0.0) -> Iterator[Callable[[int], float]]:
    """Keep a sweep ready; give what does so many of its tasks and returns the wall seconds of one."""
    tasks = [Task("evaluate", {"i": i, "work_s": work_s, "wait_s": wait_s}) for i in range(10_000)]
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset(Path(folder))
        with dataset.writing(), closing(LocalEngine(workers).run(tasks, perform)) as outcomes:
            for _ in range(2 * workers):  # started, imported
                next(outcomes)

            def seconds(count: int) -> float:
                # What was being done when the last round ended is done by now, and does not count.
                time.sleep(3 * (work_s + wait_s))
                for _ in range(workers):
                    next(outcomes)
                began = time.perf_counter()
                for outcome in islice(outcomes, count):
                    dataset.add(outcome)
                return (time.perf_counter() - began) / count

            yield seconds
