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

from hftgym.tape.builder import TapeBuilder
from hftgym.tape.coinbase_messages import Market, count_of, match_values
from hftgym.tape.lines import read_blocks
from hftgym.tape.messages import BadLineError, name, parse_object, shown
from hftgym.tape.recording import Choice
from hftgym.tape.rows import FARTHEST_NS

EXPECTED = '<local time, s since 1970>: {"type":"l2update","product_id":"BTC-USD",...}'
VENUE = "coinbase"

_TYPES = b"subscriptions|subscribe|snapshot|l2update|match|last_match|ticker|heartbeat|error"
_FIRST = re.compile(rb'^(?:\S{1,200} <- )?\d{10}(?:\.\d{1,9})?: \{"type" ?: ?"(?:' + _TYPES + rb')"', re.MULTILINE)
_LINE = re.compile(rb"(?:\S{1,200} <- )?(\d{10})(?:\.(\d{1,9}))?: ")
_CONNECTION = re.compile(rb"\S{1,200} <-> \d{10}(?:\.\d{1,9})?\r?")


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


class _Capture:
    def __init__(self, builder: TapeBuilder) -> None:
        self._builder = builder
        self._markets: dict[str, Market] = {}

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
            self._builder.number("match", count_of(message, key), line=number, symbol=symbol, sent=True)
            self._builder.ignore(kind)
        else:
            self._levels(message, symbol, local_ns, number)

    def _trade(self, message: dict[str, Any], symbol: str, local_ns: int, number: int) -> None:
        exchange_ns, price, size, taker_side = match_values(message)
        trade_id = count_of(message, "trade_id")
        row = (exchange_ns, local_ns, price, size, taker_side)
        self._builder.trade(row, line=number, venue=VENUE, symbol=symbol)
        self._builder.number("match", trade_id, line=number, symbol=symbol)

    def _levels(self, message: dict[str, Any], symbol: str, local_ns: int, number: int) -> None:
        news = self._markets.setdefault(symbol, Market()).take(message)
        if isinstance(news, str):
            self._builder.ignore(news)
        else:
            exchange_ns, touch = news
            self._builder.quote((exchange_ns, local_ns, *touch), line=number, venue=VENUE, symbol=symbol)
