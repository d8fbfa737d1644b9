"""What Ray costs a sweep: the time until its first result, and per task."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from scripts.benchmarks.figure import Figure
from scripts.sweeping.dataset import Dataset
from scripts.sweeping.engine import Rows
from scripts.sweeping.on_ray import RayEngine
from scripts.sweeping.task import Task

_TASKS = 1_000


def nothing(task: Task) -> Rows:
    """Return a row for no work."""
    return [dict(task.values)]


def ray_figures(tasks: int = _TASKS) -> Iterator[Figure]:
    """Yield what a sweep of empty tasks takes on a cluster of this machine alone, its files written."""
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset(Path(folder))
        with dataset.writing():
            began = time.perf_counter()
            outcomes = RayEngine().run([Task("nothing", {"number": number}) for number in range(tasks)], nothing)
            dataset.add(next(outcomes))
            first_s, cpu_s = time.perf_counter() - began, time.process_time()
            for outcome in outcomes:
                dataset.add(outcome)
            rest_s, cpu_s = time.perf_counter() - began - first_s, time.process_time() - cpu_s
    yield Figure(name="sweep on Ray, start to first result", value=first_s, unit="s", lower_is_better=True)
    # Of a core: what it could have worked in between two tasks.
    overhead_ms = 1e3 * rest_s * cores / (tasks - 1)
    note = f"{tasks:,} empty tasks on {cores} cores, their files written, the driver on the same cores"
    yield Figure(
        name="sweep on Ray, overhead per task", value=overhead_ms, unit="ms", bar=50, lower_is_better=True, note=note
    )
    driver_ms = 1e3 * cpu_s / (tasks - 1)
    note = f"CPU; a cluster of any size yields at most {1e3 / driver_ms:,.0f} results a second"
    yield Figure(name="sweep on Ray, driver per task", value=driver_ms, unit="ms", lower_is_better=True, note=note)
