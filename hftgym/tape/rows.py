"""Quotes and trades as columns, in the order in which they were received, and what can be done with either."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hftgym.tape.steps import Steps, rescaled

NO_TIME: int = int(np.iinfo(np.int64).min)
"""Stands in `exchange_ns` where the venue sends no time (Binance spot's bookTicker)."""

Int64s = NDArray[np.int64]
Float64s = NDArray[np.float64]

FARTHEST_NS = (1 << 62) - 1
"""The largest `local_ns`: differences of two times must fit into int64. It is 146 years after 1970."""

_TIMES: Mapping[str, type] = {"exchange_ns": np.int64, "local_ns": np.int64}
_QUOTE_VALUES: Mapping[str, type] = dict.fromkeys(("bid", "bid_size", "ask", "ask_size"), np.float64)
_TRADE_VALUES: Mapping[str, type] = dict.fromkeys(("price", "size"), np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Quotes:
    """Best bid and ask, one row per update; read-only columns of equal length n.

    Attributes:
        exchange_ns: int64 (n,), the venue's event time in ns since 1970, `NO_TIME` where it sends none.
        local_ns: int64 (n,), the recorder's clock at reception, ns since 1970, from 1824 to 2116. The two clocks may
            differ by seconds.
        bid: float64 (n,), quote currency.
        bid_size: float64 (n,), units.
        ask: float64 (n,), quote currency.
        ask_size: float64 (n,), units.

    Raises:
        ValueError: A column has another type or length, a time is out of range, or a price or size is not finite and
            above 0.
    """

    exchange_ns: Int64s  # (n,)
    local_ns: Int64s  # (n,)
    bid: Float64s  # (n,)
    bid_size: Float64s  # (n,)
    ask: Float64s  # (n,)
    ask_size: Float64s  # (n,)

    def __post_init__(self) -> None:
        _check_and_freeze(self, {**_TIMES, **_QUOTE_VALUES})
        _check_times(self)
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
        local_ns: int64 (n,), the recorder's clock at reception, ns since 1970, from 1824 to 2116.
        price: float64 (n,), quote currency.
        size: float64 (n,), units.
        taker_side: int8 (n,), +1 the taker bought, −1 the taker sold.

    Raises:
        ValueError: A column has another type or length, a time is out of range, a price or size is not finite and above
            0, or a side is not ±1.
    """

    exchange_ns: Int64s  # (n,)
    local_ns: Int64s  # (n,)
    price: Float64s  # (n,)
    size: Float64s  # (n,)
    taker_side: NDArray[np.int8]  # (n,)

    def __post_init__(self) -> None:
        _check_and_freeze(self, {**_TIMES, **_TRADE_VALUES, "taker_side": np.int8})
        _check_times(self)
        for name in _TRADE_VALUES:
            _check_positive(self, name)
        wrong = np.flatnonzero(np.abs(self.taker_side) != 1)
        if wrong.size:
            raise ValueError(f"Trades.taker_side must be +1 or -1, got {self.taker_side[wrong[0]]} in row {wrong[0]}")

    def __len__(self) -> int:
        return len(self.local_ns)

    def __repr__(self) -> str:
        return f"Trades({len(self):,} rows)"


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


def in_units(rows: Rows, coins: float, *, steps: Steps) -> Rows:
    """Return rows with sizes in units of so many coins, and prices per unit; times are shared, not copied.

    Args:
        rows: Quotes or trades.
        coins: Size of the new unit in units of the rows.
        steps: The grids of the rows, so that decimals stay the nearest float64 of themselves.
    """
    new, columns = steps.in_units_of(coins), {}
    for name in ("bid", "ask", "price"):
        if hasattr(rows, name):
            columns[name] = rescaled(getattr(rows, name), coins, step=steps.price, new_step=new.price)
    for name in ("bid_size", "ask_size", "size"):
        if hasattr(rows, name):
            columns[name] = rescaled(getattr(rows, name), 1 / coins, step=steps.size, new_step=new.size)
    return replace(rows, **_frozen(columns))


def rows_of(rows: Rows, start: int, stop: int) -> Rows:
    """Return some of the rows; nothing is copied."""
    return type(rows)(**{field.name: getattr(rows, field.name)[start:stop] for field in fields(rows)})


def stacked(pieces: Sequence[Rows]) -> Rows:
    """Return pieces behind each other; at least one."""
    if len(pieces) == 1:
        return pieces[0]
    kind, names = type(pieces[0]), [field.name for field in fields(pieces[0])]
    return kind(**_frozen({name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in names}))


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


def _check_times(rows: Quotes | Trades) -> None:
    times = rows.local_ns
    if len(times) and (times.min() < -FARTHEST_NS or times.max() > FARTHEST_NS):
        row = int(np.flatnonzero((times < -FARTHEST_NS) | (times > FARTHEST_NS))[0])
        owner = type(rows).__name__
        raise ValueError(f"{owner}.local_ns must be nanoseconds from 1824 to 2116, got {times[row]} in row {row}")


def _check_positive(rows: Quotes | Trades, name: str) -> None:
    column = getattr(rows, name)
    wrong = np.flatnonzero(~(np.isfinite(column) & (column > 0.0)))
    if wrong.size:
        owner = type(rows).__name__
        raise ValueError(f"{owner}.{name} must be finite and above 0, got {column[wrong[0]]} in row {wrong[0]}")
