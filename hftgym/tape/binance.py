"""Raw Binance WebSocket captures, spot and USD-M: one line per message, `<local time, ns since 1970> <json>`.

Messages of a combined stream (`{"stream":..,"data":..}`) and of a single one (the bare event) are understood. The
fields are those of Binance's API documentation: `bookTicker` b, B, a, A; `trade` and `aggTrade` p, q, m, X; E is the
event time. An aggTrade is a row like a trade; where a capture has both, `trade` counts alone.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from hftgym.tape.builder import TapeBuilder
from hftgym.tape.lines import read_blocks
from hftgym.tape.messages import BadLineError, name, parse_object, positive, shown
from hftgym.tape.recording import Choice
from hftgym.tape.report import TapeError
from hftgym.tape.rows import FARTHEST_NS
from hftgym.tape.types import NO_TIME

EXPECTED = '<local time, ns since 1970, 19 digits> {"stream":"btcusdt@bookTicker","data":{...}}'

_SPOT, _USDM = "binance-spot", "binance-usdm"
_FIRST_KEYS = b"stream|data|e|u|lastUpdateId|result|id|code|error"
_LINE = re.compile(rb'^\d{1,20} \{"(?:' + _FIRST_KEYS + rb')" ?:', re.MULTILINE)
# Depth updates are most of the bytes: known by both ends, they are not parsed.
_DEPTH = re.compile(rb'\{"stream":"[^"@]+@(depth[0-9a-z@]*)","data":\{"')
_JSON_AT = 20  # 19 digits and a space
_TRADE_NUMBERS = {"trade": "t", "aggTrade": "a"}  # the fields that count them
_BOOK_TICKER_KEYS = frozenset("usbBaA")


def recognises(head: bytes, path: Path) -> bool:
    """Tell whether one of the first lines looks like a Binance message behind a time."""
    return _LINE.search(head) is not None


def feed(path: Path, builder: TapeBuilder, choice: Choice) -> Iterator[None]:
    """Read a capture into the builder, see `hftgym.tape.recording.Feed`."""
    capture = Capture(builder)
    with closing(read_blocks(path)) as blocks:
        for lines in blocks:
            capture.block(lines)
            yield


class Capture:
    """Hands every line to the builder: the usual ones quickly, if msgspec is installed, and all others with care."""

    def __init__(self, builder: TapeBuilder) -> None:
        self.builder = builder
        self._streams: dict[str, tuple[str, str]] = {}
        try:
            from hftgym.tape.binance_fast import FastLines
        except ImportError:  # it needs msgspec; without it everything goes the careful way, and is read alike
            self._fast = None
        else:
            self._fast = FastLines(builder, self.line)

    def block(self, lines: list[bytes]) -> None:
        """Take the next lines of the file."""
        first = self.builder.lines + 1
        if self._fast:
            self._fast.block(lines, first)
        else:
            for number, line in enumerate(lines, start=first):
                self.line(line, number)
        self.builder.advance(len(lines))

    def line(self, line: bytes, number: int) -> None:
        """Take one line with care; `number` counts from 1."""
        try:
            local_ns = _local_ns(line)
            depth = _DEPTH.match(line, _JSON_AT)
            if depth and line.endswith(b"}}"):
                self.builder.ignore(depth[1].decode())
            else:
                self._message(parse_object(line, _JSON_AT), local_ns, number)
        except BadLineError as error:
            self.builder.bad(number, str(error))
        else:
            self.builder.clock(local_ns, number)

    def _message(self, message: dict[str, Any], local_ns: int, number: int) -> None:
        stream = message.get("stream")
        if stream is None:
            kind, symbol, data = _bare_kind(message), "", message
        else:
            kind, symbol = self._stream(stream)
            data = message.get("data")
        if kind == "bookTicker":
            self._quote(_event(data, symbol), local_ns, number)
        elif kind in _TRADE_NUMBERS:
            self._trade(_event(data, symbol), local_ns, kind, number)
        elif data is None:
            raise BadLineError("field 'data' is missing")
        else:
            self.builder.ignore(kind)

    def _stream(self, stream: object) -> tuple[str, str]:
        """Split "btcusdt@trade" into ("trade", "BTCUSDT"); streams of all symbols start with "!" and name none."""
        if not isinstance(stream, str):
            raise BadLineError(f"field 'stream' must be a name, got {shown(stream)}")
        if stream not in self._streams:
            symbol, _, kind = name(stream, "stream").partition("@")
            one_symbol = bool(kind) and not symbol.startswith("!")
            self._streams[stream] = (kind, symbol.upper()) if one_symbol else (stream.removeprefix("!"), "")
        return self._streams[stream]

    def _quote(self, data: dict[str, Any], local_ns: int, number: int) -> None:
        event = data.get("e")
        if "ps" in data:
            raise TapeError(
                f"{self.builder.path}: line {number} is a COIN-M message of {data['s']} (field 'ps'); its sizes are "
                "contracts, not coins, and cannot be read yet: record the spot or the USD-M market"
            )
        if event not in (None, "bookTicker"):
            raise BadLineError(f"field 'e' must be 'bookTicker' or absent, got {shown(event)}")
        row = (
            NO_TIME if event is None else _exchange_ns(data),
            local_ns,
            positive(data.get("b"), "b"),
            positive(data.get("B"), "B"),
            positive(data.get("a"), "a"),
            positive(data.get("A"), "A"),
        )
        self.builder.quote(row, line=number, venue=_SPOT if event is None else _USDM, symbol=data["s"])

    def _trade(self, data: dict[str, Any], local_ns: int, kind: str, line: int) -> None:
        if data.get("e") != kind:
            raise BadLineError(f"field 'e' must be {kind!r}, got {shown(data.get('e'))}")
        origin = data.get("X", "MARKET")
        if origin != "MARKET":  # USD-M: the insurance fund, auto-deleveraging; no order of the book was met
            self.builder.ignore(f"{kind} {name(origin, 'X')}")
        else:
            buyer_is_maker = data.get("m")
            if not isinstance(buyer_is_maker, bool):
                raise BadLineError(f"field 'm' must be true or false, got {shown(buyer_is_maker)}")
            taker_side = -1 if buyer_is_maker else 1
            row = (_exchange_ns(data), local_ns, positive(data.get("p"), "p"), positive(data.get("q"), "q"), taker_side)
            venue = _SPOT if "M" in data else _USDM if "X" in data else ""
            self.builder.trade(row, line=line, venue=venue, symbol=data["s"], aggregate=kind == "aggTrade")
        running = data.get(_TRADE_NUMBERS[kind])
        if type(running) is int:
            self.builder.number(kind, running, line=line, symbol=data["s"])


def _bare_kind(message: Mapping[str, Any]) -> str:
    """Name a message that comes without a stream."""
    if "e" in message:
        return name(message["e"], "e")
    if message.keys() >= _BOOK_TICKER_KEYS:
        return "bookTicker"
    if "lastUpdateId" in message:
        return "depth snapshot"
    if "error" in message or "code" in message:
        return "error reply"
    if "result" in message:
        return "subscription reply"
    raise BadLineError(f"no Binance message: it has neither 'stream' nor 'e', but {shown(', '.join(message))}")


def _local_ns(line: bytes) -> int:
    digits = line[: _JSON_AT - 1]
    if line[_JSON_AT - 1 : _JSON_AT] == b" " and digits.isdigit() and len(digits) == _JSON_AT - 1:
        local_ns = int(digits)
        if 10**18 <= local_ns <= FARTHEST_NS:
            return local_ns
    found = line[:40].partition(b" ")[0]
    raise BadLineError(
        f"local time must be ns since 1970, 19 digits and a space, got {shown(found.decode(errors='replace'))}"
    )


def _exchange_ns(data: Mapping[str, Any]) -> int:
    time = data.get("E")
    if type(time) is int:
        if 10**12 <= time < 9 * 10**12:  # ms: 2001 to 2255
            return time * 1_000_000
        if 10**15 <= time < 9 * 10**15:  # µs, with timeUnit=MICROSECOND
            return time * 1_000
    raise BadLineError(f"field 'E' must be a time in ms or µs since 1970, got {shown(time)}")


def _event(data: object, symbol: str) -> dict[str, Any]:
    """Check that an event is an object which names a symbol, and the one of its stream."""
    if not isinstance(data, dict):
        raise BadLineError(f"field 'data' must be an object, got {shown(data)}")
    if symbol:
        if data.get("s") != symbol:
            raise BadLineError(f"field 's' must be {symbol!r} as in the stream's name, got {shown(data.get('s'))}")
    else:
        name(data.get("s"), "s")
    return data
