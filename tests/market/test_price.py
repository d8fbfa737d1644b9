"""Moments and martingale property of the mid, within four standard errors."""

import math

import numpy as np
import pytest

from hftgym.envs import MarketMakingVectorEnv
from hftgym.params import EnvParams

N, TICKS = 20_000, 50
QUIET = np.ones((N, 2), dtype=np.float32)


def paths(**changes):
    envs = MarketMakingVectorEnv(N, params=EnvParams(horizon=TICKS + 1, **changes))
    _, info = envs.reset(seed=0)
    prices = [info["mid"]]
    for _ in range(TICKS):
        *_, info = envs.step(QUIET)
        prices.append(info["mid"])
    return np.array(prices)


@pytest.mark.parametrize("seed_shift", [0])
@pytest.mark.parametrize("price_model", ["geometric", "arithmetic"])
@pytest.mark.parametrize("price_steps", ["gaussian", "binary"])
def test_mid_is_a_martingale_with_the_stated_variance(price_model, price_steps, seed_shift):
    volatility, noise = 0.01, 0.5
    prices = paths(price_model=price_model, price_steps=price_steps, volatility=volatility, microstructure_noise=noise)
    final = prices[-1] / 100
    step = volatility**2 * (1 + noise**2)
    variance = (1 + step) ** TICKS - 1 if price_model == "geometric" else TICKS * step
    assert final.mean() == pytest.approx(1, abs=4 * math.sqrt(variance / N))
    kurtosis = ((final - final.mean()) ** 4).mean() / final.var() ** 2
    assert final.var() == pytest.approx(variance, abs=4 * variance * math.sqrt((kurtosis - 1) / N))
    # Martingale: moves do not correlate with the past, nor with each other.
    moves = np.diff(prices, axis=0)
    correlation = np.corrcoef(moves)
    worst = np.abs(correlation - np.eye(TICKS)).max()
    assert worst < 5 / math.sqrt(N)  # the largest of 1,225 pairs


def test_gaussian_steps_are_normal_and_binary_steps_have_two_values():
    binary = np.diff(paths(price_steps="binary", price_model="arithmetic", microstructure_noise=0.0), axis=0)
    assert np.unique(np.round(binary, 9)).tolist() == [-0.2, 0.2]
    gaussian = np.diff(paths(microstructure_noise=0.0)[:2], axis=0).ravel() / (100 * 0.002)
    assert (gaussian**4).mean() == pytest.approx(3, abs=4 * math.sqrt(96 / N))


def test_no_price_becomes_negative():
    prices = paths(price_model="arithmetic", volatility=0.1, microstructure_noise=1.0)
    assert prices.min() > 0


def test_zero_volatility_stands_still():
    assert (paths(volatility=0.0) == 100).all()
