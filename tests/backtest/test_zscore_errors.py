"""What is no price path, or no rule, is refused by name; what is odd but right is played."""

import re

import numpy as np
import pytest

from hftgym.backtest import backtest_zscore, zscore_grid

PRICES = np.linspace(100.0, 101.0, 200)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-101, 1e101])
@pytest.mark.parametrize("index", [0, 30, 120, 199])
def test_a_bad_price_is_named(value, index):
    prices = PRICES.copy()
    prices[index] = value
    message = f"got {value} at index {index}"
    with pytest.raises(ValueError, match=f"prices must be numbers from .* {re.escape(message)}"):
        backtest_zscore(prices)
    with pytest.raises(ValueError, match=f"at index {index}"):
        zscore_grid(prices)
    with pytest.raises(ValueError, match=f"at path 1, index {index}"):
        backtest_zscore(np.stack([PRICES, prices]), num_threads=2)
    with pytest.raises(ValueError, match=f"at index {index}"):
        backtest_zscore(prices, window=500)


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        ([], "at least 2 prices"),
        ([100.0], "at least 2 prices"),
        (np.empty((0, 10)), "at least one path"),
        (100.0, r"shape \(n,\) or \(paths, n\)"),
        (np.ones((2, 3, 4)), r"got \(2, 3, 4\)"),
        (["a", "b"], "must be real numbers"),
        (np.ones(9, dtype=complex), "complex128"),
        (np.ones(9, dtype=bool), "bool"),
        ([None, 1.0], "object"),
    ],
)
def test_what_is_no_path_is_refused(prices, message):
    with pytest.raises(ValueError, match=message):
        backtest_zscore(prices)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spread", -0.1),
        ("spread", 1.1),
        ("window", 1),
        ("window", 50.0),
        ("window", True),
        ("window", 1_000_001),
        ("entry", -1.0),
        ("entry", 0),
        ("entry", -0.0),
        ("entry", np.nan),
        ("entry", "1"),
        ("inventory_limit", 0),
        ("inventory_limit", 2**31),
        ("inventory_limit", 1.5),
        ("initial_cash", -1.0),
        ("initial_cash", np.inf),
        ("sizing", "double"),
        ("taker_fee_bps", 1e4),
        ("num_threads", 0),
    ],
)
def test_a_rule_outside_its_range_is_named(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be .* got "):
        backtest_zscore(PRICES, **{name: value})


def test_the_grid_names_what_it_refuses():
    with pytest.raises(ValueError, match="windows must hold at least one value"):
        zscore_grid(PRICES, windows=[])
    with pytest.raises(ValueError, match=r"shape \(n,\)"):
        zscore_grid(np.stack([PRICES, PRICES]))
    with pytest.raises(ValueError, match="entry must be"):
        zscore_grid(PRICES, entries=[1.0, -1.0])


@pytest.mark.parametrize("window", [201, 1_000_000])
def test_a_window_that_never_fills_never_trades(window):
    result = backtest_zscore(PRICES, window=window)
    assert len(result.trades) == 0
    assert not result.zscore.any()
    assert (result.equity == 10_000.0).all()


@pytest.mark.parametrize("prices", [PRICES[::2], PRICES.astype(np.float32), np.arange(1, 200), PRICES.tolist()])
def test_other_real_arrays_are_copied(prices):
    plain = np.array(prices, dtype=np.float64)
    assert np.array_equal(backtest_zscore(prices, entry=0.5).equity, backtest_zscore(plain, entry=0.5).equity)


def test_fortran_order_is_no_matter():
    prices = np.stack([PRICES, PRICES[::-1]])
    one, two = (backtest_zscore(p, entry=0.5) for p in (prices, np.asfortranarray(prices)))
    assert np.array_equal(one.equity, two.equity)
    assert len(one.trades) > 0


def test_progress_is_told():
    told = []
    backtest_zscore(np.stack([PRICES] * 4), on_progress=told.append)
    zscore_grid(PRICES, windows=(5, 10), on_progress=told.append)
    assert told == [0.25, 0.5, 0.75, 1.0, 0.5, 1.0]
