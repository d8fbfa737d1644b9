"""The recursion and the environment are the same market: simulated episodes earn what the recursion says."""

import gymnasium as gym
import numpy as np
import pytest

import hftgym  # noqa: F401  (registers the environment)
from hftgym.params import EnvParams
from hftgym.policies import AvellanedaStoikovPolicy, FixedSpreadPolicy, LinearSkewPolicy, OptimalPolicy
from hftgym.policies.recursion import quotes_of, value_of

EPISODES = 2048
MARKETS = {
    "default": EnvParams(),
    "maker fee": EnvParams(horizon=300, maker_fee_bps=1.0),
    "crossing": EnvParams(horizon=300, inventory_penalty=0.2),
    "linear fills": EnvParams(
        horizon=300, fill_model="linear", price_model="arithmetic", arrival_intensity=0.3, maker_fee_bps=-0.3
    ),
}


def simulated(policy, params):
    """Mean and standard error of the episode's reward without the price's gains, which are zero in the mean."""
    envs = gym.make_vec("MarketMaking-v0", num_envs=EPISODES, params=params)
    observations, _ = envs.reset(seed=0)
    total = np.zeros(EPISODES)
    for _ in range(params.horizon):
        observations, rewards, _, _, info = envs.step(policy.predict(observations)[0])
        total += rewards - info["inventory_pnl"]
    envs.close()
    return total.mean(), total.std() / np.sqrt(EPISODES)


@pytest.mark.slow
@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("make", [OptimalPolicy, AvellanedaStoikovPolicy, LinearSkewPolicy, FixedSpreadPolicy])
def test_simulated_reward_is_the_exact_value(market, make):
    params = MARKETS[market]
    policy = make(params=params)
    mean, error = simulated(policy, params)
    assert abs(mean - value_of(params, *quotes_of(policy, params))) < 4 * error
