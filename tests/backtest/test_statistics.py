"""Each statistic against its closed form, a brute force, or what repetition shows."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hftgym.backtest.statistics import long_run_variance, max_drawdown, sharpe, student_975, sum_with_interval

numbers = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))


@given(st.lists(numbers, min_size=1, max_size=40))
def test_drawdown_is_the_worst_of_all_pairs(values):
    equity = np.array(values)
    worst = max(equity[i] - equity[j] for i in range(len(equity)) for j in range(i, len(equity)))
    found = max_drawdown(equity)
    assert found.value == worst
    assert found.start <= found.end
    assert equity[found.start] - equity[found.end] == worst


@given(st.lists(numbers, min_size=1, max_size=30), st.integers(1, 40))
def test_long_run_variance_is_the_sum_of_weighted_autocovariances(values, lags):
    e = np.array(values)
    n = len(e)
    covariance = [sum(e[i] * e[i - lag] for i in range(max(lag, 0), n + min(lag, 0))) for lag in range(-lags, lags + 1)]
    expected = np.bartlett(2 * lags + 1) @ covariance
    assert long_run_variance(e, lags) == pytest.approx(expected, rel=1e-9, abs=1e-6 * (1 + float(e @ e)))


@pytest.mark.parametrize("ratio", [0.0, 0.5, 2.0])
def test_the_standard_error_of_sharpe_is_what_repetition_shows(ratio):
    rng = np.random.default_rng(7)
    found = [sharpe(rng.normal(ratio, 1.0, 400)) for _ in range(600)]
    spread = np.std([one.ratio for one in found])
    for name in ("se", "se_lagged"):  # 4 standard errors of a standard deviation of 600 values are 12 %
        assert np.mean([getattr(one, name) for one in found]) == pytest.approx(spread, rel=0.14), name
    assert found[0].se == math.sqrt((1 + found[0].ratio ** 2 / 2) / 400)


def test_the_lagged_error_sees_correlation_and_the_plain_one_does_not():
    rng = np.random.default_rng(8)
    shocks = rng.standard_normal((300, 2_001))
    paths = shocks[:, 1:] + shocks[:, :-1]  # MA(1): the variance of the mean is twice that of independent values
    found = [sharpe(path) for path in paths]
    spread = np.std([one.ratio for one in found])
    assert np.mean([one.se_lagged for one in found]) == pytest.approx(spread, rel=0.2)
    assert np.mean([one.se for one in found]) == pytest.approx(spread / math.sqrt(2), rel=0.2)


@pytest.mark.parametrize("pnl", [np.zeros(0), np.array([1.0]), np.full(50, 0.1)], ids=["none", "one", "constant"])
def test_nothing_that_varies_has_no_sharpe(pnl):
    assert math.isnan(sharpe(pnl).ratio)
    assert math.isnan(sharpe(pnl).se)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(9)
    hits = 0
    for _ in range(2_000):
        found = sum_with_interval(0.3 + rng.standard_normal(200))
        assert found.low < found.value < found.high
        hits += found.low <= 60 <= found.high
    assert hits / 2_000 == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 2_000))


def test_an_interval_needs_twenty_ticks_and_excludes_zero_only_with_both_ends():
    assert math.isnan(sum_with_interval(np.ones(19)).low)
    assert not sum_with_interval(np.ones(19)).excludes_zero
    assert sum_with_interval(np.ones(20)).excludes_zero
    assert sum_with_interval(-np.ones(20)).excludes_zero
    assert not sum_with_interval(np.tile([1.0, -1.0], 30)).excludes_zero


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(2, 4.30265), (3, 3.18245), (5, 2.57058), (19, 2.09302), (1e6, 1.95997)]
)
def test_students_quantile_is_that_of_the_tables(degrees, quantile):
    assert student_975(degrees) == pytest.approx(quantile, rel=0.01 if degrees < 3 else 0.002)
