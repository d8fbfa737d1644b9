"""Raw Coinbase Exchange WebSocket captures: `<local time, s>: <json>` per line, with or without `<url> <- ` in front.

The book is kept from `snapshot` and `l2update`; a quote is a row whenever the touch changes. Trades are `match`, whose
`side` is the maker's. A `last_match` tells of the last trade before the recording and is none of it. Fields are those
of Coinbase Exchange's documentation of its WebSocket channels.
"""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from hftgym.tape.book import Book, Touch
from hftgym.tape.builder import TapeBuilder
from hftgym.tape.lines import read_blocks
from hftgym.tape.messages import BadLineError, decimal, name, parse_object, positive, shown
from hftgym.tape.recording import Choice
from hftgym.tape.rows import FARTHEST_NS
from hftgym.tape.types import NO_TIME

EXPECTED = '<local time, s since 1970>: {"type":"l2update","product_id":"BTC-USD",...}'
VENUE = "coinbase"

_TYPES = b"subscriptions|subscribe|snapshot|l2update|match|last_match|ticker|heartbeat|error"
_FIRST = re.compile(rb'^(?:\S{1,200} <- )?\d{10}(?:\.\d{1,9})?: \{"type" ?: ?"(?:' + _TYPES + rb')"', re.MULTILINE)
_LINE = re.compile(rb"(?:\S{1,200} <- )?(\d{10})(?:\.(\d{1,9}))?: ")
_CONNECTION = re.compile(rb"\S{1,200} <-> \d{10}(?:\.\d{1,9})?\r?")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
_SIDES = {"buy": +1, "sell": -1}


def recognises(head: bytes, path: Path) -> bool:
    """Tell whether one of the first lines looks like a Coinbase message behind a time."""
    return _FIRST.search(head) is not None


def feed(path: Path, builder: TapeBuilder, choice: Choice) -> Iterator[None]:
    """Read a capture into the builder, see `hftgym.tape.recording.Feed`."""
    capture = _Capture(builder)
    with closing(read_blocks(path)) as blocks:
        for lines in blocks:
            for number, line in enumerate(lines, start=builder.lines + 1):
                capture.line(line, number)
            builder.advance(len(lines))
            yield


class _Market:
    """One product: its book, from the first snapshot on, and the touch that was last handed over."""

    def __init__(self) -> None:
        self.book: Book | None = None
        self.touch: Touch | None = None


class _Capture:
    def __init__(self, builder: TapeBuilder) -> None:
        self._builder = builder
        self._markets: dict[str, _Market] = {}

    def line(self, line: bytes, number: int) -> None:
        """Take one line; `number` counts from 1."""
        found = _LINE.match(line)
        try:
            if found:
                local_ns = int(found[1]) * 10**9 + int((found[2] or b"").ljust(9, b"0"))
                if local_ns > FARTHEST_NS:
                    raise BadLineError(f"local time must be before 2116, got {found[1].decode()} s")
                self._message(parse_object(line, found.end()), local_ns, number)
                self._builder.clock(local_ns, number)
            elif _CONNECTION.fullmatch(line):
                self._builder.ignore("connection")
            else:
                start = shown(line[:40].decode(errors="replace"))
                raise BadLineError(f"line must start with a local time in s since 1970 and a colon, got {start}")
        except BadLineError as error:
            self._builder.bad(number, str(error))

    def _message(self, message: dict[str, Any], local_ns: int, number: int) -> None:
        kind = name(message.get("type"), "type")
        if kind not in ("snapshot", "l2update", "match", "last_match", "heartbeat"):
            self._builder.ignore(kind)
            return
        symbol = name(message.get("product_id"), "product_id")
        if self._builder.wanted not in (None, symbol):
            self._builder.ignore(f"{symbol} {kind}")
        elif kind == "match":
            self._trade(message, symbol, local_ns, number)
        elif kind in ("last_match", "heartbeat"):
            key = "trade_id" if kind == "last_match" else "last_trade_id"
            self._builder.number("match", _count(message, key), line=number, symbol=symbol, sent=True)
            self._builder.ignore(kind)
        else:
            self._levels(message, kind, symbol, local_ns, number)

    def _trade(self, message: dict[str, Any], symbol: str, local_ns: int, number: int) -> None:
        taker_side = -_side(message.get("side"))
        price, size = (positive(message.get(key), key) for key in ("price", "size"))
        row = (_exchange_ns(message), local_ns, price, size, taker_side)
        trade_id = _count(message, "trade_id")
        self._builder.trade(row, line=number, venue=VENUE, symbol=symbol)
        self._builder.number("match", trade_id, line=number, symbol=symbol)

    def _levels(self, message: dict[str, Any], kind: str, symbol: str, local_ns: int, number: int) -> None:
        market = self._markets.setdefault(symbol, _Market())
        if kind == "snapshot":
            sides = {side: _pairs(message, key) for side, key in ((+1, "bids"), (-1, "asks"))}
            market.book = market.book or Book()
            for side, levels in sides.items():
                market.book.replace(side, levels)
        else:
            changes = _changes(message)
            if market.book is None:
                self._builder.ignore("l2update before the first snapshot")
                return
            for side, price, size in changes:
                market.book.set(side, price, size)
        touch = market.book.touch()
        if touch is None:
            self._builder.ignore(f"{kind} that leaves a side of the book empty")
        elif touch == market.touch and kind == "l2update":
            self._builder.ignore("l2update beyond the touch")
        else:
            exchange_ns = NO_TIME if kind == "snapshot" else _exchange_ns(message)
            self._builder.quote((exchange_ns, local_ns, *touch), line=number, venue=VENUE, symbol=symbol)
            market.touch = touch


def _changes(message: dict[str, Any]) -> list[tuple[int, float, float]]:
    """Check everything before anything is changed: a bad line must not leave half of itself in the book."""
    _exchange_ns(message)
    changes = message.get("changes")
    if not isinstance(changes, list) or not all(isinstance(change, list) and len(change) == 3 for change in changes):
        raise BadLineError("field 'changes' must be a list of [side, price, size]")
    return [(_side(side), positive(price, "price"), _size(size)) for side, price, size in changes]


def _pairs(message: dict[str, Any], key: str) -> list[tuple[float, float]]:
    levels = message.get(key)
    if not isinstance(levels, list) or not all(isinstance(level, list) and len(level) == 2 for level in levels):
        raise BadLineError(f"field {key!r} must be a list of [price, size]")
    return [(positive(price, "price"), _size(size)) for price, size in levels]


def _side(value: object) -> int:
    if not isinstance(value, str) or value not in _SIDES:
        raise BadLineError(f"side must be 'buy' or 'sell', got {shown(value)}")
    return _SIDES[value]


def _size(text: object) -> float:
    value = decimal(text)
    if not 0.0 <= value < float("inf"):
        raise BadLineError(f"size must be a decimal in quotes, finite and not negative, got {shown(text)}")
    return value


def _count(message: dict[str, Any], key: str) -> int:
    value = message.get(key)
    if type(value) is not int or not 0 <= value < 2**63:
        raise BadLineError(f"field {key!r} must be a whole number, got {shown(value)}")
    return value


def _exchange_ns(message: dict[str, Any]) -> int:
    time = message.get("time")
    if isinstance(time, str) and _TIME.fullmatch(time) and "1970" <= time < "2255":  # int64 ends in 2262
        try:
            return int(np.datetime64(time[:-1], "ns").astype(np.int64))
        except ValueError:
            pass  # no such day or hour: the error below says so
    raise BadLineError(f"field 'time' must be a time such as '2021-04-17T16:43:37.075687Z', got {shown(time)}")
