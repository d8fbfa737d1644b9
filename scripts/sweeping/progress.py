"""How far a sweep is: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_SELDOM_S = 30.0
Advance = Callable[[int], None]


@contextmanager
def shown(total: int, console: Console) -> Iterator[Advance]:
    """Show the progress of so many tasks; give what is told after each of them how many have failed."""
    with _bar(total, console) if console.is_terminal else _lines(total, console) as advance:
        yield advance


@contextmanager
def _bar(total: int, console: Console) -> Iterator[Advance]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[failed]}"))
    with Progress(
        *columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=console
    ) as progress:
        bar = progress.add_task("tasks", total=total, failed="")
        yield lambda failed: progress.update(bar, advance=1, failed=f"{failed:,} failed" if failed else "")


@contextmanager
def _lines(total: int, console: Console) -> Iterator[Advance]:
    began = told = time.monotonic()
    done = 0

    def advance(failed: int) -> None:
        nonlocal done, told
        done += 1
        now = time.monotonic()
        if now - told >= _SELDOM_S and done < total:
            left = (now - began) * (total / done - 1)
            told = now
            console.print(
                f"{done:,} of {total:,} tasks, {failed:,} failed, about {_duration(left)} left", soft_wrap=True
            )

    yield advance
    console.print(f"{done:,} of {total:,} tasks in {_duration(time.monotonic() - began)}", soft_wrap=True)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
