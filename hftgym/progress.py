"""A progress bar that shows itself only when there is something to wait for."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

_PATIENCE_S = 2.0


class SlowBar:
    """One bar over several parts of equal length; see `slow_bar`."""

    def __init__(self, parts: int) -> None:
        self._parts = parts
        self._begun = 0
        self._started = time.monotonic()
        self._progress: Progress | None = None

    def part(self, name: str) -> Callable[[float], None]:
        """Begin the next part and return what is told its share done, 0 to 1."""
        self._begun += 1
        before = self._begun - 1

        def update(share: float) -> None:
            if self._progress is None:
                if time.monotonic() - self._started < _PATIENCE_S:
                    return
                self._progress = _bar()
                self._progress.start()
                self._progress.add_task(name, total=self._parts)
            self._progress.update(self._progress.task_ids[0], completed=before + share, description=name)

        return update

    def close(self) -> None:
        """Take the bar away, if it came."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


@contextmanager
def slow_bar(parts: int) -> Iterator[SlowBar]:
    """Show a bar on stderr if the work takes longer than two seconds, and take it away at the end.

    Args:
        parts: How many parts of about equal length the work has.
    """
    bar = SlowBar(parts)
    try:
        yield bar
    finally:
        bar.close()


def _bar() -> Progress:
    columns = (TextColumn("  {task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    return Progress(*columns, TimeRemainingColumn(compact=True), console=Console(stderr=True), transient=True)
