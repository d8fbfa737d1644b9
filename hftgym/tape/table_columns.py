"""What the columns of a table mean, by their common names, and how times and sides may be written."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hftgym.tape.report import TapeError
from hftgym.tape.types import Int64s

NAMES: Mapping[str, tuple[str, ...]] = {
    "time": (
        *("time", "timestamp", "ts", "datetime", "exchange_time", "exchange_timestamp", "exchange_ns", "exch_ts"),
        *("event_time", "transaction_time", "trade_time"),
    ),
    "local_time": ("local_time", "local_timestamp", "local_ns", "local_ts", "receive_time", "received", "recv_time"),
    "bid": ("bid", "bid_price", "best_bid", "best_bid_price", "bid_px", "bp"),
    "bid_size": ("bid_size", "bid_qty", "bid_quantity", "bid_amount", "best_bid_size", "best_bid_qty", "bid_volume"),
    "ask": ("ask", "ask_price", "best_ask", "best_ask_price", "ask_px", "ap", "offer", "offer_price"),
    "ask_size": ("ask_size", "ask_qty", "ask_quantity", "ask_amount", "best_ask_size", "best_ask_qty", "ask_volume"),
    "price": ("price", "px", "trade_price"),
    "size": ("size", "qty", "quantity", "amount", "volume", "trade_size"),
    "side": ("side", "taker_side", "aggressor", "aggressor_side"),
    "is_buyer_maker": ("is_buyer_maker", "buyer_maker", "buyer_is_maker"),
    "symbol": ("symbol", "ticker", "instrument", "product_id"),
}
"""Meaning -> names that are found by themselves, in any case, with or without underscores, blanks and hyphens."""

_BUYS, _SELLS = ("buy", "b", "1", "+1", "1.0"), ("sell", "s", "-1", "-1.0")
_TRUE, _FALSE = ("true", "1", "1.0"), ("false", "0", "0.0")
_UNITS_NS = (1_000_000_000, 1_000_000, 1_000, 1)  # s, ms, µs, ns: told apart by size, all between 2001 and 2255
_FIRST, _LAST = (np.datetime64(second, "s") for second in (10**9, 4 * 10**9))
_SECONDS = re.compile(r"(\d{9,10})\.(\d{1,9})\d*")
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)(?:Z|\+00:00| ?UTC)?")


def meanings(names: Sequence[str], given: Mapping[str, str] | None, path: Path) -> dict[str, str]:
    """Return meaning -> name of the columns that make quotes, trades or both.

    Args:
        names: The columns of the file.
        given: Meaning -> name, as the caller says; goes before what would be found.
        path: The file, for messages.

    Raises:
        TapeError: `given` names a meaning or a column that does not exist, a name that is needed stands for several
            columns, or the columns make neither.
    """
    for meaning, name in (given or {}).items():
        if meaning not in NAMES:
            raise TapeError(f"columns: {meaning!r} is no meaning of a column, it must be one of {', '.join(NAMES)}")
        if name not in names:
            raise TapeError(f"{path}: columns[{meaning!r}] is {name!r}, but the file has {', '.join(names)}")
    found = {**_found(names), **(given or {})}
    has_time = "time" in found or "local_time" in found
    if not has_time or not (is_quotes(found) or is_trades(found)):
        raise TapeError(
            f"{path}: the columns make neither quotes nor trades: found {', '.join(names)}"
            f"{_understood(found)}; needed are time (or local_time) and bid, ask (quotes; bid_size and ask_size are "
            "read too) or price, size and side (trades; or is_buyer_maker for side). Name them: "
            "read_tape(path, columns={'time': ..., 'bid': ..., 'ask': ...})"
        )
    if twice := [name for name in dict.fromkeys(found.values()) if names.count(name) > 1]:
        raise TapeError(f"{path}: the file has several columns named {', '.join(twice)}: found {', '.join(names)}")
    return found


def looks_like_table(names: Sequence[str]) -> bool:
    """Tell whether these may be the columns of a tape, complete or not."""
    found = _found(names)
    return bool(found.keys() & {"time", "local_time"}) and bool(found.keys() & {"bid", "ask", "price"})


def is_quotes(found: Mapping[str, str]) -> bool:
    """Tell whether the columns make quotes."""
    return found.keys() >= {"bid", "ask"}


def is_trades(found: Mapping[str, str]) -> bool:
    """Tell whether the columns make trades."""
    return found.keys() >= {"price", "size"} and bool(found.keys() & {"side", "is_buyer_maker"})


def times_ns(values: np.ndarray) -> Int64s:
    """Return times in ns since 1970, int64 (n,), 0 where there is no such time between 2001 and 2255.

    Args:
        values: (n,), whole numbers of s, ms, µs or ns since 1970; fractions of seconds; texts of either; or ISO texts
            in UTC.
    """
    if values.dtype.kind == "M":
        return _whole_ns(values.astype("datetime64[ns]").astype(np.int64))
    if values.dtype.kind in "iu":
        return _whole_ns(values.astype(np.int64))
    if values.dtype.kind == "f":
        seconds = np.where(np.isfinite(values) & (values >= 10**9) & (values < 4 * 10**9), values, 0.0)
        rest = np.where(np.isfinite(values) & (values >= 10**12) & (values < 4 * 10**18), values, 0.0)
        return _seconds_ns(seconds) + _whole_ns(rest.astype(np.int64))
    return np.array([_text_ns(str(value)) for value in values], dtype=np.int64)


def taker_sides(values: np.ndarray, *, is_buyer_maker: bool) -> np.ndarray:
    """Return who took, int8 (n,): +1 the buyer, −1 the seller, 0 where the value says neither."""
    buys, sells = (_FALSE, _TRUE) if is_buyer_maker else (_BUYS, _SELLS)
    sides = {**dict.fromkeys(buys, 1), **dict.fromkeys(sells, -1)}
    return np.array([sides.get(str(value).strip().lower(), 0) for value in values], dtype=np.int8)


def _found(names: Sequence[str]) -> dict[str, str]:
    by_plain = {_plain(name): name for name in reversed(names)}
    found = (
        (meaning, next((by_plain[_plain(n)] for n in known if _plain(n) in by_plain), None))
        for meaning, known in NAMES.items()
    )
    return {meaning: name for meaning, name in found if name is not None}


def _plain(name: str) -> str:
    return re.sub(r"[_\s-]", "", name).lower()


def _understood(found: Mapping[str, str]) -> str:
    return f" (understood: {', '.join(f'{name} as {meaning}' for meaning, name in found.items())})" if found else ""


def _whole_ns(values: Int64s) -> Int64s:
    result = np.zeros(len(values), dtype=np.int64)
    for unit in _UNITS_NS:
        fits = (values >= 10**18 // unit) & (values < 4 * (10**18 // unit))
        result[fits] = values[fits] * unit
    return result


def _seconds_ns(seconds: np.ndarray) -> Int64s:
    whole = np.floor(seconds)  # apart from the rest, so that no digit is lost in the product
    return whole.astype(np.int64) * 10**9 + np.round((seconds - whole) * 1e9).astype(np.int64)


def _text_ns(text: str) -> int:
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) <= 19:
        value = int(text)
        return next((value * u for u in _UNITS_NS if 10**18 // u <= value < 4 * (10**18 // u)), 0)
    if found := _SECONDS.fullmatch(text):
        value = int(found[1]) * 10**9 + int(found[2].ljust(9, "0"))
        return value if 10**18 <= value < 4 * 10**18 else 0
    if found := _ISO.fullmatch(text):
        try:
            value = np.datetime64(f"{found[1]}T{found[2]}")  # in its own unit: nanoseconds overflow after 2262
            return int(value.astype("datetime64[ns]").astype(np.int64)) if _FIRST <= value < _LAST else 0
        except ValueError:
            return 0
    return 0
