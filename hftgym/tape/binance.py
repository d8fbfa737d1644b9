"""Raw Binance WebSocket captures, spot and USD-M: one line per message, `<local time, ns since 1970> <json>`.

What the messages say is known to `hftgym.tape.binance_messages`. An aggTrade is a row like a trade; where a capture
has both, `trade` counts alone.
"""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from hftgym.tape.binance_messages import (
    SPOT,
    TRADE_NUMBERS,
    USDM,
    bare_kind,
    event_of,
    origin,
    quote_values,
    stream_parts,
    trade_values,
)
from hftgym.tape.builder import TapeBuilder
from hftgym.tape.lines import read_blocks
from hftgym.tape.messages import BadLineError, parse_object, shown
from hftgym.tape.recording import Choice
from hftgym.tape.report import TapeError
from hftgym.tape.rows import FARTHEST_NS

EXPECTED = '<local time, ns since 1970, 19 digits> {"stream":"btcusdt@bookTicker","data":{...}}'

_FIRST_KEYS = b"stream|data|e|u|lastUpdateId|result|id|code|error"
_LINE = re.compile(rb'^\d{1,20} \{"(?:' + _FIRST_KEYS + rb')" ?:', re.MULTILINE)
# Depth updates are most of the bytes: known by both ends, they are not parsed.
_DEPTH = re.compile(rb'\{"stream":"[^"@]+@(depth[0-9a-z@]*)","data":\{"')
_JSON_AT = 20  # 19 digits and a space


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
            kind, symbol, data = bare_kind(message), "", message
        else:
            kind, symbol = self._stream(stream)
            data = message.get("data")
        if kind == "bookTicker":
            self._quote(event_of(data, symbol), local_ns, number)
        elif kind in TRADE_NUMBERS:
            self._trade(event_of(data, symbol), local_ns, kind, number)
        elif data is None:
            raise BadLineError("field 'data' is missing")
        else:
            self.builder.ignore(kind)

    def _stream(self, stream: object) -> tuple[str, str]:
        if not isinstance(stream, str):
            return stream_parts(stream)
        if stream not in self._streams:
            self._streams[stream] = stream_parts(stream)
        return self._streams[stream]

    def _quote(self, data: dict[str, Any], local_ns: int, number: int) -> None:
        if "ps" in data:
            raise TapeError(
                f"{self.builder.path}: line {number} is a COIN-M message of {data['s']} (field 'ps'); its sizes are "
                "contracts, not coins, and cannot be read yet: record the spot or the USD-M market"
            )
        exchange_ns, bid, bid_size, ask, ask_size = quote_values(data)
        venue = SPOT if data.get("e") is None else USDM
        self.builder.quote(
            (exchange_ns, local_ns, bid, bid_size, ask, ask_size), line=number, venue=venue, symbol=data["s"]
        )

    def _trade(self, data: dict[str, Any], local_ns: int, kind: str, line: int) -> None:
        values = trade_values(data, kind)
        if values is None:
            self.builder.ignore(f"{kind} {origin(data)}")
        else:
            exchange_ns, price, size, taker_side = values
            venue = SPOT if "M" in data else USDM if "X" in data else ""
            row = (exchange_ns, local_ns, price, size, taker_side)
            self.builder.trade(row, line=line, venue=venue, symbol=data["s"], aggregate=kind == "aggTrade")
        running = data.get(TRADE_NUMBERS[kind])
        if type(running) is int:
            self.builder.number(kind, running, line=line, symbol=data["s"])


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
