import dataclasses

import numpy as np
import pytest

from agents.forecasters.catalogue import ON_MOVES
from agents.forecasters.feeds import MARKETS, Feed, windows
from agents.forecasters.nets import LSTM, Transformer
from hftgym.policies.signal import on_grid


@pytest.fixture(scope="session")
def hasty():
    """Untrained forecasters by name whose nets take a few steps: for laws that hold however much was learned."""
    return {
        **ON_MOVES,
        "LSTM": lambda seed: LSTM(seed=seed, passes=1, least_steps=4),
        "Transformer": lambda seed: Transformer(seed=seed, passes=1, least_steps=4),
    }


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
