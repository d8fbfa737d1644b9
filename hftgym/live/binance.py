"""Binance, live: spot and USD-M, best prices and trades of one symbol through a combined stream.

The venue closes every connection after 24 hours, says `serverShutdown` some minutes before it goes, and pings; all of
it is handled by reconnecting, or answered. Messages mean what `hftgym.tape.binance_messages` says.
"""

import json
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal

try:
    import msgspec
except ImportError as error:
    raise ImportError('a live feed needs msgspec: pip install "hftgym[live]"') from error

from hftgym.live.binance_depth import DepthBook, DepthUpdate, GapError
from hftgym.live.connection import Limits
from hftgym.live.events import Event, FeedCounters, Quote, Status, Trade
from hftgym.live.feed import BrokenStreamError, Reader, SocketFeed
from hftgym.live.numbers import Numbers
from hftgym.live.rest import Snapshots
from hftgym.tape.binance_messages import (
    SPOT,
    TRADE_NUMBERS,
    USDM,
    bare_kind,
    event_of,
    exchange_ns,
    quote_values,
    stream_parts,
    trade_values,
)
from hftgym.tape.binance_structs import AggTradeEvent, SpotQuote, TradeEvent, UsdmQuote, combined_decoder
from hftgym.tape.messages import LARGEST, BadLineError, parse_object, shown
from hftgym.tape.types import NO_TIME

Market = Literal["spot", "usdm"]
_VENUES = {"spot": SPOT, "usdm": USDM}
_URLS = {"spot": "wss://stream.binance.com:9443/stream", "usdm": "wss://fstream.binance.com/stream"}
_SNAPSHOTS = {"spot": "https://api.binance.com/api/v3/depth", "usdm": "https://fapi.binance.com/fapi/v1/depth"}
_SNAPSHOT_LEVELS = 1_000
_NUMBERS = 2**63
_SPACE, _BACKSLASH = b" \\"  # numbers: to look for one byte as bytes takes five times as long
_Two = tuple[float, float]
# Reads a text as JSON, four times as quick as `msgspec.convert`; it alone would take one with space around the number.
_number_of = msgspec.json.Decoder(float).decode


class BinanceReader(Reader):
    """Reads one symbol's messages: usual ones through typed structs, all others with care.

    Args:
        symbol: In upper case.
        market: Which of Binance's markets.
        trades: The stream that trades come from.
        depth: Keeps a book; None takes the best prices from bookTicker.
        counters: Where it is counted; None begins anew.
    """

    def __init__(
        self,
        symbol: str,
        market: Market,
        *,
        trades: Literal["trade", "aggTrade"],
        depth: DepthBook | None = None,
        counters: FeedCounters | None = None,
    ) -> None:
        super().__init__(counters)
        self._symbol, self._trades, self._depth = symbol, trades, depth
        quotes = "bookTicker" if depth is None else "depth@100ms"
        self._streams = [f"{symbol.lower()}@{kind}" for kind in (quotes, trades)]
        self._quote_start, self._trade_start = (f'{{"stream":"{stream}",'.encode() for stream in self._streams)
        quote = DepthUpdate if depth else UsdmQuote if market == "usdm" else SpotQuote
        self._decode_quote = combined_decoder(quote).decode
        self._decode_trade = combined_decoder(TradeEvent if trades == "trade" else AggTradeEvent).decode
        self._decode_depth = msgspec.json.Decoder(DepthUpdate).decode
        self.connected()

    def connected(self) -> None:
        """See the base class."""
        self._quote_numbers = Numbers("bookTicker", self.counters)
        self._trade_numbers = Numbers(self._trades, self.counters)
        if self._depth:
            self._depth.restart()

    def close(self) -> None:
        """See the base class."""
        if self._depth:
            self._depth.close()

    def requests(self) -> Iterable[str]:
        """See the base class."""
        return (json.dumps({"method": "SUBSCRIBE", "params": self._streams, "id": 1}),)

    def read(self, message: bytes, received_ns: int) -> Iterable[Event]:
        """See the base class."""
        try:
            if message.startswith(self._quote_start):
                if self._depth:
                    return self._book(self._decode_quote(message).data, received_ns)
                if _SPACE not in message and _BACKSLASH not in message:
                    return self._usual_quote(self._decode_quote(message).data, received_ns)
            if message.startswith(self._trade_start):
                return self._usual_trade(self._decode_trade(message).data, received_ns)
        except (ValueError, OverflowError):  # msgspec's errors are ValueErrors
            pass
        try:
            return self._unusual(parse_object(message, 0), received_ns)
        except (BadLineError, msgspec.MsgspecError):
            self.counters.garbage += 1
            return ()

    def _usual_quote(self, event: Any, received_ns: int) -> Iterable[Event]:
        bid, bid_size = _number_of(event.b), _number_of(event.B)
        ask, ask_size = _number_of(event.a), _number_of(event.A)
        if event.s != self._symbol or not (
            0 <= event.u < _NUMBERS
            and 0.0 < bid < LARGEST
            and 0.0 < bid_size < LARGEST
            and 0.0 < ask < LARGEST
            and 0.0 < ask_size < LARGEST
        ):
            raise ValueError
        time_ns = exchange_ns(event.E) if type(event) is UsdmQuote else NO_TIME
        return self._quote(event.u, Quote(received_ns, time_ns, bid, bid_size, ask, ask_size))

    def _usual_trade(self, event: Any, received_ns: int) -> Iterable[Event]:
        price, size = msgspec.convert((event.p, event.q), _Two, strict=False)
        number = event.a if type(event) is AggTradeEvent else event.t
        if event.s != self._symbol or not (0 <= number < _NUMBERS and 0.0 < price < LARGEST and 0.0 < size < LARGEST):
            raise ValueError
        trade = Trade(received_ns, exchange_ns(event.E), price, size, -1 if event.m else 1)
        return self._trade(number, trade, received_ns)

    def _unusual(self, message: dict[str, Any], received_ns: int) -> Iterable[Event]:
        if "stream" in message:
            (kind, _), data = stream_parts(message["stream"]), message.get("data")
        else:
            kind, data = bare_kind(message), message
        if isinstance(data, dict) and data.get("e") == "serverShutdown":
            raise BrokenStreamError("shutdown", "the venue says that it will go")
        if kind == "error reply":
            raise BrokenStreamError("disconnected", f"the venue refuses: {json.dumps(message)[:120]}")
        if kind == "bookTicker" and not self._depth:
            data = self._own(data)
            return self._quote(_number(data, "u"), Quote(received_ns, *quote_values(data)))
        if kind == self._trades:
            return self._unusual_trade(self._own(data), received_ns)
        if kind.startswith("depth") and self._depth:
            update = msgspec.convert(self._own(data), DepthUpdate)
            return self._book(update, received_ns)
        self.counters.ignored += 1
        return ()

    def _unusual_trade(self, data: dict[str, Any], received_ns: int) -> Iterable[Event]:
        number, values = _number(data, TRADE_NUMBERS[self._trades]), trade_values(data, self._trades)
        if values is None:  # no order of the book was met, but it has its number
            self.counters.ignored += 1
            return self._trade(number, None, received_ns)
        return self._trade(number, Trade(received_ns, *values), received_ns)

    def _own(self, data: object) -> dict[str, Any]:
        event = event_of(data, self._symbol)
        if "ps" in event:
            raise BadLineError("a COIN-M message: its sizes are contracts")
        return event

    def _quote(self, number: int, quote: Quote) -> Iterable[Event]:
        if self._quote_numbers.is_new(number):
            self.counters.quotes += 1
            return (quote,)
        return ()

    def _trade(self, number: int, trade: Trade | None, received_ns: int) -> Iterable[Event]:
        numbers = self._trade_numbers
        missing = numbers.missing(number)
        if not numbers.is_new(number):
            return ()
        self.counters.gaps += missing
        self.counters.trades += trade is not None
        told = () if trade is None else (trade,)
        if missing:
            text = f"{missing:,} {self._trades} messages before number {number} are missing"
            return (Status(received_ns, "gap", text), *told)
        return told

    def _book(self, update: DepthUpdate, received_ns: int) -> Iterable[Event]:
        depth = self._depth
        if depth is None or update.s != self._symbol:
            raise BadLineError(f"field 's' must be {self._symbol!r}, got {shown(update.s)}")
        time_ns = exchange_ns(update.E)
        if depth.overtaken(update):
            self.counters.duplicates += 1
            return ()
        try:
            touch = depth.take(update)
        except GapError as gap:
            self.counters.gaps += gap.missing
            return (Status(received_ns, "gap", str(gap)),)
        if touch is None:
            self.counters.ignored += 1
            return ()
        self.counters.quotes += 1
        return (Quote(received_ns, time_ns, *touch),)


class BinanceFeed(SocketFeed):
    """A symbol of Binance's spot or USD-M market, live.

    Args:
        symbol: Such as "BTCUSDT".
        market: "spot" or "usdm".
        quotes: Where best prices come from: "bookTicker" has every change; "depth" keeps a book, every 100 ms.
        trades: "trade", or "aggTrade", where one event may stand for several trades.
        url: The WebSocket's address; None takes the venue's.
        rest_url: Where snapshots of the book come from, for "depth"; None takes the venue's.
        limits: Bounds of the connection.
        clock: Gives the times of receipt, ns since 1970.
        seed: Of the jitter of reconnects.

    Raises:
        ValueError: An argument is none of those.
    """

    def __init__(
        self,
        symbol: str,
        market: Market = "spot",
        *,
        quotes: Literal["bookTicker", "depth"] = "bookTicker",
        trades: Literal["trade", "aggTrade"] = "trade",
        url: str | None = None,
        rest_url: str | None = None,
        limits: Limits | None = None,
        clock: Callable[[], int] = time.time_ns,
        seed: int | None = None,
    ) -> None:
        for name, value, allowed in (
            ("market", market, ("spot", "usdm")),
            ("quotes", quotes, ("bookTicker", "depth")),
            ("trades", trades, ("trade", "aggTrade")),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
        if not (symbol.isascii() and symbol.isalnum()):
            raise ValueError(f"symbol must be letters and digits such as 'BTCUSDT', got {symbol!r}")
        symbol, limits = symbol.upper(), limits or Limits()
        address = f"{rest_url or _SNAPSHOTS[market]}?symbol={symbol}&limit={_SNAPSHOT_LEVELS}"
        counters = FeedCounters()
        fetch = Snapshots(address, limits=limits, counters=counters, seed=seed).fetch
        depth = DepthBook(fetch) if quotes == "depth" else None
        reader = BinanceReader(symbol, market, trades=trades, depth=depth, counters=counters)
        venue, url = _VENUES[market], url or _URLS[market]
        super().__init__(reader, venue=venue, symbol=symbol, url=url, limits=limits, clock=clock, seed=seed)


def _number(data: dict[str, Any], key: str) -> int:
    value = data.get(key)
    if type(value) is not int or not 0 <= value < _NUMBERS:
        raise BadLineError(f"field {key!r} must be a whole number, got {shown(value)}")
    return value
