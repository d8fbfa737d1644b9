"""Every price and flow process against its moments or its stationary law, within four standard errors."""

import math

import numpy as np
import pytest

from hftgym.envs import MarketMakingVectorEnv
from hftgym.market import batch
from hftgym.market import layout as at
from hftgym.params import EnvParams

pytestmark = pytest.mark.slow  # half a million draws each; CI runs them

N, TICKS = 20_000, 80
AT_THE_MID = np.full((N, 2), -2 / 3, dtype=np.float32)  # offset 0: filled whenever a market order arrives
QUIET = np.ones((N, 2), dtype=np.float32)


def run(actions=QUIET, *fields, **changes):
    """Return mids (TICKS + 1, N), and the named hidden fields before every tick, (TICKS + 1, N) each."""
    envs = MarketMakingVectorEnv(N, params=EnvParams(horizon=TICKS + 1, microstructure_noise=0.0, **changes))
    _, info = envs.reset(seed=0)
    record = []
    for _ in range(TICKS + 1):
        hidden = batch.fields(envs._memory, N)
        record.append([info["mid"], *(hidden[:, f, :].reshape(-1)[:N].copy() for f in fields)])
        *_, info = envs.step(actions)
    return np.array(record).transpose(1, 0, 2)


def assert_moments(sample, mean, variance):
    assert sample.mean() == pytest.approx(mean, abs=4 * math.sqrt(variance / len(sample)))
    kurtosis = ((sample - sample.mean()) ** 4).mean() / sample.var() ** 2
    assert sample.var() == pytest.approx(variance, abs=4 * variance * math.sqrt((kurtosis - 1) / len(sample)))


def ar1_variance(shock, kept, ticks):
    return shock**2 * (1 - kept ** (2 * ticks)) / (1 - kept**2)


@pytest.mark.parametrize("theta", [0.01, 0.2])
def test_ornstein_uhlenbeck(theta):
    """A known simulator forgets the time step in the pull, and is at its mean after one tick."""
    (mids,) = run(price_model="arithmetic", mean_reversion=theta)
    assert_moments(mids[-1], 100, ar1_variance(0.2, 1 - theta, TICKS))
    lagged = np.cov(mids[-11], mids[-1])[0, 1]
    expected = (1 - theta) ** 10 * ar1_variance(0.2, 1 - theta, TICKS - 10)
    assert lagged == pytest.approx(expected, abs=4 * ar1_variance(0.2, 1 - theta, TICKS) / math.sqrt(N))


def test_pull_is_exact_without_noise():
    envs = MarketMakingVectorEnv(1, params=EnvParams(volatility=0.0, mean_reversion=0.25, drift=0.01))
    envs.reset(seed=0)
    price = 100.0
    for _ in range(20):
        *_, info = envs.step(np.ones((1, 2)))
        price = price + price * 0.01 + 0.25 * (100 - price)
        assert info["mid"][0] == pytest.approx(price, rel=1e-14)


def test_drift():
    (mids,) = run(drift=1e-3)
    growth, square = 1.001**TICKS, (1.001**2 + 0.002**2) ** TICKS
    assert_moments(mids[-1] / 100, growth, square - growth**2)


def test_jumps():
    p, mean, std = 0.05, -0.004, 0.02
    (mids,) = run(jump_probability=p, jump_mean=mean, jump_volatility=std)
    moves = (np.diff(mids, axis=0) / mids[:-1]).ravel()
    variance = 0.002**2 + p * (std**2 + mean**2) - (p * mean) ** 2
    assert_moments(moves, p * mean, variance)
    # A move beyond six ordinary standard deviations is a jump.
    far = 0.5 * (math.erfc((0.012 - mean) / std / math.sqrt(2)) + math.erfc((0.012 + mean) / std / math.sqrt(2)))
    share = (np.abs(moves) > 0.012).mean()
    assert share == pytest.approx(p * far, rel=0.05)


def test_stochastic_volatility():
    mids, logs = run(QUIET, at.LOG_VOLATILITY, volatility_of_volatility=0.1, volatility_reversion=0.1)
    variance = ar1_variance(0.1, 0.9, TICKS)
    assert_moments(logs[-1], 0, variance)
    moves = np.diff(mids, axis=0)[-1] / mids[-2]
    before = ar1_variance(0.1, 0.9, TICKS - 1)
    assert_moments(moves, 0, 0.002**2 * math.exp(2 * before))
    assert_moments(moves / np.exp(logs[-2]), 0, 0.002**2)


def test_regimes():
    switching = 0.05
    mids, regime = run(QUIET, at.REGIME, regime_switching=switching, regime_drift=0.5, regime_volatility=3.0)
    assert set(np.unique(regime)) == {-1.0, 1.0}
    assert abs(regime[0].mean()) < 4 / math.sqrt(N)
    for lag in (1, 10, 40):
        agreement = (regime[0] * regime[lag]).mean()
        assert agreement == pytest.approx((1 - 2 * switching) ** lag, abs=4 / math.sqrt(N))
    moves = (np.diff(mids, axis=0) / mids[:-1]).ravel()
    up = regime[:-1].ravel() > 0
    assert_moments(moves[up], 0.5 * 0.002, (3 * 0.002) ** 2)
    assert_moments(moves[~up], -0.5 * 0.002, 0.002**2)


def test_hidden_drift():
    mids, alpha = run(QUIET, at.ALPHA, alpha_volatility=0.2, alpha_reversion=0.05)
    assert_moments(alpha[-1], 0, ar1_variance(0.2 * 0.002, 0.95, TICKS))
    moves = np.diff(mids, axis=0) / mids[:-1]
    assert_moments(moves[-1] - alpha[-2], 0, 0.002**2)
    lagged = (moves[-1] * moves[-6]).mean()
    expected = 0.95**5 * ar1_variance(0.2 * 0.002, 0.95, TICKS - 6)
    assert lagged == pytest.approx(expected, abs=4 * 0.003**2 / math.sqrt(N))


@pytest.mark.parametrize("fill_model", ["poisson", "linear"])
def test_self_exciting_arrivals(fill_model):
    gain, decay, intensity = 0.5, 0.2, 0.2
    params = {"excitation": gain, "excitation_decay": decay, "arrival_intensity": intensity, "fill_model": fill_model}
    envs = MarketMakingVectorEnv(N, params=EnvParams(horizon=TICKS, inventory_limit=10**6, **params))
    envs.reset(seed=0)
    previous = None
    for _ in range(TICKS):
        before = batch.fields(envs._memory, N)[:, at.EXCITEMENT_BID, :].reshape(-1)[:N].copy()
        *_, info = envs.step(AT_THE_MID)
        after = batch.fields(envs._memory, N)[:, at.EXCITEMENT_BID, :].reshape(-1)[:N]
        arrived = info["fill_bid"]
        np.testing.assert_allclose(after, (1 - decay) * before + gain * arrived, rtol=1e-12)
        rate = intensity * (1 + before)
        probability = 1 - np.exp(-rate) if fill_model == "poisson" else np.minimum(1, rate)
        assert arrived.mean() == pytest.approx(probability.mean(), abs=4 / math.sqrt(4 * N))
        previous = arrived if previous is None else previous
    # Orders come in clusters: one makes the next more likely.
    assert before.mean() > gain * intensity / decay * 0.8
    assert np.corrcoef(before, arrived)[0, 1] > 4 / math.sqrt(N)
