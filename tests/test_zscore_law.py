"""On a martingale the z-score rule pays the spread and nothing else: its figures are known."""

import math

import numpy as np
import pytest

from hftgym.envs import MarketMakingVectorEnv
from hftgym.params import EnvParams
from hftgym.policies import ZScorePolicy


def play(params, episodes, seed=0):
    """Return per episode: PnL, units traded, and value traded."""
    envs = MarketMakingVectorEnv(episodes, params=params)
    observation, info = envs.reset(seed=seed)
    policy, units, value = ZScorePolicy(entry=1.5), np.zeros(episodes), np.zeros(episodes)
    for _ in range(params.horizon):
        mid = info["mid"]
        action, _ = policy.predict(observation)
        observation, _, _, _, info = envs.step(action)
        traded = info["fill_bid"] + info["fill_ask"]
        units, value = units + traded, value + traded * mid
    return info["equity"] - params.initial_cash, units, value


@pytest.mark.slow
def test_it_loses_the_half_spread_per_unit_on_gbm():
    """Published in the project's research: -2.44 +/- 0.08 bp per unit, half-spread 2.5 bp, fees off."""
    params = EnvParams(horizon=5_000, taker_fee_bps=0.0)
    pnl, units, value = play(params, 8_000)
    per_unit = 1e4 * pnl.sum() / value.sum()
    error = 1e4 * pnl.std() * math.sqrt(len(pnl)) / value.sum()
    assert per_unit == pytest.approx(-2.5, abs=4 * error)
    assert per_unit < -5 * error
    assert units.mean() > 300


def test_it_earns_nothing_without_a_spread():
    params = EnvParams(spread=1e-12, taker_fee_bps=0.0, inventory_penalty=0.0)
    pnl, units, _ = play(params, 4_000)
    assert abs(pnl.mean()) < 4 * pnl.std() / math.sqrt(len(pnl))
    assert units.mean() > 50


def test_its_cost_is_exactly_spread_and_fees():
    """Without the martingale part nothing random is left: half-spread and fee per unit traded."""
    params = EnvParams(volatility=1e-9, price_model="arithmetic")
    envs = MarketMakingVectorEnv(64, params=params)
    observation, info = envs.reset(seed=1)
    policy, traded = ZScorePolicy(), 0.0
    for _ in range(params.horizon):
        action, _ = policy.predict(observation)
        observation, _, _, _, info = envs.step(action)
        traded += (info["fill_bid"] + info["fill_ask"]).sum()
    assert traded > 1_000
    cost = (params.initial_cash - info["equity"]).sum() / traded
    assert cost == pytest.approx(100 * (params.spread / 2 + 1e-4), rel=1e-3)
