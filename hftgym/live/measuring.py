"""What a session needs to know of a market before it begins: a minute of it as a tape, and its prices per unit."""

from collections.abc import AsyncIterator
from pathlib import Path

from hftgym.live.events import Event, Feed, FeedCounters, Quote, Status, Trade
from hftgym.live.rows import tape_of
from hftgym.tape import Tape
from hftgym.tape.track import grid_of


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


class UnitFeed:
    """A feed counted in units of so many coins, as `Tape.in_units_of`; it may have begun already.

    Args:
        feed: The market.
        events: What is left of its events.
        coins: Coins in one unit.
        price_step: Of the prices per unit; None for no grid.
    """

    def __init__(self, feed: Feed, events: AsyncIterator[Event], *, coins: float, price_step: float | None) -> None:
        self.venue, self.symbol = feed.venue, feed.symbol
        self.counters: FeedCounters = feed.counters
        self._feed, self._events, self._coins = feed, events, coins
        self._steps, self._per_unit = grid_of(price_step)

    async def events(self) -> AsyncIterator[Event]:
        """Yield the events, with prices per unit and sizes in units."""
        coins = self._coins
        async for event in self._events:
            if isinstance(event, Status):
                yield event
            elif isinstance(event, Trade):
                yield event._replace(price=self._price(event.price), size=event.size / coins)
            else:
                yield Quote(
                    event.received_ns,
                    event.exchange_ns,
                    self._price(event.bid),
                    event.bid_size / coins,
                    self._price(event.ask),
                    event.ask_size / coins,
                )

    async def close(self) -> None:
        """End the feed."""
        await self._feed.close()

    def _price(self, price: float) -> float:
        """Return the price per unit: on the grid the float64 that the session's own quotes have there."""
        price *= self._coins
        if not self._steps:
            return price
        return round(price * self._per_unit / self._steps) * self._steps / self._per_unit
