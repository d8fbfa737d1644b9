"""What workers of these tests perform; here, so that they can import it."""

import os
import signal
import time
from pathlib import Path

from scripts.sweeping.task import Task


def perform(task):
    """Do what a task's values say, and return the number of the process."""
    values = task.values
    if "begun" in values:
        Path(values["begun"], f"{task.key}.{os.getpid()}").touch()
    if values.get("deadly") or ("deadly_once" in values and _first(Path(values["deadly_once"]))):
        os.kill(os.getpid(), signal.SIGKILL)
    if "error" in values:
        raise ValueError(values["error"])
    if values.get("unsendable"):
        return [{"row": lambda: None}]
    if values.get("deaf"):
        os.kill(os.getpid(), signal.SIGSTOP)  # as deaf as native code that never comes back
    if values.get("forever"):
        while True:
            time.sleep(1)
    return [{"pid": os.getpid(), "i": values.get("i"), "threads": os.environ["OMP_NUM_THREADS"]}]


def _first(mark):
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def tasks(count, **values):
    return [Task("evaluate", {"i": i, **values}) for i in range(count)]
