"""Walk-forward splits with an embargo: a test comes after all that was trained on, and shares no move with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


class LookAheadError(ValueError):
    """A split lets the training see what it is tested on, or what comes after it."""


@dataclass(frozen=True, eq=False)
class Split:
    """One fold.

    Attributes:
        train: Numbers of the ticks to train on, ascending.
        test: Numbers of the ticks to test on, ascending.
    """

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def walk_forward(count: int, *, folds: int, embargo: int, first: float = 0.5) -> tuple[Split, ...]:
    """Return folds over ticks 0 to count - 1 that train on everything before their test, less the embargo.

    Args:
        count: Number of ticks.
        folds: How many tests the later part is cut into, one after the other.
        embargo: Ticks left out between training and test: a window and the horizon of a label, at least.
        first: Share of the ticks that comes before the first test.

    Raises:
        ValueError: An argument is outside its range, or there are too few ticks.
    """
    if folds < 1 or embargo < 0 or not 0.0 < first < 1.0:
        raise ValueError(
            "folds must be at least 1, embargo at least 0 and first between 0 and 1, got "
            f"folds={folds}, embargo={embargo}, first={first}"
        )
    bounds = np.linspace(int(first * count), count, folds + 1).astype(np.int64)
    if bounds[0] <= embargo or (np.diff(bounds) < 1).any():
        raise ValueError(f"{count} ticks are too few for {folds} folds with an embargo of {embargo}")
    return tuple(Split(np.arange(start - embargo), np.arange(start, stop)) for start, stop in pairwise(bounds))


def check_splits(splits: Sequence[Split], *, embargo: int) -> None:
    """Raise a LookAheadError if a test is not after its whole training, with the embargo between them.

    Raises:
        LookAheadError: The message names the fold and the two ticks.
        ValueError: A part is empty.
    """
    for fold, split in enumerate(splits):
        if not (split.train.size and split.test.size):
            raise ValueError(f"fold {fold} has {split.train.size} ticks to train on and {split.test.size} to test on")
        last, first = int(split.train.max()), int(split.test.min())
        if first - last <= embargo:
            raise LookAheadError(
                f"fold {fold} trains on tick {last} and tests on tick {first}: a test must come at least "
                f"{embargo + 1} ticks after all that it was trained on (a window, and what a label looks ahead)"
            )
