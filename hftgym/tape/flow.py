"""Market orders, put together again from the trades that they were split into."""

from dataclasses import dataclass

import numpy as np

from hftgym.tape.measure import all_trades, quotes_at
from hftgym.tape.parquet import TapeFile
from hftgym.tape.types import NO_TIME, Tape


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MarketOrders:
    """The market orders of a tape, one row each, in the order of reception.

    Attributes:
        time_ns: int64 (n,), when the first of its trades was received, ns since 1970.
        side: int8 (n,), +1 the taker bought, -1 the taker sold.
        size: float64 (n,), units.
        mid: float64 (n,), mid price of the last quote received before it, quote currency.
        beyond: float64 (n,), how far past the best price it traded, quote currency: 0 where that was enough for it.
    """

    time_ns: np.ndarray
    side: np.ndarray
    size: np.ndarray
    mid: np.ndarray
    beyond: np.ndarray

    def __len__(self) -> int:
        return len(self.time_ns)


def market_orders(tape: Tape | TapeFile) -> MarketOrders:
    """Return the market orders of a tape: trades in a row of the same exchange time and taker are one.

    The best price that an order met is the one of the last quote received before it, or the price of its own first
    trade where that is better: the quote that it left behind may be received before its trades (Binance spot sends
    them that way round). Orders before the first quote are left out. Of a tape on disk the trades are held in memory.
    """
    trades = all_trades(tape)
    if not len(trades):
        none = np.empty(0)
        return MarketOrders(time_ns=none.astype(np.int64), side=none.astype(np.int8), size=none, mid=none, beyond=none)
    received = np.maximum.accumulate(trades.local_ns)
    time = np.where(trades.exchange_ns == NO_TIME, received, trades.exchange_ns)
    other = (np.diff(time) != 0) | (np.diff(trades.taker_side) != 0)
    first = np.concatenate([[0], np.flatnonzero(other) + 1])
    signed = trades.price * trades.taker_side  # larger is worse for the taker
    furthest, nearest = np.maximum.reduceat(signed, first), np.minimum.reduceat(signed, first)
    at, side = received[first], trades.taker_side[first]
    # At equal time of reception a trade comes before a quote.
    bid, ask = quotes_at(tape, at, itself=False)
    kept = ~np.isnan(bid)
    best = np.where(side > 0, ask, -bid)
    return MarketOrders(
        time_ns=at[kept],
        side=side[kept],
        size=np.add.reduceat(trades.size, first)[kept],
        mid=(0.5 * bid + 0.5 * ask)[kept],
        beyond=(furthest - np.minimum(best, nearest))[kept],
    )
