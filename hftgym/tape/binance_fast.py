"""Raw Binance captures, the quick way: lines of the usual shapes, many at once, through typed msgspec structs.

It takes a line only if every field is there, of its type and in its range, and no other field is; whatever it refuses
goes through the careful reader of `hftgym.tape.binance`, which knows the reasons. What it takes, both read alike.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from hftgym.tape.binance_messages import SPOT, USDM
from hftgym.tape.binance_structs import AggTradeEvent, Data, SpotQuote, TradeEvent, UsdmQuote, combined_decoder
from hftgym.tape.builder import TapeBuilder
from hftgym.tape.messages import LARGEST
from hftgym.tape.types import NO_TIME, Float64s, Int64s

_STREAM = re.compile(rb' \{"stream":"([^"@!\\]{1,32})@(bookTicker|trade|aggTrade|depth[0-9a-z@]*)"')
_TIME_DIGITS = 19
_STREAM_AT = 31  # behind the time and `{"stream":"`
_POWERS = 10 ** np.arange(_TIME_DIGITS - 1, -1, -1, dtype=np.int64)


class _RefusedError(ValueError):
    """These lines are not all of the usual shape."""


class _Shape(NamedTuple):
    """One stream: how its lines are decoded, and which lines of the current run are its."""

    kind: str
    name: str  # "btcusdt@trade"
    symbol: str
    decode: Callable[[bytes], list[Any]]
    at: list[int]


class FastLines:
    """Takes runs of lines of the usual shapes and hands all others to `careful(line, number)`, in order."""

    def __init__(self, builder: TapeBuilder, careful: Callable[[bytes, int], None]) -> None:
        self._builder = builder
        self._careful = careful
        self._shapes: dict[bytes, _Shape] = {}

    def block(self, lines: Sequence[bytes], first: int) -> None:
        """Take consecutive lines; `first` is the number of the first."""
        shapes, start = self._shapes, 0
        for i, line in enumerate(lines):
            shape = shapes.get(line[_TIME_DIGITS : line.find(b'"', _STREAM_AT) + 1]) or self._learn(line)
            if shape is None:
                self._run(lines[start:i], first + start)
                self._careful(line, first + i)
                start = i + 1
            else:
                shape.at.append(i - start)
        self._run(lines[start:], first + start)

    def _learn(self, line: bytes) -> _Shape | None:
        """Remember the shape of a stream when it is first seen."""
        found = _STREAM.match(line, _TIME_DIGITS)
        if not found or not found[1].isascii():
            return None
        symbol, kind = found[1].decode(), found[2].decode()
        types = {
            "bookTicker": UsdmQuote if b'"e":' in line else SpotQuote,
            "trade": TradeEvent,
            "aggTrade": AggTradeEvent,
        }
        shape = _Shape(
            kind, f"{symbol}@{kind}", symbol.upper(), combined_decoder(types.get(kind, Data)).decode_lines, []
        )
        return self._shapes.setdefault(found[0], shape)

    def _run(self, lines: Sequence[bytes], first: int) -> None:
        """Take lines that all look usual; if one of them is not, all go the careful way."""
        shapes = sorted((shape for shape in self._shapes.values() if shape.at), key=lambda shape: shape.at[0])
        parts = [(shape, np.array(shape.at, dtype=np.int64)) for shape in shapes]
        for shape, _ in parts:
            shape.at.clear()
        if not lines:
            return
        try:
            local_ns = _local_ns(lines)
            commits = [self._parsed(shape, [lines[i] for i in at], at + first, local_ns[at]) for shape, at in parts]
        except (ValueError, OverflowError):  # msgspec's errors are ValueErrors
            for i, line in enumerate(lines):
                self._careful(line, first + i)
            return
        for commit in commits:
            commit()
        self._builder.clocks(local_ns, np.arange(first, first + len(lines)))

    def _parsed(self, shape: _Shape, lines: list[bytes], numbers: Int64s, local_ns: Int64s) -> Callable[[], None]:
        """Check all lines of one shape and return what will add them."""
        if shape.kind.startswith("depth"):  # most of the bytes: known by both ends, they are not parsed
            start = b'{"stream":"%s","data":{"' % shape.name.encode()
            if not all(line.startswith(start, _TIME_DIGITS + 1) and line.endswith(b"}}") for line in lines):
                raise _RefusedError
            return lambda: self._builder.ignore(shape.kind, len(lines))
        messages = shape.decode(b"\n".join([line[_TIME_DIGITS + 1 :] for line in lines]))
        if len(messages) != len(lines) or {message.stream for message in messages} != {shape.name}:
            raise _RefusedError
        events = [message.data for message in messages]
        if {event.s for event in events} != {shape.symbol}:
            raise _RefusedError
        add = self._quotes if shape.kind == "bookTicker" else self._trades
        return add(shape, events, numbers, local_ns)

    def _quotes(self, shape: _Shape, events: list[Any], lines: Int64s, local_ns: Int64s) -> Callable[[], None]:
        usdm = isinstance(events[0], UsdmQuote)
        columns = (
            _exchange_ns([e.E for e in events]) if usdm else np.full(len(events), NO_TIME),
            local_ns,
            _positive([e.b for e in events]),
            _positive([e.B for e in events]),
            _positive([e.a for e in events]),
            _positive([e.A for e in events]),
        )
        venue = USDM if usdm else SPOT
        return lambda: self._builder.quotes(columns, lines, venue=venue, symbol=shape.symbol)

    def _trades(self, shape: _Shape, events: list[Any], lines: Int64s, local_ns: Int64s) -> Callable[[], None]:
        aggregate = shape.kind == "aggTrade"
        venues = {_venue(event) for event in events}
        if len(venues) != 1:
            raise _RefusedError
        [venue] = venues
        columns = (
            _exchange_ns([e.E for e in events]),
            local_ns,
            _positive([e.p for e in events]),
            _positive([e.q for e in events]),
            np.where(np.array([e.m for e in events]), -1, 1),
        )
        numbers = np.array([e.a if aggregate else e.t for e in events], dtype=np.int64)

        def commit() -> None:
            self._builder.trades(columns, lines, venue=venue, symbol=shape.symbol, aggregate=aggregate)
            self._builder.numbers(shape.kind, numbers, lines, symbol=shape.symbol)

        return commit


def _venue(event: Any) -> str:
    if event.M is not msgspec.UNSET:
        return SPOT
    return USDM if getattr(event, "X", msgspec.UNSET) is not msgspec.UNSET else ""


def _local_ns(lines: Sequence[bytes]) -> Int64s:
    text = b"".join([line[:_TIME_DIGITS] for line in lines])
    if len(text) != _TIME_DIGITS * len(lines):
        raise _RefusedError
    digits = np.frombuffer(text, dtype=np.uint8).reshape(-1, _TIME_DIGITS) - np.uint8(ord("0"))
    if (digits > 9).any() or (digits[:, 0] < 1).any() or (digits[:, 0] > 8).any():  # up to 8.99e18 fits an int64
        raise _RefusedError
    return digits.astype(np.int64) @ _POWERS


def _exchange_ns(times: list[int]) -> Int64s:
    time = np.array(times, dtype=np.int64)
    is_ms, is_us = (time >= 10**12) & (time < 9 * 10**12), (time >= 10**15) & (time < 9 * 10**15)
    if not (is_ms | is_us).all():
        raise _RefusedError
    return time * np.where(is_ms, 1_000_000, 1_000)


def _positive(texts: list[str]) -> Float64s:
    values = np.array(msgspec.convert(texts, list[float], strict=False), dtype=np.float64)
    if not ((values > 0) & (values < LARGEST)).all():
        raise _RefusedError
    return values
