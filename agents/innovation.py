"""The part of a price move that could not be foreseen, by a linear forecast that learns as the market goes on."""

import numpy as np
from numpy.typing import NDArray

# Strength of the belief that nothing can be foreseen, before anything has been seen: sum of squares of an input.
_PRIOR = 100.0
# Ticks of the batch that a forecast remembers.
_MEMORY_TICKS = 1e4


class Innovation:
    """Recursive least squares of the next relative move on what is seen of the market, over a batch of markets.

    The gain of inventory from a move that nobody could have foreseen is pure noise to whoever learns to quote; the gain
    from what could be foreseen is what it has to learn. Taking out the first and leaving the second needs no
    assumption that prices are a martingale, but what is foreseen by no linear forecast is lost with the noise.

    Args:
        inputs: Numbers per market that the forecast is made from.
        unit: Size of a relative move, so that one is about one.
    """

    def __init__(self, inputs: int, *, unit: float) -> None:
        self._unit = unit
        self._moments = np.eye(inputs + 1) * _PRIOR
        self._products = np.zeros(inputs + 1)
        self._weights = np.zeros(inputs + 1)

    def forecast(self, seen: NDArray[np.float32], moves: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the moves that were forecast from `seen` before anything of them was known, then learn from them.

        Args:
            seen: What was seen before the move, (N, inputs).
            moves: Relative moves of the mid, float64 (N,).
        """
        inputs = np.column_stack([np.ones(len(seen)), seen])
        forecast = inputs @ self._weights * self._unit
        keep = 1.0 - 1.0 / _MEMORY_TICKS
        self._moments = keep * self._moments + inputs.T @ inputs
        self._products = keep * self._products + inputs.T @ (moves / self._unit)
        self._weights = np.linalg.solve(self._moments, self._products)
        return forecast
