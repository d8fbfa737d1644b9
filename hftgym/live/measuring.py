"""What a session needs to know of a market before it begins: a minute of it as a tape."""

from collections.abc import AsyncIterator
from pathlib import Path

from hftgym.live.events import Event, Feed, Quote, Trade
from hftgym.live.rows import tape_of
from hftgym.tape import Tape


async def measured(feed: Feed, events: AsyncIterator[Event], *, seconds: float) -> Tape:
    """Return so many seconds of a feed as a tape, from its first quote on; the iterator goes on behind them.

    Raises:
        ValueError: The feed ended before.
    """
    quotes: list[Quote] = []
    trades: list[Trade] = []
    async for event in events:
        if isinstance(event, Quote):
            quotes.append(event)
        elif isinstance(event, Trade) and quotes:
            trades.append(event)
        if quotes and event.received_ns - quotes[0].received_ns >= seconds * 1e9:
            path = Path(f"{feed.venue} {feed.symbol}")
            return tape_of(quotes, trades, venue=feed.venue, symbol=feed.symbol, path=path)
    raise ValueError(f"{feed.venue} {feed.symbol}: the feed ended before {seconds:g} s were measured")
