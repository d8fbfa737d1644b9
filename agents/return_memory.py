"""Weighted averages of past returns: what a policy without a trained memory can know of a hidden drift."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.base_class import BaseAlgorithm

from hftgym.observation import CLIP_SD
from hftgym.policies.base import checked_observation, feature
from hftgym.rollout import Predicts

FEATURE = "last_return"
State = tuple[NDArray[np.float32], ...]


@dataclass(frozen=True)
class ReturnMemory:
    """Exponentially weighted averages of the feature `last_return`: h_k' = keep_k h_k + gain_k r, from zero on.

    The gain is such that every average of independent returns has the variance 1 after a long time.

    Attributes:
        weights: Weight of the newest return in each average, in (0, 1]; 1 is the last return itself.

    Raises:
        ValueError: There is no weight, or one is outside (0, 1].
    """

    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the weights."""
        if not self.weights or not all(0.0 < weight <= 1.0 for weight in self.weights):
            raise ValueError(f"return_weights must be one or more numbers in (0, 1], got {self.weights!r}")

    @property
    def keep(self) -> NDArray[np.float32]:
        """What stays of each average, float32 (k,)."""
        return (1.0 - np.array(self.weights)).astype(np.float32)

    @property
    def gain(self) -> NDArray[np.float32]:
        """What a return of 1 (five standard deviations) adds to each average, float32 (k,)."""
        weights = np.array(self.weights)
        return (CLIP_SD * np.sqrt(weights * (2.0 - weights))).astype(np.float32)

    def start(self, count: int) -> NDArray[np.float32]:
        """Return the averages before the first observation of `count` episodes, float32 (count, k)."""
        return np.zeros((count, len(self.weights)), dtype=np.float32)

    def after(self, memory: NDArray[np.float32], observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the averages (N, k) with the returns of the newest observations (N, 8) in them."""
        return memory * self.keep + feature(observations, FEATURE)[:, None] * self.gain


class Remembering:
    """A model that was trained on observations with averages behind them, as a policy of plain observations.

    Args:
        model: Predicts from (N, 8 + k).
        memory: The averages.
    """

    def __init__(self, model: Predicts, memory: ReturnMemory) -> None:
        self._model, self._memory = model, memory

    def predict(
        self,
        observation: Any,
        state: State | None = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.float32], State]:
        """Return (actions (N, 2), (averages (N, k),)) for observations (N, 8), or rows of them for one."""
        observations = checked_observation(observation)
        if observations.ndim == 1:
            past = None if state is None else (state[0][None],)
            actions, after = self.predict(observations[None], past, episode_start, deterministic)
            return actions[0], (after[0][0],)
        memory = self._memory.start(len(observations)) if state is None else state[0]
        if episode_start is not None:
            memory = np.where(np.asarray(episode_start)[:, None], np.float32(0), memory)
        memory = self._memory.after(memory, observations)
        actions, _ = self._model.predict(np.concatenate([observations, memory], axis=1), deterministic=deterministic)
        return actions, (memory,)


def return_memory_of(model: BaseAlgorithm) -> ReturnMemory | None:
    """Return the averages that a model of `agents.ppo` was trained with; None without any."""
    weights = getattr(model, "hftgym_config", {}).get("return_weights")
    return ReturnMemory(tuple(weights)) if weights else None


class Unremembering:
    """A model whose value function alone looks at averages, as a policy of plain observations.

    Args:
        model: Predicts from (N, 8 + k), and remembers by itself.
        memory: The averages.
    """

    def __init__(self, model: Predicts, memory: ReturnMemory) -> None:
        self._model, self._memory = model, memory

    def predict(
        self, observation: Any, state: State | None = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[NDArray[np.float32], State | None]:
        """Return the model's (actions (N, 2), state) for observations (N, 8), or rows of them for one."""
        observations = checked_observation(observation)
        unread = self._memory.start(len(np.atleast_2d(observations))).reshape(*observations.shape[:-1], -1)
        return self._model.predict(
            np.concatenate([observations, unread], axis=-1), state, episode_start, deterministic=deterministic
        )


def playable(model: BaseAlgorithm) -> Predicts:
    """Return a model as a policy of plain observations (N, 8), whatever it remembers."""
    memory = return_memory_of(model)
    if memory is None:
        return model
    return (Unremembering if isinstance(model, RecurrentPPO) else Remembering)(model, memory)
