"""Raw Binance WebSocket captures, spot and USD-M: one line per message, `<local time, ns since 1970> <json>`.

Messages of a combined stream (`{"stream":..,"data":..}`) and of a single one (the bare event) are understood. The
fields are those of Binance's API documentation: `bookTicker` b, B, a, A; `trade` p, q, m, X; E is the event time.
"""

import json
import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from hftgym.tape.builder import TapeBuilder
from hftgym.tape.lines import read_lines
from hftgym.tape.report import TapeError
from hftgym.tape.types import NO_TIME, Tape

EXPECTED = '<local time, ns since 1970, 19 digits> {"stream":"btcusdt@bookTicker","data":{...}}'

_SPOT, _USDM = "binance-spot", "binance-usdm"
_FIRST_KEYS = b"stream|data|e|u|lastUpdateId|result|id|code|error"
_LINE = re.compile(rb'^\d{1,20} \{"(?:' + _FIRST_KEYS + rb')" ?:', re.MULTILINE)
# Depth updates are most of the bytes: known by both ends, they are not parsed.
_DEPTH = re.compile(rb'\{"stream":"[^"@]+@(depth[0-9a-z@]*)","data":\{"')
_JSON_AT = 20  # 19 digits and a space
_BOOK_TICKER_KEYS = frozenset("usbBaA")


class _BadLineError(ValueError):
    """Why a line cannot be read."""


def recognises(head: bytes) -> bool:
    """Tell whether one of the first lines looks like a Binance message behind a time."""
    return _LINE.search(head) is not None


def read(path: Path, symbol: str | None) -> Tape:
    """Read a capture, see `hftgym.tape.read_tape`."""
    capture = _Capture(TapeBuilder(path, symbol, expected=EXPECTED))
    number = 0
    with closing(read_lines(path)) as lines:
        for number, line in enumerate(lines, start=1):
            capture.line(line, number)
    return capture.builder.build(number)


class _Capture:
    """Hands every line to the builder."""

    def __init__(self, builder: TapeBuilder) -> None:
        self.builder = builder
        self._streams: dict[str, tuple[str, str]] = {}

    def line(self, line: bytes, number: int) -> None:
        """Take one line; `number` counts from 1."""
        try:
            local_ns = _local_ns(line)
            depth = _DEPTH.match(line, _JSON_AT)
            if depth and line.endswith(b"}}"):
                self.builder.ignore(depth[1].decode())
            else:
                self._message(_parse(line), local_ns, number)
        except _BadLineError as error:
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
        elif kind == "trade":
            self._trade(_event(data, symbol), local_ns)
        elif data is None:
            raise _BadLineError("field 'data' is missing")
        else:
            self.builder.ignore(kind)

    def _stream(self, stream: object) -> tuple[str, str]:
        """Split "btcusdt@trade" into ("trade", "BTCUSDT"); streams of all symbols start with "!" and name none."""
        if not isinstance(stream, str):
            raise _BadLineError(f"field 'stream' must be a name, got {_shown(stream)}")
        if stream not in self._streams:
            symbol, _, kind = _name(stream, "stream").partition("@")
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
            raise _BadLineError(f"field 'e' must be 'bookTicker' or absent, got {_shown(event)}")
        row = (
            NO_TIME if event is None else _exchange_ns(data),
            local_ns,
            _positive(data, "b"),
            _positive(data, "B"),
            _positive(data, "a"),
            _positive(data, "A"),
        )
        self.builder.quote(row, line=number, venue=_SPOT if event is None else _USDM, symbol=data["s"])

    def _trade(self, data: dict[str, Any], local_ns: int) -> None:
        if data.get("e") != "trade":
            raise _BadLineError(f"field 'e' must be 'trade', got {_shown(data.get('e'))}")
        origin = data.get("X", "MARKET")
        if origin != "MARKET":  # USD-M: the insurance fund, auto-deleveraging; no order of the book was met
            self.builder.ignore(f"trade {_name(origin, 'X')}")
            return
        buyer_is_maker = data.get("m")
        if not isinstance(buyer_is_maker, bool):
            raise _BadLineError(f"field 'm' must be true or false, got {_shown(buyer_is_maker)}")
        taker_side = -1 if buyer_is_maker else 1
        row = (_exchange_ns(data), local_ns, _positive(data, "p"), _positive(data, "q"), taker_side)
        venue = _SPOT if "M" in data else _USDM if "X" in data else ""
        self.builder.trade(row, venue=venue, symbol=data["s"])


def _bare_kind(message: Mapping[str, Any]) -> str:
    """Name a message that comes without a stream."""
    if "e" in message:
        return _name(message["e"], "e")
    if message.keys() >= _BOOK_TICKER_KEYS:
        return "bookTicker"
    if "lastUpdateId" in message:
        return "depth snapshot"
    if "error" in message or "code" in message:
        return "error reply"
    if "result" in message:
        return "subscription reply"
    raise _BadLineError(f"no Binance message: it has neither 'stream' nor 'e', but {_shown(', '.join(message))}")


def _parse(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line[_JSON_AT:].decode())
    except UnicodeDecodeError as error:
        raise _BadLineError(f"not UTF-8 text at column {error.start + _JSON_AT + 1}") from None
    except json.JSONDecodeError as error:
        what = "broken JSON" if line.endswith((b"}", b"}\r")) else "the line is cut off"
        raise _BadLineError(f"{what}: {error.msg} at column {error.pos + _JSON_AT + 1}") from None
    except RecursionError:
        raise _BadLineError("JSON nested too deeply") from None
    except ValueError as error:  # an integer of thousands of digits
        raise _BadLineError(f"broken JSON: {error}") from None
    if not isinstance(message, dict):
        raise _BadLineError(f"the JSON must be an object, got {_shown(message)}")
    return message


def _local_ns(line: bytes) -> int:
    digits = line[: _JSON_AT - 1]
    if line[_JSON_AT - 1 : _JSON_AT] == b" " and digits.isdigit() and len(digits) == _JSON_AT - 1:
        local_ns = int(digits)
        if 10**18 <= local_ns < 2**63:
            return local_ns
    found = line[:40].partition(b" ")[0]
    raise _BadLineError(
        f"local time must be ns since 1970, 19 digits and a space, got {_shown(found.decode(errors='replace'))}"
    )


def _exchange_ns(data: Mapping[str, Any]) -> int:
    time = data.get("E")
    if type(time) is int:
        if 10**12 <= time < 9 * 10**12:  # ms: 2001 to 2255
            return time * 1_000_000
        if 10**15 <= time < 9 * 10**15:  # µs, with timeUnit=MICROSECOND
            return time * 1_000
    raise _BadLineError(f"field 'E' must be a time in ms or µs since 1970, got {_shown(time)}")


def _event(data: object, symbol: str) -> dict[str, Any]:
    """Check that an event is an object which names a symbol, and the one of its stream."""
    if not isinstance(data, dict):
        raise _BadLineError(f"field 'data' must be an object, got {_shown(data)}")
    if symbol:
        if data.get("s") != symbol:
            raise _BadLineError(f"field 's' must be {symbol!r} as in the stream's name, got {_shown(data.get('s'))}")
    else:
        _name(data.get("s"), "s")
    return data


def _positive(data: Mapping[str, Any], key: str) -> float:
    text = data.get(key)
    try:
        value = float(text) if isinstance(text, str) else 0.0
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise _BadLineError(f"field {key!r} must be a decimal in quotes, finite and above 0, got {_shown(text)}")
    return value


def _name(value: object, key: str) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 64:
        raise _BadLineError(f"field {key!r} must be a name, got {_shown(value)}")
    return value


def _shown(value: object) -> str:
    """Return a short text that can be printed anywhere."""
    if value is None:
        return "nothing"
    return ascii(value)[:60] if isinstance(value, str | int | float) else f"a JSON {type(value).__name__}"
