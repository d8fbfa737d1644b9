"""Every row of the grid is the backtest with these parameters."""

import numpy as np
import pytest

from hftgym.backtest import backtest_zscore, zscore_grid


def prices(n=4_000):
    return 100.0 * np.cumprod(1 + 0.002 * np.random.default_rng(2).standard_normal(n))


@pytest.mark.parametrize("sizing", ["deviation", "unit"])
def test_a_row_is_the_backtest(sizing):
    path, costs = prices(), {"sizing": sizing, "taker_fee_bps": 1.0, "spread": 0.001, "initial_cash": 500.0}
    grid = zscore_grid(path, windows=(10, 50, 4_001), entries=(0.5, 1.5, 9.0), limits=(1, 10), **costs)
    assert len(grid) == 18
    assert grid.window.tolist() == [10] * 6 + [50] * 6 + [4_001] * 6
    assert grid.entry.tolist()[:6] == [0.5, 0.5, 1.5, 1.5, 9.0, 9.0]
    assert grid.inventory_limit.tolist() == [1, 10] * 9
    for i in range(len(grid)):
        rule = {"window": int(grid.window[i]), "entry": grid.entry[i], "inventory_limit": int(grid.inventory_limit[i])}
        alone = backtest_zscore(path, **rule, **costs)
        equity, trades = alone.equity, alone.trades
        gains = np.diff(equity)
        assert grid.trades[i] == len(trades)
        expected = {
            "pnl": equity[-1] - equity[0],
            "max_drawdown": (np.maximum.accumulate(equity) - equity).max(),
            "turnover": (trades.price * trades.size).sum(),
            "fees": trades.fee.sum(),
            "inventory_rms": np.sqrt(np.mean(alone.inventory[1:].astype(float) ** 2)),
        }
        for name, value in expected.items():
            assert getattr(grid, name)[i] == pytest.approx(value, rel=1e-11, abs=1e-9), name
        if len(trades) == 0:
            assert np.isnan(grid.sharpe[i])
            assert np.isnan(grid.sharpe_se[i])
        else:
            assert grid.sharpe[i] == pytest.approx(gains.mean() / gains.std(), rel=1e-6, abs=1e-9)
            assert grid.sharpe_se[i] == pytest.approx(len(gains) ** -0.5, rel=0.01)


def test_threads_and_company_change_nothing():
    """333 sets on three threads, and a set alone: the same bits."""
    path = prices(1_000)
    entries = np.linspace(0.1, 3.0, 111).tolist()
    one = zscore_grid(path, windows=(5, 20, 80), entries=entries)
    three = zscore_grid(path, windows=(5, 20, 80), entries=entries, num_threads=3)
    alone = zscore_grid(path, windows=(20,), entries=entries[70:71])
    for name in ("pnl", "trades", "max_drawdown", "turnover", "fees", "inventory_rms", "sharpe", "sharpe_se"):
        assert np.array_equal(getattr(one, name), getattr(three, name), equal_nan=True)
        assert getattr(alone, name)[0] == getattr(one, name)[111 + 70]
