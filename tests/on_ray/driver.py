"""A sweep of 200 tasks, as a process: driver.py <dataset> <marks> [address [odd]]. It does what the dataset lacks.

Every attempt of a task leaves a mark, <task>.<process id>.<node>.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from scripts.sweeping.dataset import Dataset
from scripts.sweeping.on_ray import RayEngine
from scripts.sweeping.task import Task

ODD = [
    Task("odd", {"number": number, "does": does}) for number, does in enumerate(("raises", "dies", "unsendable"), 900)
]
TASKS = [Task("square", {"number": number}) for number in range(200)]
SECONDS = 0.05


def odd(does):
    if does == "raises":
        raise ValueError("so it is")
    if does == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    return [{"row": threading.Lock()}]


def main(dataset, marks, address="", *more):
    def perform(task):
        import ray

        number = task.values["number"]
        Path(marks, f"{number}.{os.getpid()}.{ray.get_runtime_context().get_node_id()}").touch()
        if task in ODD:
            return odd(task.values["does"])
        time.sleep(SECONDS)
        return [{"square": number**2}]

    dataset = Dataset(Path(dataset))
    with dataset.writing():
        wanted = [*(ODD if more else []), *TASKS]
        missing = [task for task in wanted if not dataset.path_of(task).exists()]
        for outcome in RayEngine(address or None).run(missing, perform):
            dataset.add(outcome)


if __name__ == "__main__":
    main(*sys.argv[1:])
