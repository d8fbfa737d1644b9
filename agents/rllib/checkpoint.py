"""A checkpoint of an RLlib run: RLlib's own folder and what the run adds to it, as one file that is whole or not there.

RLlib saves weights, optimiser and counters, but not the environments: a resumed run goes on with new episodes. Like
every such file it holds pickled objects: resume your own runs only.
"""

import io
import pickle
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from ray.rllib.algorithms.ppo import PPO

import hftgym
from agents.checkpoint import STATE, checked_state, newest_readable
from agents.ppo_config import RLlibConfig
from agents.rllib.algorithm import build_algorithm
from agents.run_folder import RunFolder, write_atomic
from agents.schedules import Average

_FOLDER = "rllib"


@dataclass(kw_only=True)
class Progress:
    """A run under way.

    Attributes:
        algorithm: RLlib's.
        average: The mean of the weights so far, if the recipe averages.
        timesteps: Environment steps done.
    """

    algorithm: PPO
    average: Average = field(default_factory=Average)
    timesteps: int = 0


def save_checkpoint(run: Progress, folder: RunFolder, *, keep: int) -> None:
    """Write a checkpoint of a run between two iterations, and delete all but the newest `keep`.

    Raises:
        RunError: It cannot be written; earlier checkpoints are untouched.
    """
    state = {"version": hftgym.__version__, "average": vars(run.average), "timesteps": run.timesteps}
    buffer = io.BytesIO()
    with tempfile.TemporaryDirectory() as temporary, zipfile.ZipFile(buffer, "w") as archive:
        run.algorithm.save_to_path(Path(temporary) / _FOLDER)
        for path in sorted(Path(temporary).rglob("*")):
            archive.write(path, path.relative_to(temporary))
        archive.writestr(STATE, pickle.dumps(state))
    write_atomic(folder.checkpoint(run.timesteps), buffer.getvalue())
    folder.prune(keep)


def load_newest(config: RLlibConfig, folder: RunFolder) -> Progress | None:
    """Return the run as its newest readable checkpoint has it, under a configuration; None without any.

    Raises:
        RunError: There are checkpoints, but none of them can be read.
    """

    def load(path: Path) -> Progress:
        state = checked_state(path)
        with tempfile.TemporaryDirectory() as temporary, zipfile.ZipFile(path) as archive:
            archive.extractall(temporary)
            algorithm = build_algorithm(config, start=state["timesteps"])
            try:
                algorithm.restore_from_path(Path(temporary) / _FOLDER)
            except BaseException:
                algorithm.stop()
                raise
        return Progress(algorithm=algorithm, average=Average(**state["average"]), timesteps=state["timesteps"])

    return newest_readable(folder, load)
