"""Coinbase Exchange, live: the book and the trades of one product from `level2_batch`, `matches` and `heartbeat`.

Messages mean what `hftgym.tape.coinbase_messages` says. The book's updates carry no numbers; a hole shows in those of
the trades, also while there are none, through the heartbeat of every second. After it the connection is made anew, for
nothing else brings a whole book.
"""

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from hftgym.live.connection import Limits
from hftgym.live.events import Event, Quote, Trade
from hftgym.live.feed import BrokenStreamError, Reader, SocketFeed
from hftgym.live.numbers import Numbers
from hftgym.tape.coinbase_messages import Market, count_of, match_values
from hftgym.tape.messages import BadLineError, name, parse_object, shown

VENUE = "coinbase"
_URL = "wss://ws-feed.exchange.coinbase.com"
_CHANNELS = ("level2_batch", "matches", "heartbeat")
_KNOWN = frozenset(("snapshot", "l2update", "match", "last_match", "heartbeat"))


class CoinbaseReader(Reader):
    """Reads one product's messages.

    Args:
        product: Such as "BTC-USD".
    """

    def __init__(self, product: str) -> None:
        super().__init__()
        self._product = product
        self.connected()

    def connected(self) -> None:
        """See the base class."""
        self._market = Market()
        self._trades = Numbers("match", self.counters)
        self._sequence = 0

    def requests(self) -> Iterable[str]:
        """See the base class."""
        return (json.dumps({"type": "subscribe", "product_ids": [self._product], "channels": _CHANNELS}),)

    def read(self, message: bytes, received_ns: int) -> Iterable[Event]:
        """See the base class."""
        try:
            return self._read(parse_object(message, 0), received_ns)
        except BadLineError:
            self.counters.garbage += 1
            return ()

    def _read(self, message: dict[str, Any], received_ns: int) -> Iterable[Event]:
        kind = name(message.get("type"), "type")
        if kind == "error":
            raise BrokenStreamError("disconnected", f"the venue refuses: {json.dumps(message)[:120]}")
        if kind not in _KNOWN:  # the documentation asks to ignore what one does not know
            self.counters.ignored += 1
            return ()
        if message.get("product_id") != self._product:
            raise BadLineError(f"field 'product_id' must be {self._product!r}, got {shown(message.get('product_id'))}")
        if kind == "match":
            return self._match(message, received_ns)
        if kind in ("snapshot", "l2update"):
            return self._levels(message, received_ns)
        self._sent(count_of(message, "trade_id" if kind == "last_match" else "last_trade_id"))
        self.counters.ignored += 1
        return ()

    def _match(self, message: dict[str, Any], received_ns: int) -> Iterable[Event]:
        trade = Trade(received_ns, *match_values(message))
        number, sequence = count_of(message, "trade_id"), count_of(message, "sequence")
        self._sent(number - 1)
        if sequence < self._sequence or not self._trades.is_new(number):
            self.counters.duplicates += sequence < self._sequence
            return ()
        self._sequence = sequence
        self.counters.trades += 1
        return (trade,)

    def _sent(self, number: int) -> None:
        """Check that every trade up to a number has come; the first number of a connection is where it begins."""
        last = self._trades.last
        if last is None:
            self._trades.is_new(number)
        elif number > last:
            self.counters.gaps += number - last
            raise BrokenStreamError("gap", f"{number - last:,} trades up to number {number} are missing")

    def _levels(self, message: dict[str, Any], received_ns: int) -> Iterable[Event]:
        news = self._market.take(message)
        if isinstance(news, str):
            self.counters.ignored += 1
            return ()
        time_ns, touch = news
        self.counters.quotes += 1
        return (Quote(received_ns, time_ns, *touch),)


class CoinbaseFeed(SocketFeed):
    """A product of Coinbase Exchange, live and without an account.

    Args:
        product: Such as "BTC-USD".
        url: The WebSocket's address; None takes the venue's.
        limits: Bounds of the connection.
        clock: Gives the times of receipt, ns since 1970.
        seed: Of the jitter of reconnects.
    """

    def __init__(
        self,
        product: str,
        *,
        url: str | None = None,
        limits: Limits | None = None,
        clock: Callable[[], int] = time.time_ns,
        seed: int | None = None,
    ) -> None:
        product, reader = product.upper(), CoinbaseReader(product.upper())
        super().__init__(reader, venue=VENUE, symbol=product, url=url or _URL, limits=limits, clock=clock, seed=seed)
