"""Quotes and trades as the columns of one table in the order of rows, and back: what parquet tapes and journals hold.

A trade fills the side that its taker hit: kind −1 (the taker sold) stands in bid and bid_size, kind +1 in ask and
ask_size; the other side is NaN.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from hftgym.tape.order import BEFORE_ALL, merge_order
from hftgym.tape.rows import Quotes, Trades

Columns = Mapping[str, NDArray]

SIDES: tuple[str, ...] = ("bid", "bid_size", "ask", "ask_size")
DTYPES: Mapping[str, type] = MappingProxyType(
    {"local_ns": np.int64, "exchange_ns": np.int64, "kind": np.int8} | dict.fromkeys(SIDES, np.float64)
)
"""The columns of the table. Kind: 0 a quote, +1 a trade whose taker bought, -1 one whose taker sold."""

_QUOTE = {name: dtype for name, dtype in DTYPES.items() if name != "kind"}
_TRADE: Mapping[str, type] = {
    "local_ns": np.int64,
    "exchange_ns": np.int64,
    "price": np.float64,
    "size": np.float64,
    "taker_side": np.int8,
}


def joined(quotes: Quotes, trades: Trades, *, since_ns: int = BEFORE_ALL) -> Columns:
    """Return quotes and trades as one table in the order of rows, see `order.merge_order`."""
    is_trade = merge_order(quotes, trades, since_ns=since_ns)
    is_quote = ~is_trade
    table = {name: np.empty(len(is_trade), dtype=dtype) for name, dtype in DTYPES.items()}
    for name, column in table.items():
        if name == "kind":
            column[is_quote], column[is_trade] = 0, trades.taker_side
        else:
            column[is_quote] = getattr(quotes, name)
            column[is_trade] = _of_trades(trades, name)
    return table


def _of_trades(trades: Trades, name: str) -> NDArray:
    if name not in SIDES:
        return getattr(trades, name)
    values = trades.size if name.endswith("_size") else trades.price
    return np.where(trades.taker_side == (-1 if name.startswith("bid") else 1), values, np.nan)


class Parts:
    """Room for the quotes and trades of a table, which arrives in pieces.

    Args:
        quotes: How many quotes there will be.
        trades: How many trades.
    """

    def __init__(self, *, quotes: int, trades: int) -> None:
        self._quotes = _room(_QUOTE, quotes)
        self._trades = _room(_TRADE, trades)
        self._filled = (0, 0)

    @classmethod
    def of(cls, table: Columns) -> tuple[Quotes, Trades]:
        """Return the quotes and trades of a whole table.

        Raises:
            ValueError: A kind is not -1, 0 or 1, or a price or size is not finite and above 0.
        """
        trades = int(np.count_nonzero(table["kind"]))
        parts = cls(quotes=len(table["kind"]) - trades, trades=trades)
        parts.add(table)
        return parts.done()

    def add(self, table: Columns) -> None:
        """Take the next rows.

        Raises:
            ValueError: There are more quotes or trades than there is room for.
        """
        kind = table["kind"]
        quote_rows, trade_rows = np.flatnonzero(kind == 0), np.flatnonzero(kind)
        quote, trade = self._filled
        self._filled = (quote + len(quote_rows), trade + len(trade_rows))
        if max(filled - room for filled, room in zip(self._filled, self._room, strict=True)) > 0:
            raise ValueError(f"there are more than {self._room[0]:,} quotes or {self._room[1]:,} trades")
        for name, column in self._quotes.items():
            # mode="clip" (nothing is out of range) is the one that writes to `out` directly.
            np.take(table[name], quote_rows, out=column[quote : self._filled[0]], mode="clip")
        of_trades = {name: column.take(trade_rows) for name, column in table.items()}
        sold = of_trades["kind"] < 0
        new = {
            "local_ns": of_trades["local_ns"],
            "exchange_ns": of_trades["exchange_ns"],
            "price": np.where(sold, of_trades["bid"], of_trades["ask"]),
            "size": np.where(sold, of_trades["bid_size"], of_trades["ask_size"]),
            "taker_side": of_trades["kind"],
        }
        for name, column in self._trades.items():
            column[trade : self._filled[1]] = new[name]

    @property
    def _room(self) -> tuple[int, int]:
        return len(self._quotes["bid"]), len(self._trades["price"])

    def done(self) -> tuple[Quotes, Trades]:
        """Return what was filled in.

        Raises:
            ValueError: Rows are missing, a kind is not -1, 0 or 1, or a price or size is not finite and above 0.
        """
        if self._filled != self._room:
            found = f"{self._filled[0]:,} quotes and {self._filled[1]:,} trades"
            raise ValueError(f"there must be {self._room[0]:,} quotes and {self._room[1]:,} trades, got {found}")
        for columns in (self._quotes, self._trades):
            for column in columns.values():
                column.flags.writeable = False  # `Quotes` and `Trades` then need no copy
        return Quotes(**self._quotes), Trades(**self._trades)


def _room(dtypes: Mapping[str, type], rows: int) -> dict[str, NDArray]:
    """Return columns to fill, in one piece of memory, whose huge pages are the fastest to get."""
    each = (8 * rows + 63) // 64 * 64  # every column begins a cache line
    memory = np.empty(each * len(dtypes), dtype=np.uint8)
    starts = range(0, len(memory), each) if rows else [0] * len(dtypes)
    return {
        name: memory[start : start + rows * np.dtype(dtype).itemsize].view(dtype)
        for start, (name, dtype) in zip(starts, dtypes.items(), strict=True)
    }
