"""The tape: quotes and trades of one market as columns, in the order in which they were received."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hftgym.tape.order import merge_order
from hftgym.tape.report import TapeReport
from hftgym.tape.steps import Steps, step_of

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
        steps: The grids of prices and sizes where they are known; None until they are asked for, then measured.

    Raises:
        ValueError: A part has another type, a name is empty, or there is no quote.
    """

    venue: str
    symbol: str
    quotes: Quotes
    trades: Trades
    report: TapeReport
    steps: Steps | None = None

    def __post_init__(self) -> None:
        kinds = {"venue": str, "symbol": str, "quotes": Quotes, "trades": Trades, "report": TapeReport}
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise ValueError(f"Tape.{name} must be {kind.__name__}, got {type(value).__name__}")
            if name in ("venue", "symbol", "quotes") and len(value) == 0:
                raise ValueError(f"Tape.{name} must not be empty")
        if not isinstance(self.steps, Steps | None):
            raise ValueError(f"Tape.steps must be Steps or None, got {type(self.steps).__name__}")

    @property
    def price_step(self) -> float | None:
        """The price grid, quote currency; None if the prices lie on no grid. Measured if nobody gave it."""
        return self._measured_steps().price

    @property
    def size_step(self) -> float | None:
        """The grid of sizes, units; None if the sizes lie on no grid. Measured if nobody gave it."""
        return self._measured_steps().size

    def _measured_steps(self) -> Steps:
        if self.steps is None:
            quotes, trades = self.quotes, self.trades
            steps = Steps(
                price=step_of((quotes.bid, quotes.ask, trades.price)),
                size=step_of((quotes.bid_size, quotes.ask_size, trades.size)),
            )
            object.__setattr__(self, "steps", steps)
            return steps
        return self.steps

    @property
    def quoted_ns(self) -> tuple[int, int]:
        """When the first and the last quote were received, ns since 1970."""
        return int(self.quotes.local_ns[0]), int(self.quotes.local_ns.max())

    def in_units_of(self, coins: float) -> "Tape":
        """Return the same tape with sizes in units of so many coins, and prices per unit.

        An inventory limit counts units: with 0.001 coins a unit, ten of them are 0.01 coins.

        Args:
            coins: Size of the new unit in units of this tape, usually coins; finite and above 0.
        """
        if unit_is_one(coins):
            return self
        return replace(
            self,
            symbol=symbol_in_units(self.symbol, coins),
            quotes=in_units(self.quotes, coins),
            trades=in_units(self.trades, coins),
            steps=self._measured_steps().in_units_of(coins),
        )

    def chunks(self, rows: int = 1_000_000) -> Iterator[tuple[Quotes, Trades]]:
        """Yield the tape in the order of rows (`hftgym.tape.order`) as pieces of so many rows; the last may be shorter.

        Args:
            rows: Quotes and trades of a piece together, at least 1. One of the two may be empty.
        """
        check_rows(rows)
        is_trade = merge_order(self.quotes, self.trades)
        quote, trade = 0, 0
        for start in range(0, len(is_trade), rows):
            piece = is_trade[start : start + rows]
            last_trade = trade + int(np.count_nonzero(piece))
            last_quote = quote + len(piece) - (last_trade - trade)
            yield _rows_of(self.quotes, quote, last_quote), _rows_of(self.trades, trade, last_trade)
            quote, trade = last_quote, last_trade

    @property
    def mid(self) -> Float64s:
        """Mid price of every quote: float64 (n,), quote currency."""
        return 0.5 * self.quotes.bid + 0.5 * self.quotes.ask  # equals (bid + ask) / 2 and cannot overflow

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


Rows = TypeVar("Rows", Quotes, Trades)


def check_rows(rows: int) -> None:
    """Check the size of pieces."""
    if type(rows) is not int or rows < 1:
        raise ValueError(f"rows must be a whole number of at least 1, got {rows!r}")


def unit_is_one(coins: float) -> bool:
    """Check a size of units, and tell whether it changes nothing."""
    if not (math.isfinite(coins) and coins > 0):
        raise ValueError(f"coins must be finite and above 0, got {coins!r}")
    return coins == 1


def symbol_in_units(symbol: str, coins: float) -> str:
    """Return the name of a market that is counted in units of so many coins, for example "0.001 BTCUSDT"."""
    return f"{coins:.12g} {symbol}"


def in_units(rows: Rows, coins: float) -> Rows:
    """Return the rows with sizes in units of so many coins, and prices per unit; times are shared, not copied."""
    prices = {name: getattr(rows, name) * coins for name in ("bid", "ask", "price") if hasattr(rows, name)}
    sizes = {name: getattr(rows, name) / coins for name in ("bid_size", "ask_size", "size") if hasattr(rows, name)}
    return replace(rows, **_frozen(prices | sizes))


def _rows_of(rows: Rows, start: int, stop: int) -> Rows:
    return type(rows)(**{field.name: getattr(rows, field.name)[start:stop] for field in fields(rows)})


def _frozen(columns: Mapping[str, NDArray]) -> Mapping[str, NDArray]:
    """Make new columns read-only, so that `Quotes` and `Trades` take them without a copy."""
    for column in columns.values():
        column.flags.writeable = False
    return columns


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
