import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hftgym.tape import Trades, ohlcv


def trades_of(rows):
    at, price, size = ([row[i] for row in rows] for i in range(3))
    local_ns = np.array(at, dtype=np.int64)
    sides = np.ones(len(rows), dtype=np.int8)
    return Trades(
        exchange_ns=local_ns,
        local_ns=local_ns,
        price=np.array(price, float),
        size=np.array(size, float),
        taker_side=sides,
    )


def slow(trades, bar_ns):
    """Bars the obvious way."""
    bars, clock = {}, 0
    for at, price, size in zip(trades.local_ns.tolist(), trades.price.tolist(), trades.size.tolist(), strict=True):
        clock = max(clock, at)
        bars.setdefault(clock // bar_ns * bar_ns, []).append((price, size))
    return bars


values = st.floats(min_value=1e-3, max_value=1e6)
rows = st.lists(st.tuples(st.integers(0, 10**11), values, values), min_size=1, max_size=40)


@given(rows=rows, bar_s=st.sampled_from([0.5, 1.0, 7.3, 60.0]))
@settings(deadline=None, max_examples=60)
def test_bars_equal_those_of_a_slow_loop(rows, bar_s):
    trades, bar_ns = trades_of(rows), round(bar_s * 1e9)
    bars, expected = ohlcv(trades, bar_s), slow(trades, bar_ns)
    assert bars["time"].tolist() == list(range(min(expected), max(expected) + 1, bar_ns))
    for i, start in enumerate(bars["time"].tolist()):
        inside = expected.get(start, [])
        prices, sizes = [p for p, _ in inside], [s for _, s in inside]
        assert bars["trades"][i] == len(inside)
        if not inside:
            assert bars["volume"][i] == 0
            assert all(np.isnan(bars[name][i]) for name in ("open", "high", "low", "close", "vwap"))
            continue
        assert [bars[name][i] for name in ("open", "high", "low", "close")] == [
            *(prices[0], max(prices), min(prices), prices[-1])
        ]
        assert bars["volume"][i] == pytest.approx(sum(sizes), rel=1e-12)
        assert bars["vwap"][i] == pytest.approx(np.dot(prices, sizes) / sum(sizes), rel=1e-12)


def test_bars_equal_those_of_polars():
    rng = np.random.default_rng(0)
    at = np.sort(rng.integers(0, 3_600, 5_000)) * 10**9
    trades = trades_of(list(zip(at.tolist(), rng.uniform(1, 2, 5_000), rng.uniform(1, 2, 5_000), strict=True)))
    frame = pl.DataFrame({"bar": at // (60 * 10**9), "price": trades.price, "size": trades.size})
    price = pl.col("price")
    expected = frame.group_by("bar", maintain_order=True).agg(
        *(
            price.first().alias("open"),
            price.max().alias("high"),
            price.min().alias("low"),
            price.last().alias("close"),
        ),
        *(pl.col("size").sum().alias("volume"), pl.len().alias("trades")),
        vwap=(price * pl.col("size")).sum() / pl.col("size").sum(),
    )
    bars = ohlcv(trades, 60)
    assert bars["time"].tolist() == (expected["bar"] * 60 * 10**9).to_list()
    for name in ("open", "high", "low", "close", "volume", "trades", "vwap"):
        np.testing.assert_allclose(bars[name], expected[name].to_numpy(), rtol=1e-12)


def test_the_whole_is_kept_by_bars_of_any_length():
    trades = trades_of([(k * 10**9, 1 + k, 2.0) for k in range(100)])
    for bar_s in (1, 3, 10, 1_000):
        bars = ohlcv(trades, bar_s)
        assert (bars["volume"].sum(), bars["trades"].sum()) == (200, 100)
        assert (bars["open"][0], bars["close"][-1]) == (1, 100)


def test_no_trades_make_no_bars_and_impossible_lengths_are_refused():
    none = trades_of([])
    assert all(len(column) == 0 for column in ohlcv(none, 1.0).values())
    for wrong in (0, -1, float("nan"), float("inf"), 1e-10):
        with pytest.raises(ValueError, match=r"bar_s must be a finite number of seconds, at least 1e-9, got"):
            ohlcv(none, wrong)
    with pytest.raises(ValueError, match="at most 100,000,000 bars, got 1,000,000,001"):
        ohlcv(trades_of([(0, 1, 1), (10**18, 1, 1)]), 1.0)
