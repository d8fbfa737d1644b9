"""The z-score rule on given prices: the whole path in one pass."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hftgym.backtest import zscore_kernel
from hftgym.backtest.zscore_kernel import Paths, Rule
from hftgym.backtest.zscore_rule import Sizing, checked_prices, checked_rule, refuse_bad_prices, whole


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ZScoreTrades:
    """One row per trade, in the order of paths and ticks; columns of equal length k.

    Attributes:
        path: int64 (k,), 0 for a single path.
        tick: int64 (k,), index of the price that was traded at.
        side: int8 (k,), +1 bought, -1 sold.
        price: float64 (k,), what was paid or received per unit: the ask or the bid, quote currency.
        size: int32 (k,), units.
        fee: float64 (k,), quote currency.
    """

    path: np.ndarray
    tick: np.ndarray
    side: np.ndarray
    price: np.ndarray
    size: np.ndarray
    fee: np.ndarray

    def __len__(self) -> int:
        return len(self.tick)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ZScoreBacktest:
    """The path of the z-score rule, after the trade of each tick; arrays of the shape of the prices.

    Attributes:
        prices: float64, the mid prices, quote currency.
        zscore: float64, 0 until the window is full and where it does not vary.
        signal: int8, +1 where the rule buys if the limit allows, -1 where it sells, else 0.
        inventory: int32, units.
        cash: float64, quote currency.
        equity: float64, cash + inventory * price, quote currency.
        trades: Every trade.
        spread: Relative spread that was paid.
        inventory_limit: The largest position, units.
    """

    prices: np.ndarray
    zscore: np.ndarray
    signal: np.ndarray
    inventory: np.ndarray
    cash: np.ndarray
    equity: np.ndarray
    trades: ZScoreTrades
    spread: float
    inventory_limit: int


def backtest_zscore(
    prices: ArrayLike,
    *,
    spread: float = 0.0005,
    window: int = 50,
    entry: float = 1.5,
    inventory_limit: int = 10,
    initial_cash: float = 10_000.0,
    sizing: Sizing = "deviation",
    taker_fee_bps: float = 0.0,
    num_threads: int = 1,
    on_progress: Callable[[float], Any] | None = None,
) -> ZScoreBacktest:
    """Trade one path or many by the z-score rule, and return everything tick by tick.

    z = (price - mean) / std over the last `window` prices including the current one, population std. Where z < -entry
    it buys at the ask, price (1 + spread / 2); where z > entry it sells at the bid; int(2 |z|) units ("deviation") or
    one ("unit"), cut so that the inventory stays within its limit. Nothing is traded until the window is full or where
    std is 0. It is `hftgym.policies.ZScorePolicy` on prices alone, and what it earns here is no forecast: on a random
    walk the rule loses what it pays.

    A |z| within a relative 1e-12 of a threshold is taken as being at it: `entry` must be passed, while int(2 |z|)
    counts what is reached. z is exact to about window * 1e-15; a longer path makes it no worse.

    Args:
        prices: Mid prices of one path (n,) or of several (paths, n), quote currency, each from 1e-100 to 1e100.
            float64 and C-contiguous is used as it is; other real numbers are copied.
        spread: Relative bid-ask spread, 0 to 1.
        window: Prices in the window, 2 to 1,000,000; none is ever full if it is above n.
        entry: Threshold on |z|, above 0.
        inventory_limit: Largest absolute inventory, 1 to 2^31 - 1 units.
        initial_cash: Quote currency, at least 0; it may become negative.
        sizing: "deviation" or "unit".
        taker_fee_bps: Fee in basis points of the value traded.
        num_threads: Threads that share the paths; the results do not depend on it.
        on_progress: Told the share done, 0 to 1, after each path; `hftgym.progress.slow_bar` makes one.

    Raises:
        ValueError: An argument is outside its range, or a price is none; the message names it.
    """
    array = checked_prices(prices)
    rule = checked_rule(
        spread=spread,
        window=window,
        entry=entry,
        inventory_limit=inventory_limit,
        initial_cash=initial_cash,
        sizing=sizing,
        taker_fee_bps=taker_fee_bps,
    )
    threads = whole("num_threads", num_threads, 1, 1_024)
    out = Paths(*(np.empty(array.shape, dtype) for dtype in (float, np.int8, np.int32, float, float)))
    rows, results = np.atleast_2d(array), [np.atleast_2d(column) for column in out]
    with ThreadPoolExecutor(threads) as pool:
        run = map if threads == 1 else pool.map
        counts = _play(rows, results, rule, run, on_progress)
        if min(counts) < 0:
            refuse_bad_prices(array)
        trades = _trades(rows, results[2], counts, rule, run)
    return ZScoreBacktest(
        prices=array,
        zscore=out.zscore,
        signal=out.signal,
        inventory=out.inventory,
        cash=out.cash,
        equity=out.equity,
        trades=trades,
        spread=float(spread),
        inventory_limit=int(inventory_limit),
    )


def _play(rows: np.ndarray, results: Any, rule: Rule, run: Any, on_progress: Any) -> list[int]:
    """Fill the results and return the number of trades in each path, -1 where a price is bad."""

    def one(path: int) -> int:
        bad = zscore_kernel.play(rows[path], rule, Paths(*(column[path] for column in results)))
        return -1 if bad else zscore_kernel.count_trades(results[2][path])

    counts: list[int] = []
    for count in run(one, range(len(rows))):
        counts.append(count)
        if on_progress is not None:
            on_progress(len(counts) / len(rows))
    return counts


def _trades(rows: np.ndarray, inventory: np.ndarray, counts: list[int], rule: Rule, run: Any) -> ZScoreTrades:
    """Read the trades off the inventories."""
    ends = np.cumsum(counts)
    total = int(ends[-1])
    tick, side, size = (np.empty(total, dtype) for dtype in (np.int64, np.int8, np.int32))
    price, fee = np.empty(total), np.empty(total)

    def one(path: int) -> None:
        own = slice(ends[path] - counts[path], ends[path])
        columns = (tick[own], side[own], price[own], size[own], fee[own])
        zscore_kernel.list_trades(rows[path], inventory[path], rule, columns)

    list(run(one, range(len(rows))))
    path = np.repeat(np.arange(len(rows)), counts)
    return ZScoreTrades(path=path, tick=tick, side=side, price=price, size=size, fee=fee)
