"""What a sweep costs on top of its tasks, and what a second worker is worth."""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from scripts.benchmarks.figure import Figure
from scripts.sweeping.dataset import Dataset
from scripts.sweeping.engine import Rows
from scripts.sweeping.local import LocalEngine
from scripts.sweeping.task import Task

_EMPTY, _BUSY, _ROUNDS = 200, 40, 5
_WORK_S = 0.1  # CPU seconds of a busy task


def perform(task: Task) -> Rows:
    """Be busy for a task's CPU seconds."""
    began = time.process_time()
    while time.process_time() - began < task.values["work_s"]:
        pass
    return [{"worked_s": time.process_time() - began}]


def sweep_figures() -> Iterator[Figure]:
    """Yield the overhead of a task, and the throughput of two workers against that of one."""
    empty = [_seconds(workers=1, count=_EMPTY, work_s=0.0) for _ in range(_ROUNDS)]
    yield Figure(
        name="sweep, overhead of a task",
        value=statistics.median(empty) * 1e3,
        unit="ms",
        bar=20.0,
        lower_is_better=True,
        note=f"{_EMPTY} empty tasks on one worker: sent, done, written and synced; median of {_ROUNDS}",
    )
    ratios = []
    for _ in range(_ROUNDS):
        one, two = (_seconds(workers=workers, count=_BUSY, work_s=_WORK_S) for workers in (1, 2))
        ratios.append(one / two)
    yield Figure(
        name="sweep, throughput of 2 workers",
        value=statistics.median(ratios),
        unit="x one",
        bar=1.8,
        note=f"{_BUSY} tasks of {_WORK_S:g} CPU s; median of {_ROUNDS} interleaved rounds, "
        f"{min(ratios):.2f} to {max(ratios):.2f}",
    )


def _seconds(*, workers: int, count: int, work_s: float) -> float:
    """Return the wall seconds per task of a sweep, once all of its workers are at work."""
    warm = [Task("evaluate", {"warm": i, "work_s": 0.2}) for i in range(workers)]
    tasks = [Task("evaluate", {"i": i, "work_s": work_s}) for i in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset(Path(folder))
        with dataset.writing(), closing(LocalEngine(workers).run([*warm, *tasks], perform)) as outcomes:
            starting, before = workers, 0
            while starting:
                starting, before = starting - ("warm" in next(outcomes).task.values), before + 1
            began, left = time.perf_counter(), count + workers - before
            for outcome in outcomes:
                dataset.add(outcome)
            return (time.perf_counter() - began) / left
