"""Binance's messages with care: which market, what it says, and what is wrong with it.

Messages of a combined stream (`{"stream":..,"data":..}`) and of a single one (the bare event) are understood. The
fields are those of Binance's API documentation: `bookTicker` b, B, a, A; `trade` and `aggTrade` p, q, m, X; E is the
event time.
"""

from collections.abc import Mapping
from typing import Any

from hftgym.tape.messages import BadLineError, name, positive, shown
from hftgym.tape.types import NO_TIME

SPOT, USDM = "binance-spot", "binance-usdm"
TRADE_NUMBERS = {"trade": "t", "aggTrade": "a"}  # the fields that count them
_BOOK_TICKER_KEYS = frozenset("usbBaA")


def quote_values(data: Mapping[str, Any]) -> tuple[int, float, float, float, float]:
    """Return (exchange_ns, bid, bid_size, ask, ask_size) of a bookTicker.

    Raises:
        BadLineError: A field is missing, of another type or out of its range.
    """
    event = data.get("e")
    if event not in (None, "bookTicker"):
        raise BadLineError(f"field 'e' must be 'bookTicker' or absent, got {shown(event)}")
    return (
        NO_TIME if event is None else exchange_ns(data.get("E")),
        positive(data.get("b"), "b"),
        positive(data.get("B"), "B"),
        positive(data.get("a"), "a"),
        positive(data.get("A"), "A"),
    )


def trade_values(data: Mapping[str, Any], kind: str) -> tuple[int, float, float, int] | None:
    """Return (exchange_ns, price, size, taker_side) of a trade or aggTrade; None if it met no order of the book.

    Raises:
        BadLineError: A field is missing, of another type or out of its range.
    """
    if data.get("e") != kind:
        raise BadLineError(f"field 'e' must be {kind!r}, got {shown(data.get('e'))}")
    if origin(data) != "MARKET":
        return None
    buyer_is_maker = data.get("m")
    if not isinstance(buyer_is_maker, bool):
        raise BadLineError(f"field 'm' must be true or false, got {shown(buyer_is_maker)}")
    taker_side = -1 if buyer_is_maker else 1
    return exchange_ns(data.get("E")), positive(data.get("p"), "p"), positive(data.get("q"), "q"), taker_side


def origin(data: Mapping[str, Any]) -> str:
    """Return where a trade comes from; USD-M alone tells, and knows the insurance fund and auto-deleveraging too."""
    found = data.get("X", "MARKET")
    return found if found == "MARKET" else name(found, "X")


def bare_kind(message: Mapping[str, Any]) -> str:
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


def stream_parts(stream: object) -> tuple[str, str]:
    """Split "btcusdt@trade" into ("trade", "BTCUSDT"); streams of all symbols start with "!" and name none."""
    if not isinstance(stream, str):
        raise BadLineError(f"field 'stream' must be a name, got {shown(stream)}")
    symbol, _, kind = name(stream, "stream").partition("@")
    one_symbol = bool(kind) and not symbol.startswith("!")
    return (kind, symbol.upper()) if one_symbol else (stream.removeprefix("!"), "")


def exchange_ns(time: object) -> int:
    """Return an event time in ns since 1970."""
    if type(time) is int:
        if 10**12 <= time < 9 * 10**12:  # ms: 2001 to 2255
            return time * 1_000_000
        if 10**15 <= time < 9 * 10**15:  # µs, with timeUnit=MICROSECOND
            return time * 1_000
    raise BadLineError(f"field 'E' must be a time in ms or µs since 1970, got {shown(time)}")


def event_of(data: object, symbol: str) -> dict[str, Any]:
    """Check that an event is an object which names a symbol, and the one of its stream."""
    if not isinstance(data, dict):
        raise BadLineError(f"field 'data' must be an object, got {shown(data)}")
    if symbol:
        if data.get("s") != symbol:
            raise BadLineError(f"field 's' must be {symbol!r} as in the stream's name, got {shown(data.get('s'))}")
    else:
        name(data.get("s"), "s")
    return data
