"""Rewards as a value function learns them best: around zero, of size one."""

import numpy as np
from numpy.typing import NDArray

# Share of the newest tick in the means once there are enough ticks.
_SHARE = 1e-3
_SMALLEST_STD = 1e-12


class RewardScale:
    """Running mean and standard deviation of the rewards of a batch, tick by tick.

    Where every episode has the same number of ticks, taking a constant from each reward changes no policy's rank. What
    it takes away is the level of the value function (as in Naik, Wan, Tomar & Sutton 2024, "Reward centering"): in the
    default market 3 of quote currency, where one unit of inventory more makes a difference of 0.003.
    """

    def __init__(self) -> None:
        self._ticks = 0
        self._mean = self._variance = 0.0

    def normalized(self, rewards: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take in the rewards of one tick, (N,), and return them normalised."""
        self._ticks += 1
        share = max(_SHARE, 1.0 / self._ticks)
        self._mean += share * (float(rewards.mean()) - self._mean)
        self._variance += share * (float(np.square(rewards - self._mean).mean()) - self._variance)
        return (rewards - self._mean) / max(self._variance**0.5, _SMALLEST_STD)
