"""Units of so many coins: a session counts units and prices per unit, a venue counts coins."""

import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from hftgym.live.broker import Broker, Fill, Holdings, OpenOrder, Wanted
from hftgym.live.events import Event, Feed, FeedCounters, Quote, Trade
from hftgym.tape.rows import symbol_in_units, unit_is_one
from hftgym.tape.track import grid_of

_ON_GRID = 1e-6  # of a step: what rounding leaves
_COUNTABLE = 2.0**53  # steps; of more, a float64 does not know the last one


class Units:
    """Converts between coins and units, and between prices per coin and per unit.

    A price on one grid becomes the float64 of the other grid's decimal, so that it can be compared, and comes back
    to the bit; one off the grid, such as an average, is multiplied.

    Args:
        coins: Coins in one unit.
        price_step: The grid of prices per unit, quote currency; None for none.

    Raises:
        ValueError: One is not finite and above 0.
    """

    def __init__(self, coins: float, *, price_step: float | None) -> None:
        if not 0 < coins < float("inf"):
            raise ValueError(f"coins must be finite and above 0, got {coins!r}")
        self.coins, self.price_step = coins, price_step
        per_coin = None if not price_step else float(Decimal(repr(float(price_step))) / Decimal(repr(float(coins))))
        self._unit_grid, self._coin_grid = grid_of(price_step), grid_of(per_coin)

    def unit_price(self, price: float) -> float:
        """Return a price per coin as one per unit."""
        return _on_grid(price * self.coins, *self._unit_grid)

    def coin_price(self, price: float) -> float:
        """Return a price per unit as one per coin."""
        return _on_grid(price / self.coins, *self._coin_grid)

    def event_in_units(self, event: Event) -> Event:
        """Return an event of the venue as the session sees it."""
        return _converted(event, self.unit_price, 1.0, self.coins)

    def event_in_coins(self, event: Event) -> Event:
        """Return an event of the session as the venue told it."""
        return _converted(event, self.coin_price, self.coins, 1.0)

    def wanted_in_coins(self, wanted: Wanted) -> Wanted:
        """Return wanted quotes as the venue takes them."""
        bid, ask, bid_size, ask_size = wanted
        return Wanted(self.coin_price(bid), self.coin_price(ask), bid_size * self.coins, ask_size * self.coins)

    def fill_in_units(self, fill: Fill) -> Fill:
        """Return a fill of the venue as the session books it; fees are money and stay."""
        return fill._replace(price=self.unit_price(fill.price), size=fill.size / self.coins)

    def order_in_units(self, order: OpenOrder) -> OpenOrder:
        """Return an order at the venue as the session counts it."""
        return replace(order, price=self.unit_price(order.price), left=order.left / self.coins)


def _on_grid(price: float, steps: float, per_unit: float) -> float:
    if not steps:
        return price
    ratio = price * per_unit / steps
    if not abs(ratio) < _COUNTABLE:
        return price
    whole = round(ratio)
    return whole * steps / per_unit if abs(ratio - whole) < _ON_GRID else price


def _converted(event: Event, price: Callable[[float], float], times: float, over: float) -> Event:
    """Return an event with other prices, and sizes times so much over so much: each rounded as one operation is."""
    if isinstance(event, Quote):
        received_ns, exchange_ns, bid, bid_size, ask, ask_size = event
        return Quote(received_ns, exchange_ns, price(bid), bid_size * times / over, price(ask), ask_size * times / over)
    if isinstance(event, Trade):
        return event._replace(price=price(event.price), size=event.size * times / over)
    return event


class UnitFeed:
    """A feed counted in units, as `Tape.in_units_of`; it may have begun already.

    Args:
        feed: The market.
        events: What is left of its events.
        units: How to count.
    """

    def __init__(self, feed: Feed, events: AsyncIterator[Event], *, units: Units) -> None:
        coins = units.coins
        self.venue, self.symbol = feed.venue, feed.symbol if unit_is_one(coins) else symbol_in_units(feed.symbol, coins)
        self.counters: FeedCounters = feed.counters
        self._feed, self._events, self._units = feed, events, units

    async def events(self) -> AsyncIterator[Event]:
        """Yield the events, with prices per unit and sizes in units."""
        convert = self._units.event_in_units
        async for event in self._events:
            yield convert(event)

    async def close(self) -> None:
        """End the feed."""
        await self._feed.close()


class UnitBroker:
    """A broker of coins as one of units; see `hftgym.live.broker.Broker`.

    Args:
        broker: Where orders go.
        units: How to count.
        flat: Coins in the account that count as a position of 0: what a spot account may sell without going short.
        most: Units, long or short, that the account may hold at the start.
    """

    def __init__(self, broker: Broker, *, units: Units, flat: float = 0.0, most: float = math.inf) -> None:
        self.latency_s = broker.latency_s
        self._broker, self._units, self._flat, self._most = broker, units, flat, most

    async def start(self) -> Holdings:
        """Connect, cancel own orders that are left from before, and return what the account holds.

        Raises:
            ValueError: That is more than it may hold: the session would sell what it has never bought.
        """
        held = self._holdings(await self._broker.start())
        if not (math.isfinite(held.cash) and abs(held.inventory) <= self._most * (1 + 1e-9)):
            raise ValueError(
                f"the account must begin with at most {self._most:g} units of {self._units.coins:g} coins, long or "
                f"short, beside the {self._flat:g} coins that count as none; it has {held.inventory:g} units "
                f"and {held.cash:g} in cash"
            )
        return held

    def on_event(self, event: Event) -> None:
        """See the market's next event."""
        self._broker.on_event(self._units.event_in_coins(event))

    def quote(self, wanted: Wanted, now_ns: int) -> None:
        """Want these orders in the market from now on, in place of all others."""
        self._broker.quote(self._units.wanted_in_coins(wanted), now_ns)

    def take_fills(self, now_ns: int) -> Sequence[Fill]:
        """Return the fills that were not returned before."""
        return [self._units.fill_in_units(fill) for fill in self._broker.take_fills(now_ns)]

    def in_flight(self) -> tuple[float, float]:
        """Return the units (bid, ask) of all orders that could still be filled."""
        bid, ask = self._broker.in_flight()
        return bid / self._units.coins, ask / self._units.coins

    def open_orders(self) -> tuple[OpenOrder, ...]:
        """Return the own orders that may be in the market."""
        return tuple(map(self._units.order_in_units, self._broker.open_orders()))

    async def cancel_all(self) -> None:
        """Cancel every own order and wait until the venue has confirmed it."""
        await self._broker.cancel_all()

    async def interrupted(self) -> None:
        """Wait until the messages about own orders have broken."""
        await self._broker.interrupted()

    async def reconcile(self) -> Holdings:
        """Ask the venue again for holdings and orders."""
        return self._holdings(await self._broker.reconcile())

    async def close(self) -> None:
        """Disconnect; orders are not touched."""
        await self._broker.close()

    def _holdings(self, held: Holdings) -> Holdings:
        orders = tuple(map(self._units.order_in_units, held.orders))
        return Holdings(cash=held.cash, inventory=(held.inventory - self._flat) / self._units.coins, orders=orders)
