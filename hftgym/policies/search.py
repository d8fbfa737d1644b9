"""The maximum of a function of one or two numbers that may have several humps."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

# So many humps are climbed, the highest points of the grid first.
_CLIMBS = 4


def maximise(
    function: Callable[..., float],
    ranges: Sequence[tuple[float, float]],
    *,
    points: int,
    also: Sequence[tuple[float, ...]] = (),
) -> tuple[tuple[float, ...], float]:
    """Return (argument, maximum): a compass search, down to steps of 1e-6, from the best of every hump on a grid.

    Args:
        function: Of as many numbers as there are ranges.
        ranges: (low, high) of each.
        points: Of the grid, along each.
        also: Where else to start.
    """
    axes = [np.linspace(low, high, points) for low, high in ranges]
    steps = np.array([axis[1] - axis[0] for axis in axes])
    grid = np.array([function(*x) for x in itertools.product(*axes)]).reshape([points] * len(axes))
    humps = np.argwhere(grid >= _highest_neighbour(grid))
    humps = humps[np.argsort(-grid[tuple(humps.T)], kind="stable")][:_CLIMBS]
    starts = [tuple(float(axis[i]) for axis, i in zip(axes, hump, strict=True)) for hump in humps]
    found = [_climb(function, ranges, start, steps.copy()) for start in (*starts, *also)]
    best, x = max(found, key=lambda pair: pair[0])
    return x, best


def _climb(
    function: Callable[..., float],
    ranges: Sequence[tuple[float, float]],
    start: tuple[float, ...],
    steps: NDArray[np.float64],
) -> tuple[float, tuple[float, ...]]:
    """Return (maximum, argument) of the hump that `start` stands on, by a compass search."""
    best = (function(*start), start)
    while steps.max() > 1e-6:
        found = best
        for i, sign in itertools.product(range(len(ranges)), (1.0, -1.0)):
            x = list(best[1])
            x[i] = float(min(max(x[i] + sign * steps[i], ranges[i][0]), ranges[i][1]))
            found = max(found, (function(*x), tuple(x)), key=lambda pair: pair[0])
        if found[0] > best[0]:
            best = found
        else:
            steps /= 2
    return best


def _highest_neighbour(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the highest of the values around each point of a grid, and at it."""
    padded = np.pad(grid, 1, constant_values=-np.inf)
    shifts = itertools.product(range(3), repeat=grid.ndim)
    return np.max([padded[tuple(slice(i, i + n) for i, n in zip(s, grid.shape, strict=True))] for s in shifts], axis=0)
