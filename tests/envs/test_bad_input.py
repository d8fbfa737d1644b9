"""Errors name what was wrong, its value, and what is allowed."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded

import hftgym
from hftgym.envs import MarketMakingEnv, MarketMakingVectorEnv

BAD_ACTIONS = [
    ([np.nan, 0.0], r"\[-1, 1\]"),
    ([0.0, np.inf], r"\[-1, 1\]"),
    ([0.0, 1.0001], "1.0001"),
    ([-1.5, 0.0], "-1.5"),
    ([0.0], r"\(2,\)"),
    (0.0, r"\(2,\)"),
    ([[0.0, 0.0]], r"\(2,\)"),
    ("sell", "sell"),
    (None, r"\[-1, 1\]|\(2,\)"),
]


@pytest.mark.parametrize(("action", "message"), BAD_ACTIONS)
def test_single_environment_refuses(action, message):
    env = MarketMakingEnv()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(action)
    # Nothing happened: the next step is the first.
    fresh = MarketMakingEnv()
    fresh.reset(seed=0)
    assert (env.step([0.0, 0.0])[0] == fresh.step([0.0, 0.0])[0]).all()


def test_steps_need_a_reset():
    env = MarketMakingEnv(params=hftgym.EnvParams(horizon=1))
    with pytest.raises(ResetNeeded):
        env.step([0.0, 0.0])
    env.reset(seed=0)
    env.step([0.0, 0.0])
    with pytest.raises(ResetNeeded):
        env.step([0.0, 0.0])
    with pytest.raises(ResetNeeded):
        MarketMakingVectorEnv(2).step(np.zeros((2, 2)))


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "seven"])
@pytest.mark.parametrize("make", [MarketMakingEnv, MarketMakingVectorEnv])
def test_seeds(make, seed):
    with pytest.raises(ValueError, match=r"seed must be an integer from 0 to 2\^64 - 1"):
        make().reset(seed=seed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ticks": 3}, "ticks"),
        ({"tick": 1000}, "from 0 to 999, got 1000"),
        ({"tick": 0.5}, "got 0.5"),
        ({"inventory": 11}, "from -10 to 10, got 11"),
        ({"inventory": np.nan}, "got nan"),
        ({"tick": "late"}, "late"),
        ({"tick": [1, 2, 3]}, "a number or"),
    ],
)
@pytest.mark.parametrize("make", [MarketMakingEnv, MarketMakingVectorEnv])
def test_reset_options(make, options, message):
    with pytest.raises(ValueError, match=message):
        make().reset(options=options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "num_envs must be an integer of at least 1, got 0"),
        ({"num_envs": 2.5}, "num_envs"),
        ({"num_threads": 0}, "num_threads"),
        ({"max_episode_steps": 0}, "max_episode_steps"),
        ({"autoreset_mode": "never"}, "never"),
        ({"render_mode": "human"}, "render_mode must be None"),
    ],
)
def test_vector_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MarketMakingVectorEnv(**arguments)


def test_vector_actions():
    envs = MarketMakingVectorEnv(4, check_actions=True)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"shape \(4, 2\)"):
        envs.step(np.zeros((2, 4)))
    bad = np.zeros((4, 2))
    bad[2, 1] = np.nan
    with pytest.raises(ValueError, match="environment 2"):
        envs.step(bad)


def test_seed_list_and_masks_have_the_right_length():
    envs = MarketMakingVectorEnv(3)
    with pytest.raises(ValueError, match=r"one entry per environment \(3\), got 2"):
        envs.reset(seed=[1, 2])
    with pytest.raises(ResetNeeded):
        envs.reset(options={"reset_mask": np.array([True, False, False])})
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="reset_mask"):
        envs.reset(options={"reset_mask": np.array([1, 0, 0])})


def test_render_mode_and_params():
    with pytest.raises(ValueError, match="render_mode must be one of human, rgb_array or None, got 'ansi'"):
        MarketMakingEnv(render_mode="ansi")
    with pytest.raises(TypeError, match="params must be an EnvParams"):
        gym.make("MarketMaking-v0", params=3)
    with pytest.raises(ValueError, match="did you mean 'volatility'"):
        gym.make("MarketMaking-v0", params={"volatilty": 0.1})
