"""Golden rollout: the behaviour of v0. A change here means a new version of the environment, never an edit."""

import gymnasium as gym
import numpy as np
import pytest

import hftgym  # noqa: F401 (registers)

# Mid, inventory, cash, sum of rewards and sum of the observation after 1, 10, 100 and 1,000 ticks of seed 2026.
GOLDEN = {
    1: (99.73946592388629, 0.0, 10000.0, 0.0, 0.73875892162323),
    10: (100.38262668063594, -1.0, 10100.149287430571, -0.2355392500640627, 2.949253559112549),
    100: (98.7156023577113, 2.0, 9796.651035334058, -6.064159950519036, 0.8617652058601379),
    1000: (106.46781502928307, -3.0, 10299.375049506314, -25.93279558156062, -0.6169388890266418),
}


def script(tick):
    """A fixed mixture of quoting, withdrawing and crossing."""
    if tick % 97 == 0:
        return np.array([-1.0, 1.0], dtype=np.float32)
    if tick % 89 == 0:
        return np.array([1.0, -1.0], dtype=np.float32)
    return np.array([(tick * 37 % 41 - 20) / 128, (tick * 53 % 41 - 20) / 128], dtype=np.float32)


def play():
    env = gym.make("MarketMaking-v0")
    env.reset(seed=2026)
    record, total = {}, 0.0
    for tick in range(1, 1001):
        observation, reward, terminated, _, info = env.step(script(tick))
        total += reward
        if tick in (1, 10, 100, 1000):
            record[tick] = (info["mid"], info["inventory"], info["cash"], total, float(observation.sum()))
    assert terminated
    return record


def test_golden_rollout():
    for tick, values in play().items():
        assert values == pytest.approx(GOLDEN[tick], rel=1e-12, abs=1e-12), tick
