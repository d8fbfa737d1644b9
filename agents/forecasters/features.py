"""Rolling features of past moves: one table, a matrix that every window of moves is multiplied by.

The table is the same for a whole series and for one window, on any machine and inside an exported graph, to the last
bit: moves and weights are multiples of powers of two, small enough for all sums to be exact in float64.
"""

import numpy as np
from numpy.typing import NDArray

from hftgym.observation import CLIP_SD
from hftgym.policies.signal import GRID, WINDOW

SPANS = (1, 2, 5, 10, 20, 50)
EWMA_WEIGHTS = (0.3, 0.1, 0.05, 0.02)
NAMES: tuple[str, ...] = (*(f"sum_{span}" for span in SPANS), *(f"ewma_{weight:g}" for weight in EWMA_WEIGHTS))

# Weights times moves are multiples of 2^-44 that add up to less than 2^6: 50 of float64's 53 bits.
_WEIGHT_GRID = 2.0**-24
_CHUNK = 16_384  # windows at once, so that their float64 copy stays in the cache


def rolling_table() -> NDArray[np.float64]:
    """Return the matrix (50, 10): column j turns a window of moves, the newest last, into the feature `NAMES[j]`.

    Sums over the last h moves divided by sqrt(h), and exponentially weighted means. Each has variance 1 on independent
    moves of one standard deviation: no scaler has to be fitted, and none can look ahead.
    """
    age = np.arange(WINDOW)[::-1]
    columns = [(age < span) / np.sqrt(span) for span in SPANS]
    for weight in EWMA_WEIGHTS:
        decay = (1.0 - weight) ** age
        columns.append(decay / np.sqrt(np.sum(decay**2)))
    table = CLIP_SD * np.column_stack(columns)
    return np.rint(table / _WEIGHT_GRID) * _WEIGHT_GRID


def features(windows: NDArray[np.float32], table: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the features (N, k) of windows (N, 50) of moves on the grid (`hftgym.policies.signal.on_grid`).

    Raises:
        ValueError: A window has another length, or a move is not on the grid: its sums would not be exact.
    """
    if windows.ndim != 2 or windows.shape[1] != len(table):
        raise ValueError(f"windows must have the shape (N, {len(table)}), got {windows.shape}")
    result = np.empty((len(windows), table.shape[1]), dtype=np.float32)
    for first in range(0, len(windows), _CHUNK):
        chunk = np.asarray(windows[first : first + _CHUNK], dtype=np.float64)
        steps = chunk[:, -1] / GRID
        if (np.rint(steps) != steps).any() or (np.abs(steps) * GRID > 1.0).any():
            raise ValueError("windows must hold moves in [-1, 1] that are multiples of 2^-20; see on_grid")
        result[first : first + _CHUNK] = chunk @ table
    return result
