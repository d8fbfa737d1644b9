"""Feeds: what the forecaster sees is what the policy sees, and nothing of the future is in it."""

import dataclasses
import os
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from agents.forecasters.feeds import MARKETS, simulated_feed, tape_feed, windows
from agents.forecasters.oracles import bayes_proba
from hftgym.backtest import backtest
from hftgym.observation import FEATURE_NAMES
from hftgym.policies import SignalPolicy
from hftgym.policies.base import WITHDRAW
from hftgym.policies.signal import WINDOW, on_grid
from hftgym.tape import read_tape

RETURN = FEATURE_NAMES.index("last_return")


class Listens:
    """Keeps the windows that it is shown, and never trades."""

    def __init__(self):
        self.windows = []

    def proba(self, windows):
        self.windows.append(windows.copy())
        return np.full(len(windows), 0.5)


@pytest.fixture(scope="session")
def tape():
    default = Path(__file__).resolve().parents[4] / "shared" / "data"
    path = Path(os.environ.get("HFTGYM_DATA", default)) / "binance_usdm_btcusdt_20240808.gz"
    if not path.is_file():
        pytest.skip(f"real capture {path.name} not found in {path.parent} (set $HFTGYM_DATA to its folder)")
    return read_tape(path)


@pytest.mark.parametrize("name", ["gbm", "regime"])
def test_windows_are_those_that_the_policy_keeps(name):
    feed = simulated_feed(name, paths=2, ticks=120, seed=7)
    listens = Listens()
    env = gym.make("MarketMaking-v0", params=dataclasses.replace(feed.params, horizon=121))
    observation, info = env.reset(seed=8)  # the feed's second path
    policy, state = SignalPolicy(listens), None
    mids = [info["mid"]]
    _, state = policy.predict(observation, state)
    for t in range(121):
        observation, _, _, _, info = env.step(np.full(2, WITHDRAW, dtype=np.float32))
        _, state = policy.predict(observation, state, np.zeros(1, dtype=bool))
        mids.append(info["mid"])
        if t < 120:
            assert np.array_equal(listens.windows[-1][0], windows(feed.moves)[1, t])
    # The label of tick t is the move after it.
    assert np.array_equal(feed.labels[1], np.sign(np.diff(mids)[1:]))


def test_windows_end_with_their_own_tick_and_never_cross_paths(moves_with_windows):
    moves, seen = moves_with_windows
    assert np.array_equal(seen[:, :, -1], moves)
    assert np.array_equal(seen[:, 60], moves[:, 60 - WINDOW + 1 : 61])
    assert (seen[:, 0, :-1] == 0).all()


def test_the_future_changes_nothing_that_is_seen(feed_of, generator):
    moves = generator.normal(0, 0.2, size=(1, 401)).clip(-1, 1)
    other = moves.copy()
    now = 200
    other[:, now + 1 :] = generator.normal(0, 0.2, size=(1, 401 - now - 1)).clip(-1, 1)
    one, two = feed_of(moves), feed_of(other)
    rows = np.arange(now + 1)
    assert np.array_equal(one.examples(rows)[0], two.examples(rows)[0])
    assert np.array_equal(one.labels[:, :now], two.labels[:, :now])
    assert not np.array_equal(one.moves, two.moves)


@pytest.mark.parametrize("name", ["regime", "alpha"])
def test_the_oracle_does_not_look_ahead_either(name, generator):
    params = MARKETS[name]
    returns = generator.normal(0, params.nominal_volatility, size=(3, 100))
    other = returns.copy()
    other[:, 51:] *= -1
    assert np.array_equal(bayes_proba(returns, params)[:, :51], bayes_proba(other, params)[:, :51])
    assert not np.allclose(bayes_proba(returns, params)[:, 51:], bayes_proba(other, params)[:, 51:])


@pytest.mark.parametrize("name", ["regime", "alpha"])
def test_the_oracle_is_calibrated(name):
    # Among ticks with a forecast near p, a share p moves up: within four standard errors in ten bins.
    feed = simulated_feed(name, paths=100, ticks=1_000, seed=3)
    up, proba = (feed.labels > 0).ravel(), feed.bayes.ravel()
    for part in np.array_split(np.argsort(proba), 10):
        error = 0.5 / np.sqrt(len(part))
        assert abs(up[part].mean() - proba[part].mean()) < 4 * error


def test_feeds_are_deterministic_and_seeds_are_new_data():
    one, two, other = (simulated_feed("alpha", paths=2, ticks=60, seed=seed) for seed in (5, 5, 7))
    assert np.array_equal(one.moves, two.moves)
    assert not np.array_equal(one.moves, other.moves)


def test_an_unknown_feed_is_refused():
    with pytest.raises(ValueError, match="feed must be one of gbm, regime"):
        simulated_feed("brownian", paths=1)


def test_a_tape_shows_the_forecaster_what_a_backtest_shows_the_policy(tape):
    feed = tape_feed(tape, tick_s=0.5)
    listens = Listens()
    backtest(SignalPolicy(listens), tape, dataclasses.replace(feed.params, horizon=300))
    seen = np.concatenate(listens.windows)  # after the reset and after every tick but the last
    expected = windows(feed.moves)[0, :299]
    assert np.abs(seen[1:300] - expected).max() < 2e-6  # the kernel divides in another order
    assert (np.sign(seen[1:300]) == np.sign(expected)).all()


def test_the_scale_of_a_tape_is_known_before_the_test(tape):
    feed = tape_feed(tape, tick_s=0.5)
    moves = feed.moves[0, : feed.moves.shape[1] // 2].astype(np.float64) * 5
    inside = np.abs(moves) < 5
    assert inside.mean() > 0.99
    assert np.sqrt(np.mean(moves[inside] ** 2)) == pytest.approx(1.0, abs=0.1)
    assert (feed.labels == 0).mean() > 0.5
    assert feed.labels[0, -1] == 0


def test_the_moves_are_the_feature_on_the_grid():
    feed = simulated_feed("gbm", paths=1, ticks=50, seed=1)
    env = gym.make("MarketMaking-v0", params=dataclasses.replace(feed.params, horizon=51))
    env.reset(seed=1)
    for t in range(50):
        observation = env.step(np.full(2, WITHDRAW, dtype=np.float32))[0]
        assert on_grid(observation[RETURN]) == feed.moves[0, t]
