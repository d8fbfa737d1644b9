"""A checkpoint: everything that a run needs to go on as if it had never stopped.

It is a Stable-Baselines3 file with one more member, so that `load_model` reads it too. Like every such file it holds
pickled objects: resume your own runs only.
"""

import io
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3 import PPO
from stable_baselines3.common.save_util import load_from_zip_file

import hftgym
from agents.run_folder import RunError, RunFolder, write_atomic
from agents.vec_env import NativeVecEnv

STATE = "training_state.pkl"

Model = PPO | RecurrentPPO
T = TypeVar("T")


def load_model(path: Path | str) -> Model:
    """Return the agent of a Stable-Baselines3 file, whichever of the two algorithms it is of."""
    data, _, _ = load_from_zip_file(path, device="cpu")
    recurrent = data is not None and issubclass(data["policy_class"], RecurrentActorCriticPolicy)
    return (RecurrentPPO if recurrent else PPO).load(path, device="cpu")


def model_bytes(model: Model) -> bytes:
    """Return the agent as the bytes of a Stable-Baselines3 file."""
    buffer = io.BytesIO()
    model.save(buffer)
    return buffer.getvalue()


def save_checkpoint(model: Model, folder: RunFolder, *, keep: int) -> Path:
    """Write a checkpoint of a model between two rollouts, and delete all but the newest `keep`.

    Raises:
        RunError: It cannot be written; earlier checkpoints are untouched.
    """
    state = {
        "version": hftgym.__version__,
        "env": model.get_env(),
        # What the LSTM remembers of the episodes under way; SB3 leaves it out of its files.
        "memory": model._last_lstm_states if isinstance(model, RecurrentPPO) else None,
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(),  # noqa: NPY002 (SB3 draws its batches from the global generator)
    }
    buffer = io.BytesIO(model_bytes(model))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(STATE, pickle.dumps(state))
    path = folder.checkpoint(model.num_timesteps)
    write_atomic(path, buffer.getvalue())
    folder.prune(keep)
    return path


def load_newest(folder: RunFolder) -> Model | None:
    """Return the model of the newest readable checkpoint, with its environments and generators; None without any.

    Raises:
        RunError: There are checkpoints, but none of them can be read.
    """
    return newest_readable(folder, _load)


def newest_readable(folder: RunFolder, load: Callable[[Path], T]) -> T | None:
    """Return what `load` makes of the newest checkpoint that it can read; None without any.

    A checkpoint that cannot be read is skipped with a RuntimeWarning that names it.

    Raises:
        RunError: There are checkpoints, but none of them can be read.
    """
    paths = folder.newest_first()
    for path in paths:
        try:
            return load(path)
        except Exception as error:  # a damaged pickle can raise anything
            reason = f"{type(error).__name__}: {error}"
            warnings.warn(f"skipping the unreadable checkpoint {path} ({reason})", RuntimeWarning, stacklevel=2)
    if paths:
        raise RunError(f"no checkpoint in {folder.checkpoints} can be read: --overwrite starts again")
    return None


def checked_state(path: Path) -> dict[str, Any]:
    """Return the state that a checkpoint holds besides the agent.

    Raises:
        BadZipFile: A member is not as it was written.
        RunError: Another version of hftgym wrote it.
    """
    with zipfile.ZipFile(path) as archive:
        # Before anything is unpickled: every member is as it was written.
        damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")
        state: dict[str, Any] = pickle.loads(archive.read(STATE))
    if state["version"] != hftgym.__version__:
        raise RunError(f"it was written by hftgym {state['version']}, this is {hftgym.__version__}")
    return state


def _load(path: Path) -> Model:
    state = checked_state(path)
    env: NativeVecEnv = state["env"]
    model = load_model(path)
    model.set_env(env, force_reset=False)
    if isinstance(model, RecurrentPPO):
        model._last_lstm_states = state["memory"]
    torch.set_rng_state(state["torch"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    return model
