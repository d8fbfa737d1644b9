"""The kernel against its slow and obvious twin, tick by tick."""

import dataclasses

import numpy as np
import pytest

from hftgym.envs import MarketMakingEnv
from hftgym.market.layout import INFO_KEYS
from hftgym.params import EnvParams
from tests.reference.twin import Twin

# Where sizes are fractions, sums of them round; everywhere else these are integers.
EXACT = ("inventory", "fill_bid", "fill_ask")


def random_actions(rng, count, width=2):
    """Every kind of action: inside, at both ends, and near them."""
    actions = rng.uniform(-1, 1, (count, width))
    ends = rng.random((count, width))
    actions[ends < 0.1] = -1.0
    actions[ends > 0.85] = 1.0
    return actions.astype(np.float32)


@pytest.mark.parametrize("seed", [0, 1, 2**40 + 17])
def test_single_environment_equals_the_twin(market, seed):
    env, twin = MarketMakingEnv(params=market), Twin(market, seed)
    for episode in range(2):
        observation, _ = env.reset(seed=seed if episode == 0 else None)
        np.testing.assert_allclose(observation, twin.reset(), atol=1e-6)
        for action in random_actions(np.random.default_rng(seed), min(market.horizon, 600), env.action_space.shape[0]):
            observation, reward, terminated, _, info = env.step(action)
            expected_observation, expected = twin.step(action)
            for key in EXACT if market.market_order_size == 0 else ():
                assert info[key] == expected[key], key
            # The twin differences two equities, which costs it the digits of the cash: hence the absolute tolerances.
            digits = 1e-12 * abs(expected["cash"])
            for key in INFO_KEYS:
                assert info[key] == pytest.approx(expected[key], rel=1e-12, abs=1e-13 * abs(expected["mid"])), key
            assert reward == pytest.approx(expected["reward"], rel=1e-12, abs=digits)
            assert terminated == expected["terminated"]
            np.testing.assert_allclose(observation, expected_observation, rtol=1e-6, atol=1e-6)
            if terminated:
                break


def test_ruin_ends_the_episode():
    params = dataclasses.replace(
        EnvParams(), initial_cash=1.0, volatility=0.09, microstructure_noise=0.0, taker_fee_bps=1000.0
    )
    env = MarketMakingEnv(params=params)
    env.reset(seed=3)
    cross = np.array([-1.0, -1.0], dtype=np.float32)
    _, _, terminated, _, info = env.step(cross)
    assert info["equity"] <= 0
    assert terminated
