"""How far prices go, and what is refused because of it."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest

from hftgym import PRESETS, EnvParams
from hftgym.extremes import farthest_move
from hftgym.policies import OptimalPolicy

MARKETS = {
    "plain": EnvParams(),
    "arithmetic": EnvParams(price_model="arithmetic"),
    "drift": EnvParams(drift=1e-3),
    "jumps": EnvParams(jump_probability=0.05, jump_mean=0.002, jump_volatility=0.01),
    "regime": EnvParams(regime_switching=0.02, regime_drift=1.0, regime_volatility=2.0),
    "alpha": EnvParams(alpha_volatility=0.2, alpha_reversion=0.05),
    "volatile": EnvParams(volatility_of_volatility=0.1, volatility_reversion=0.1),
}


@pytest.mark.parametrize("params", MARKETS.values(), ids=MARKETS)
def test_no_price_goes_farther_and_the_bound_is_not_idle(params):
    envs = gym.make_vec("MarketMaking-v0", num_envs=1_000, params=params)
    envs.reset(seed=0)
    idle = np.ones((1_000, 2), dtype=np.float32)
    farthest = np.zeros(1_000)
    for _ in range(params.horizon - 1):
        *_, info = envs.step(idle)
        moved = info["mid"] / params.initial_price
        np.maximum(farthest, np.abs(moved - 1 if params.price_model == "arithmetic" else np.log(moved)), out=farthest)
    bound = farthest_move(params)
    assert bound / 6 < farthest.max() < bound


@pytest.mark.parametrize(
    "values",
    [
        {"drift": 0.01, "horizon": 80_000},
        {"jump_probability": 1.0, "jump_mean": 0.1, "horizon": 10_000},
        {"regime_drift": 10.0, "volatility": 0.1, "horizon": 2_000},
        {"alpha_volatility": 10.0, "alpha_reversion": 1e-9, "volatility": 0.01},
        {"volatility_of_volatility": 1.0, "volatility_reversion": 1e-9},
    ],
)
def test_a_price_that_leaves_float64_is_refused(values):
    with pytest.raises(ValueError, match=r"the price could move by a factor of e\^.* horizon="):
        EnvParams(**values)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (dataclasses.replace(PRESETS["alpha"], regime_drift=10.0, regime_switching=0.1), "reach their floor"),
        (EnvParams(price_model="arithmetic", volatility=0.05), "reach their floor"),
        (EnvParams(initial_cash=1.0), "does not cover ruin: initial_cash must be above 464"),
    ],
)
def test_no_optimum_is_claimed_where_the_episode_can_end_early(params, message):
    with pytest.raises(ValueError, match=message):
        OptimalPolicy(params)


def test_a_quote_below_zero_is_refused():
    with pytest.raises(ValueError, match=r"offset_low and offset_high must be within 2 .*got -1.0 and 5.0"):
        EnvParams(spread=1.0)


def test_an_integer_beyond_every_float_is_refused():
    with pytest.raises(ValueError, match="horizon must be from 1 to"):
        EnvParams(horizon=10**400)
