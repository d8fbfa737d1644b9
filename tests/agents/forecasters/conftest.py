import dataclasses

import numpy as np
import pytest

from agents.forecasters.feeds import MARKETS, Feed, windows
from hftgym.policies.signal import on_grid


@pytest.fixture
def generator():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def feed_of():
    """Make a feed of given moves, float (P, T + 1): the last one is only there to be the label of the one before."""

    def make(moves, name="planted"):
        moves = on_grid(moves)
        return Feed(
            name=name,
            params=dataclasses.replace(MARKETS["gbm"]),
            moves=moves[:, :-1],
            labels=np.sign(moves[:, 1:]).astype(np.int8),
            zscore=np.zeros(moves[:, 1:].shape, dtype=np.float32),
        )

    return make


@pytest.fixture(scope="session")
def moves_with_windows():
    """Random walks: moves on the grid (P, T) and the windows (P, T, 50) behind them."""
    moves = on_grid(np.clip(np.random.default_rng(1).normal(0, 0.2, size=(3, 200)), -1, 1))
    return moves, windows(moves)
