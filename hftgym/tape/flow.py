"""Market orders, put together again from the trades that they were split into."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hftgym.tape.measure import pieces, quotes_at
from hftgym.tape.order import BEFORE_ALL, received_ns
from hftgym.tape.parquet import TapeFile
from hftgym.tape.rows import rows_of, stacked
from hftgym.tape.types import NO_TIME, Tape, Trades


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
    them that way round). Orders before the first quote are left out. A tape on disk is read twice, piece by piece.
    """
    parts = [_NOTHING, *_grouped(tape)]
    at, side, size, furthest, nearest = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    # At equal time of reception a trade comes before a quote.
    bid, ask = quotes_at(tape, at, itself=False)
    kept = ~np.isnan(bid)
    best = np.where(side > 0, ask, -bid)
    return MarketOrders(
        time_ns=at[kept],
        side=side[kept],
        size=size[kept],
        mid=(0.5 * bid + 0.5 * ask)[kept],
        beyond=(furthest - np.minimum(best, nearest))[kept],
    )


def _grouped(tape: Tape | TapeFile) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield orders as columns: time of receipt, side, size, and the worst and the best price, the larger the worse."""
    now_ns, waiting = BEFORE_ALL, []  # the last order of a piece may go on in the next one
    for _, trades in pieces(tape):
        if not len(trades):
            continue
        rows = stacked([*waiting, trades])
        received = received_ns(rows, since_ns=now_ns)
        first = _first_trades(rows, received)
        last = int(first[-1])
        if last:
            yield _columns(rows_of(rows, 0, last), received[:last], first[:-1])
            now_ns = int(received[last - 1])
        waiting = [rows_of(rows, last, len(rows))]
    for rows in waiting:
        yield _columns(rows, received_ns(rows, since_ns=now_ns), np.zeros(1, dtype=np.int64))


def _first_trades(rows: Trades, received: np.ndarray) -> np.ndarray:
    """Return where orders begin."""
    time = np.where(rows.exchange_ns == NO_TIME, received, rows.exchange_ns)
    other = (np.diff(time) != 0) | (np.diff(rows.taker_side) != 0)
    return np.concatenate([[0], np.flatnonzero(other) + 1])


def _columns(rows: Trades, received: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, ...]:
    signed = rows.price * rows.taker_side  # larger is worse for the taker
    size, furthest, nearest = (
        one.reduceat(values, first) for one, values in ((np.add, rows.size), (np.maximum, signed), (np.minimum, signed))
    )
    return received[first], rows.taker_side[first], size, furthest, nearest


_NOTHING = tuple(np.empty(0, dtype=dtype) for dtype in (np.int64, np.int8, np.float64, np.float64, np.float64))
