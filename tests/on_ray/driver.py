"""A sweep of 200 tasks, as a process: driver.py <dataset> <marks> [address]. It does what the dataset lacks.

Every attempt of a task leaves a mark, <task>.<process id>.<node>.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from scripts.sweeping.dataset import Dataset
from scripts.sweeping.on_ray import RayEngine
from scripts.sweeping.task import Task

TASKS = [Task("square", {"number": number}) for number in range(200)]
SECONDS = 0.05


def main(dataset, marks, address=""):
    def perform(task):
        import ray

        number = task.values["number"]
        Path(marks, f"{number}.{os.getpid()}.{ray.get_runtime_context().get_node_id()}").touch()
        time.sleep(SECONDS)
        return [{"square": number**2}]

    dataset = Dataset(Path(dataset))
    with dataset.writing():
        missing = [task for task in TASKS if not dataset.path_of(task).exists()]
        for outcome in RayEngine(address or None).run(missing, perform):
            assert not dataset.add(outcome), outcome


if __name__ == "__main__":
    main(*sys.argv[1:])
