"""The tape: quotes and trades of one market as columns, in the order in which they were received."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hftgym.tape.report import TapeReport

NO_TIME: int = int(np.iinfo(np.int64).min)
"""Stands in `exchange_ns` where the venue sends no time (Binance spot's bookTicker)."""

Int64s = NDArray[np.int64]
Float64s = NDArray[np.float64]

_TIMES: Mapping[str, type] = {"exchange_ns": np.int64, "local_ns": np.int64}
_QUOTE_VALUES: Mapping[str, type] = dict.fromkeys(("bid", "bid_size", "ask", "ask_size"), np.float64)
_TRADE_VALUES: Mapping[str, type] = dict.fromkeys(("price", "size"), np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Quotes:
    """Best bid and ask, one row per update; read-only columns of equal length n.

    Attributes:
        exchange_ns: int64 (n,), the venue's event time in ns since 1970, `NO_TIME` where it sends none.
        local_ns: int64 (n,), the recorder's clock at reception, ns since 1970. The two clocks may differ by seconds.
        bid: float64 (n,), quote currency.
        bid_size: float64 (n,), units.
        ask: float64 (n,), quote currency.
        ask_size: float64 (n,), units.

    Raises:
        ValueError: A column has another type or length, or a price or size is not finite and above 0.
    """

    exchange_ns: Int64s  # (n,)
    local_ns: Int64s  # (n,)
    bid: Float64s  # (n,)
    bid_size: Float64s  # (n,)
    ask: Float64s  # (n,)
    ask_size: Float64s  # (n,)

    def __post_init__(self) -> None:
        _check_and_freeze(self, {**_TIMES, **_QUOTE_VALUES})
        for name in _QUOTE_VALUES:
            _check_positive(self, name)

    def __len__(self) -> int:
        return len(self.local_ns)

    def __repr__(self) -> str:
        return f"Quotes({len(self):,} rows)"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Trades:
    """Trades, one row each; read-only columns of equal length n, which may be 0.

    Attributes:
        exchange_ns: int64 (n,), the venue's event time in ns since 1970, `NO_TIME` where it sends none.
        local_ns: int64 (n,), the recorder's clock at reception, ns since 1970.
        price: float64 (n,), quote currency.
        size: float64 (n,), units.
        taker_side: int8 (n,), +1 the taker bought, −1 the taker sold.

    Raises:
        ValueError: A column has another type or length, a price or size is not finite and above 0, or a side is not ±1.
    """

    exchange_ns: Int64s  # (n,)
    local_ns: Int64s  # (n,)
    price: Float64s  # (n,)
    size: Float64s  # (n,)
    taker_side: NDArray[np.int8]  # (n,)

    def __post_init__(self) -> None:
        _check_and_freeze(self, {**_TIMES, **_TRADE_VALUES, "taker_side": np.int8})
        for name in _TRADE_VALUES:
            _check_positive(self, name)
        wrong = np.flatnonzero(np.abs(self.taker_side) != 1)
        if wrong.size:
            raise ValueError(f"Trades.taker_side must be +1 or -1, got {self.taker_side[wrong[0]]} in row {wrong[0]}")

    def __len__(self) -> int:
        return len(self.local_ns)

    def __repr__(self) -> str:
        return f"Trades({len(self):,} rows)"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Tape:
    """One market, recorded.

    Attributes:
        venue: Where, for example "binance-spot" or "binance-usdm".
        symbol: What, in the venue's own spelling, for example "BTCUSDT".
        quotes: Best bid and ask, at least one row.
        trades: Trades, possibly none.
        report: What the reader found in the file.

    Raises:
        ValueError: A part has another type, a name is empty, or there is no quote.
    """

    venue: str
    symbol: str
    quotes: Quotes
    trades: Trades
    report: TapeReport

    def __post_init__(self) -> None:
        kinds = {"venue": str, "symbol": str, "quotes": Quotes, "trades": Trades, "report": TapeReport}
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise ValueError(f"Tape.{name} must be {kind.__name__}, got {type(value).__name__}")
            if name in ("venue", "symbol", "quotes") and len(value) == 0:
                raise ValueError(f"Tape.{name} must not be empty")

    @property
    def mid(self) -> Float64s:
        """Mid price of every quote: float64 (n,), quote currency."""
        return 0.5 * self.quotes.bid + 0.5 * self.quotes.ask  # equals (bid + ask) / 2 and cannot overflow

    @property
    def price_step(self) -> float | None:  # TEMPORARY
        """Return."""
        return None

    def chunks(self, rows: int = 1_000_000):  # TEMPORARY
        """Yield."""
        yield self.quotes, self.trades

    @property
    def quoted_ns(self) -> tuple[int, int]:
        """When the first and the last quote were received, ns since 1970."""
        return int(self.quotes.local_ns[0]), int(self.quotes.local_ns.max())

    @property
    def duration_s(self) -> float:
        """Seconds of local time from the earliest row to the latest one, quotes and trades together."""
        columns = [rows.local_ns for rows in (self.quotes, self.trades) if len(rows)]
        return (max(int(c.max()) for c in columns) - min(int(c.min()) for c in columns)) / 1e9

    def __repr__(self) -> str:
        spread = float(np.median(self.quotes.ask - self.quotes.bid))
        start = np.datetime64(int(self.quotes.local_ns[0]), "ns").astype("datetime64[s]")
        return (
            f"Tape({self.venue} {self.symbol}: {len(self.quotes):,} quotes, {len(self.trades):,} trades, "
            f"{self.duration_s:,.1f} s from {start} UTC, median spread {spread:.6g})"
        )


def _check_and_freeze(rows: Quotes | Trades, dtypes: Mapping[str, type]) -> None:
    owner = type(rows).__name__
    length = None
    for name, dtype in dtypes.items():
        column = getattr(rows, name)
        if not isinstance(column, np.ndarray) or column.dtype != dtype or column.ndim != 1:
            found = f"{column.dtype} {column.shape}" if isinstance(column, np.ndarray) else type(column).__name__
            raise ValueError(f"{owner}.{name} must be an array of {dtype.__name__} and shape (n,), got {found}")
        length = len(column) if length is None else length
        if len(column) != length:
            first = next(iter(dtypes))
            raise ValueError(f"{owner}.{name} must have {length} rows as {first} has, got {len(column)}")
        if column.flags.writeable:  # the caller's array stays the caller's
            column = column.copy()
            column.flags.writeable = False
            object.__setattr__(rows, name, column)


def _check_positive(rows: Quotes | Trades, name: str) -> None:
    column = getattr(rows, name)
    wrong = np.flatnonzero(~(np.isfinite(column) & (column > 0.0)))
    if wrong.size:
        owner = type(rows).__name__
        raise ValueError(f"{owner}.{name} must be finite and above 0, got {column[wrong[0]]} in row {wrong[0]}")
