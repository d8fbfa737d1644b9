"""The z-score backtest is the loop that says what it means, tick for tick, however it is cut, shared or compiled."""

import platform
import re

import numba
import numpy as np
import pytest

from hftgym.backtest import backtest_zscore, zscore_grid_kernel, zscore_kernel
from hftgym.backtest.zscore_kernel import Paths
from hftgym.backtest.zscore_rule import checked_rule
from hftgym.envs import MarketMakingEnv
from hftgym.params import EnvParams
from hftgym.policies import ZScorePolicy
from tests.reference.zscore_loop import exact_orders, play

COLUMNS = ("zscore", "signal", "inventory", "cash", "equity")
DEFAULT = {"spread": 0.0005, "window": 50, "entry": 1.5, "inventory_limit": 10, "initial_cash": 1e4}
DEFAULT |= {"sizing": "deviation", "taker_fee_bps": 0.0}


def gbm(n, seed=0, volatility=0.002, start=100.0):
    return start * np.cumprod(1 + volatility * np.random.default_rng(seed).standard_normal(n))


def same(one, two):
    return all(np.array_equal(getattr(one, name), getattr(two, name)) for name in COLUMNS)


@pytest.mark.parametrize(
    ("n", "window", "entry", "limit", "unit", "fee_bps"),
    [
        (9_000, 50, 1.5, 10, False, 0.0),  # more ticks than two pieces
        (3_000, 50, 1.5, 10, True, 1.0),
        (700, 7, 1.0, 1, False, -0.5),
        (700, 2, 0.5, 3, True, 0.0),
        (2_000, 333, 1e-9, 2**31 - 1, False, 2.0),
        (1_500, 300, 0.2, 4, True, 0.0),
        (80, 50, 0.3, 9, True, 0.0),  # fewer ticks than one strip
    ],
)
def test_it_is_the_obvious_loop(n, window, entry, limit, unit, fee_bps):
    prices = gbm(n, seed=window)
    columns, trades = play(prices, window=window, entry=entry, limit=limit, unit=unit, fee_bps=fee_bps)
    result = backtest_zscore(
        prices,
        window=window,
        entry=entry,
        inventory_limit=limit,
        sizing="unit" if unit else "deviation",
        taker_fee_bps=fee_bps,
    )
    for name, expected in zip(COLUMNS, columns, strict=True):
        # Of two prices |z| is 1, and it is numpy that is off: it rounds a mean of the size of the price.
        tolerance = {"zscore": 1e-9 if window == 2 else 1e-11, "cash": 1e-9, "equity": 1e-9}.get(name, 0.0)
        np.testing.assert_allclose(getattr(result, name), expected, rtol=1e-15, atol=tolerance, err_msg=name)
    assert len(trades) > 3
    found = result.trades
    for name, expected in zip(("tick", "side", "price", "size", "fee"), zip(*trades, strict=True), strict=True):
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-15, err_msg=name)
    assert not found.path.any()


@pytest.mark.parametrize("window", [2, 5, 10, 50])
@pytest.mark.parametrize("entry", [0.5, 1.0, 1.5, 2.0])
def test_prices_on_a_grid_meet_thresholds_exactly(window, entry):
    """On a grid z lies at a threshold again and again; rounding must not decide. One price of 50 off is |z| = 7."""
    rng = np.random.default_rng(window)
    steps = rng.choice([-1, 0, 1], 500, p=[0.02, 0.96, 0.02])
    prices = 60_000.1 + 0.1 * np.cumsum(steps)  # not representable: sums of them are rounded
    signals, sizes = exact_orders(prices, window, entry)
    result = backtest_zscore(prices, window=window, entry=entry, inventory_limit=1_000_000)
    assert np.array_equal(result.signal, signals)
    assert np.array_equal(np.diff(result.inventory), (signals * sizes)[1:])
    at_threshold = (2 * np.abs(result.zscore)) % 1.0
    assert (np.minimum(at_threshold, 1 - at_threshold)[sizes > 0] < 1e-12).any() or window == 50


def test_prices_that_do_not_move_are_not_traded():
    prices = np.full(5_000, 60_000.1)
    prices[2_500:] = 0.3
    result = backtest_zscore(prices, entry=1e-9)
    assert set(result.trades.tick) <= set(range(2_500, 2_549))
    assert not result.zscore[2_550:].any()
    assert not result.zscore[:2_500].any()


def test_a_spike_leaves_no_trace():
    """What has left the window is forgotten to the last bit: running sums would carry its rounding on."""
    prices = gbm(3_000)
    spiked = prices.copy()
    spiked[1_000] *= 1e8
    clean, after = backtest_zscore(prices), backtest_zscore(spiked)
    assert np.array_equal(clean.zscore[1_050:], after.zscore[1_050:])
    assert not np.array_equal(clean.zscore[1_000:1_050], after.zscore[1_000:1_050])


@pytest.mark.parametrize("n", [2, 49, 50, 51, 99, 4_098, 4_099, 4_100, 8_200])
def test_a_longer_path_changes_nothing_before(n):
    prices = gbm(8_200)
    whole, part = backtest_zscore(prices), backtest_zscore(prices[:n])
    assert all(np.array_equal(getattr(whole, name)[:n], getattr(part, name)) for name in COLUMNS)
    assert len(part.trades) == (whole.trades.tick < n).sum()


@pytest.mark.parametrize(("n", "window"), [(9_000, 50), (500, 7), (9_999, 3_000), (30, 40)])
def test_the_grid_sees_the_same_scores(n, window):
    prices, zscore = gbm(n), np.full(n, np.nan)
    assert zscore_kernel.fill_scores(prices, window, zscore) == 0
    assert np.array_equal(zscore, backtest_zscore(prices, window=window).zscore)


@pytest.mark.parametrize("threads", [1, 3])
def test_many_paths_are_each_of_them_alone(threads):
    prices = np.stack([gbm(1_000, seed) for seed in range(5)])
    together = backtest_zscore(prices, num_threads=threads)
    for i, path in enumerate(prices):
        alone, own = backtest_zscore(path), together.trades.path == i
        assert all(np.array_equal(getattr(together, name)[i], getattr(alone, name)) for name in COLUMNS)
        for name in ("tick", "side", "price", "size", "fee"):
            assert np.array_equal(getattr(together.trades, name)[own], getattr(alone.trades, name))
    assert (np.diff(together.trades.path) >= 0).all()


def test_the_account_balances():
    prices = gbm(5_000, seed=3)
    result = backtest_zscore(prices, taker_fee_bps=3.0, inventory_limit=4)
    trades = result.trades
    moved = np.bincount(trades.tick, trades.side * trades.size, 5_000)
    assert np.array_equal(np.cumsum(moved), result.inventory)
    assert np.abs(result.inventory).max() == 4
    spent = np.bincount(trades.tick, trades.side * trades.size * trades.price + trades.fee, 5_000)
    np.testing.assert_allclose(result.cash, 10_000.0 - np.cumsum(spent), atol=1e-9)
    np.testing.assert_allclose(trades.fee, 3e-4 * trades.size * trades.price, rtol=1e-14)
    np.testing.assert_allclose(trades.price, prices[trades.tick] * (1 + trades.side * 0.00025), rtol=1e-15)
    assert np.array_equal(result.equity, result.cash + result.inventory * prices)


@pytest.mark.parametrize("fee_bps", [0.0, 1.0])
def test_it_trades_as_the_policy_does_in_the_environment(fee_bps):
    params = EnvParams(horizon=2_000, taker_fee_bps=fee_bps, inventory_limit=5)
    env, policy = MarketMakingEnv(params=params), ZScorePolicy()
    observation, info = env.reset(seed=8)
    infos = [info]
    for _ in range(params.horizon):
        observation, *_, info = env.step(policy.predict(observation)[0])
        infos.append(info)
    mid, inventory, cash = (np.array([i[name] for i in infos]) for name in ("mid", "inventory", "cash"))
    result = backtest_zscore(mid, sizing="unit", inventory_limit=5, taker_fee_bps=fee_bps, spread=params.spread)
    assert len(result.trades) > 100
    assert np.array_equal(result.inventory[:-1], inventory[1:])
    np.testing.assert_allclose(result.cash[:-1], cash[1:], rtol=1e-12)


def test_mean_reversion_pays_and_a_random_walk_costs():
    """The bet: around a mean it wins, on a martingale it loses about the half-spread per unit."""
    rng = np.random.default_rng(1)
    shocks = 0.2 * rng.standard_normal((100, 4_000))
    walk = 100.0 * np.cumprod(1 + shocks / 100, axis=1)
    around = np.full((100, 4_000), 100.0)
    for t in range(1, 4_000):
        around[:, t] = around[:, t - 1] + 0.05 * (100.0 - around[:, t - 1]) + shocks[:, t]
    for prices, wins in ((walk, False), (around, True)):
        result = backtest_zscore(prices)
        pnl = result.equity[:, -1] - result.equity[:, 0]
        value = np.bincount(result.trades.path, result.trades.price * result.trades.size)
        per_unit, error = 1e4 * pnl.sum() / value.sum(), 1e4 * pnl.std() * 10 / value.sum()
        assert per_unit > 5 * error if wins else abs(per_unit + 2.5) < 4 * error


@pytest.mark.slow
def test_a_path_that_decays_far_has_no_wrong_signal():
    """2 million ticks from 257 down: running sums, Kahan's and sliding Welford all fail here."""
    prices = 257.0 * np.exp(np.cumsum(0.002 * np.random.default_rng(5).standard_normal(2_000_000) - 1.5e-5))
    assert prices[-1] < 1e-9
    result = backtest_zscore(prices)
    views = np.lib.stride_tricks.sliding_window_view(prices, 50)
    z = np.concatenate([(v[:, -1] - v.mean(axis=1)) / v.std(axis=1) for v in np.array_split(views, 40)])
    assert np.abs(result.zscore[49:] - z).max() < 1e-11
    assert np.array_equal(result.signal[49:], np.where(z > 1.5, -1, np.where(z < -1.5, 1, 0)))


@pytest.mark.slow
@pytest.mark.parametrize("window", [1_000, 20_000])
def test_long_windows_stay_exact(window):
    """numpy's two passes in long double; the bound is the one that the documentation gives."""
    prices = gbm(60_000, seed=1)
    z = backtest_zscore(prices, window=window).zscore
    for tick in range(window, 60_000, 997):
        recent = prices[tick + 1 - window : tick + 1].astype(np.longdouble)
        assert abs(z[tick] - float((recent[-1] - recent.mean()) / recent.std())) < 1e-15 * window


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="counts x86 vector registers")
@pytest.mark.parametrize("compiled", ["path", "grid"])
def test_the_kernels_are_vectorised(compiled):
    """Code from the cache cannot be inspected: compile once more."""
    prices, rule = gbm(100), checked_rule(**DEFAULT)
    kernel = zscore_kernel.play if compiled == "path" else zscore_grid_kernel.play_sets
    fresh = numba.jit(**kernel.targetoptions)(kernel.py_func)
    if compiled == "path":
        fresh(prices, rule, Paths(*(np.zeros(100, t) for t in (float, np.int8, np.int32, float, float))))
    else:
        sets = np.zeros(zscore_grid_kernel.N_FIELDS * zscore_grid_kernel.SETS)
        fresh(prices, np.zeros(100), rule, sets)
    code = "".join(fresh.inspect_asm().values())
    packed = re.findall(r"v(?:sqrt|div|mul|add|sub)pd\s.*%[yz]mm", code)
    # Both need every kind of arithmetic on whole vectors; the square root is the path's alone.
    assert {name for name in ("mul", "add", "sub") if any(f"v{name}pd" in line for line in packed)} == {
        "mul",
        "add",
        "sub",
    }
    assert any("vsqrtpd" in line for line in packed) == (compiled == "path")
    assert not re.findall(r"\b(?:floor|fmod|sqrt|fabs)@", code)
