"""What can be swept: one function per kind of task, on top of those behind the commands of the same names."""

from collections.abc import Callable, Mapping

from scripts.sweeping.engine import Rows
from scripts.sweeping.task import Task

KINDS: Mapping[str, Callable[[Task], Rows]] = {}


def perform(task: Task) -> Rows:
    """Return a task's results: flat rows of plain values, a function of the task alone."""
    return KINDS[task.kind](task)
