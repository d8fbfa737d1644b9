"""What a feed tells, and what a feed is."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

StatusKind = Literal["connected", "disconnected", "gap", "stale", "shutdown", "resynchronised"]


class Quote(NamedTuple):
    """Best bid and ask, after every change."""

    received_ns: int  # the receiver's clock, ns since 1970
    exchange_ns: int  # the venue's, `hftgym.tape.NO_TIME` where it sends none
    bid: float  # quote currency
    bid_size: float  # units
    ask: float
    ask_size: float


class Trade(NamedTuple):
    """One trade."""

    received_ns: int
    exchange_ns: int
    price: float
    size: float
    taker_side: int  # +1 the taker bought, -1 the taker sold


class Status(NamedTuple):
    """A change of the connection. What lies between anything else and "resynchronised" was not seen."""

    received_ns: int
    kind: StatusKind
    text: str


Event = Quote | Trade | Status


@dataclass(slots=True)
class FeedCounters:
    """What a feed has seen so far."""

    messages: int = 0
    quotes: int = 0
    trades: int = 0
    ignored: int = 0  # well-formed, but neither a quote nor a trade of the symbol
    garbage: int = 0  # could not be read; never became a price
    duplicates: int = 0  # told twice, or out of order and already overtaken: dropped
    gaps: int = 0  # numbers that never came
    reconnects: int = 0
    pings: int = 0
    limited: int = 0  # times that the venue asked to be left alone: too many requests, or a ban


class Feed(Protocol):
    """A live market: `hftgym.live` has Binance and Coinbase; anything with these members serves."""

    venue: str
    symbol: str
    counters: FeedCounters

    def events(self) -> AsyncIterator[Event]:
        """Yield events in the order of receipt until `close`; connection losses are statuses, not exceptions."""
        ...

    async def close(self) -> None:
        """End the connection and `events`."""
        ...
