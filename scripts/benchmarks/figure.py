"""One figure of the benchmark, and how to time two things against each other."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A measured figure with the bar it has to reach."""

    name: str
    value: float
    unit: str
    bar: float | None = None
    lower_is_better: bool = False
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the bar is reached; None without a bar."""
        if self.bar is None:
            return None
        return self.value <= self.bar if self.lower_is_better else self.value >= self.bar


def interleaved_seconds(jobs: Mapping[str, Callable[[], object]], *, rounds: int = 7) -> dict[str, float]:
    """Time several single-threaded jobs in turn, round after round, and return the median CPU seconds of each.

    What else the machine does hits all of them alike, so that their ratios mean something; CPU seconds leave out the
    time slices that it takes away.
    """
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()  # warm up: compile, fill caches
    for _ in range(rounds):
        for name, job in jobs.items():
            start = time.process_time()
            job()
            seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}
