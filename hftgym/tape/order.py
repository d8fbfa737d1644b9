"""The order of rows: how quotes and trades, which a tape keeps apart, follow each other.

One clock, the time of receipt: the running maximum of `local_ns`, so that a recorder's clock that steps back by a hair
reverses nothing. At equal times a trade comes before a quote, because the quote shows the book that the trade has left.
Within each kind the order of the file holds.
"""

import numpy as np
from numpy.typing import NDArray

from hftgym.tape.rows import Quotes, Trades

BEFORE_ALL: int = int(np.iinfo(np.int64).min)
"""The clock before the first row."""


def received_ns(rows: Quotes | Trades, *, since_ns: int = BEFORE_ALL) -> NDArray[np.int64]:
    """Return the time of receipt of every row, int64 (n,), never decreasing.

    Args:
        rows: Quotes or trades.
        since_ns: The clock before them: the largest `local_ns` of earlier pieces of the same tape, of either kind.
    """
    clock = np.maximum.accumulate(rows.local_ns)
    return clock if since_ns == BEFORE_ALL else np.maximum(clock, since_ns)


def merge_order(quotes: Quotes, trades: Trades, *, since_ns: int = BEFORE_ALL) -> NDArray[np.bool_]:
    """Return the order of rows as bool (quotes + trades,): True where the row is the next trade, else the next quote.

    Pieces of a tape in the order of rows, each merged `since_ns` the clock at which the one before it ended, give the
    order of the whole tape.
    """
    quoted = received_ns(quotes, since_ns=since_ns)
    traded = received_ns(trades, since_ns=since_ns)
    is_trade = np.zeros(len(quoted) + len(traded), dtype=np.bool_)
    is_trade[np.searchsorted(quoted, traded, side="left") + np.arange(len(traded))] = True
    return is_trade
