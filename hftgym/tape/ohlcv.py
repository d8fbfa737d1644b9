"""Trades as bars: open, high, low, close, volume."""

import math

import numpy as np

from hftgym.tape.types import Trades

COLUMNS = ("time", "open", "high", "low", "close", "volume", "trades", "vwap")
_MOST = 100_000_000  # bars


def ohlcv(trades: Trades, bar_s: float) -> dict[str, np.ndarray]:
    """Return the bars of a tape's trades, by their time of receipt.

    Bar i covers the half-open interval from `time[i]` to `time[i]` + `bar_s`; bars start at whole multiples of `bar_s`
    since 1970 and go without a gap from the one of the first trade to the one of the last. A bar without a trade has
    NaN prices and zero volume: nothing is carried forward. Local time that steps back is read as in a replay: a trade
    never falls into an earlier bar than the one received before it.

    Args:
        trades: The trades, n of them.
        bar_s: Length of a bar in seconds, at least 1 ns.

    Returns:
        Columns (m,): `time` int64, start of the bar in ns since 1970; `open`, `high`, `low`, `close` and `vwap` (the
        mean price weighted by size) float64, quote currency; `volume` float64, units; `trades` int64. Without trades m
        is 0.

    Raises:
        ValueError: `bar_s` is not a finite number of at least 1 ns, or there would be more than 100 million bars.
    """
    bar_ns = round(bar_s * 1e9) if math.isfinite(bar_s) else 0
    if bar_ns < 1:
        raise ValueError(f"bar_s must be a finite number of seconds, at least 1e-9, got {bar_s!r}")
    if len(trades) == 0:
        return {name: np.empty(0, dtype=np.int64 if name in ("time", "trades") else np.float64) for name in COLUMNS}
    index = np.maximum.accumulate(trades.local_ns) // bar_ns
    start, count = index[0], int(index[-1] - index[0]) + 1
    if count > _MOST:
        raise ValueError(f"bar_s must give at most {_MOST:,} bars, got {count:,} with {bar_s!r}")
    first = np.flatnonzero(np.diff(index, prepend=index[0] - 1))  # trade of every bar that has one
    last = np.append(first[1:], len(index)) - 1
    price, size = trades.price, trades.size
    columns = {
        "open": price[first],
        "high": np.maximum.reduceat(price, first),
        "low": np.minimum.reduceat(price, first),
        "close": price[last],
        "volume": np.add.reduceat(size, first),
        "trades": last - first + 1,
        "vwap": np.add.reduceat(price * size, first) / np.add.reduceat(size, first),
    }
    bars = {"time": (start + np.arange(count)) * bar_ns}
    for name, values in columns.items():
        bars[name] = np.full(count, 0 if name in ("volume", "trades") else np.nan, dtype=values.dtype)
        bars[name][index[first] - start] = values
    return bars
