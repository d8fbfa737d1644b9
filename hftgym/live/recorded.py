"""A tape as a feed: a session offline, at the pace at which it was recorded, faster, or as fast as it goes."""

import asyncio
import time
from collections.abc import AsyncIterator

import numpy as np

from hftgym.live.events import Event, FeedCounters, Quote, Trade
from hftgym.tape.order import BEFORE_ALL, merge_order, received_ns
from hftgym.tape.types import Quotes, Tape, Trades

_BREATH = 256  # events after which others in the process get their turn
_NAP_S = 1e-3  # shorter waits are not worth one


class TapeFeed:
    """Yields the rows of a tape with their own times; give the session `clock=None` with it.

    Args:
        tape: What was recorded.
        speed: 1 is the pace of the recording, 10 ten times that; 0 waits for nothing.

    Raises:
        ValueError: The speed is negative.
    """

    def __init__(self, tape: Tape, *, speed: float = 1.0) -> None:
        if not speed >= 0:
            raise ValueError(f"speed must be 0 (as fast as it goes) or above, got {speed!r}")
        self.venue, self.symbol, self.counters = tape.venue, tape.symbol, FeedCounters()
        self._tape, self._speed, self._closed = tape, speed, False

    async def events(self) -> AsyncIterator[Event]:
        """Yield quotes and trades in the order of receipt, until the end or `close`."""
        since, first_ns, began = BEFORE_ALL, None, time.perf_counter()
        for quotes, trades in self._tape.chunks(10_000):
            for event in _merged(quotes, trades, since_ns=since):
                since = event.received_ns
                first_ns = since if first_ns is None else first_ns
                await self._wait((since - first_ns) * 1e-9, began)
                if self._closed:
                    return
                self._count(event)
                yield event

    async def close(self) -> None:
        """End `events`."""
        self._closed = True

    async def _wait(self, recorded_s: float, began: float) -> None:
        left_s = recorded_s / self._speed - (time.perf_counter() - began) if self._speed else 0.0
        if left_s > _NAP_S or self.counters.messages % _BREATH == 0:
            await asyncio.sleep(max(left_s, 0.0))

    def _count(self, event: Event) -> None:
        self.counters.messages += 1
        if isinstance(event, Quote):
            self.counters.quotes += 1
        else:
            self.counters.trades += 1


def _merged(quotes: Quotes, trades: Trades, *, since_ns: int) -> list[Quote | Trade]:
    """Return a piece of a tape as events; their times never decrease."""
    times = received_ns(quotes, since_ns=since_ns), received_ns(trades, since_ns=since_ns)
    columns = (quotes.bid, quotes.bid_size, quotes.ask, quotes.ask_size), (trades.price, trades.size, trades.taker_side)
    told = map(Quote, *_lists(times[0], quotes.exchange_ns, *columns[0]))
    traded = map(Trade, *_lists(times[1], trades.exchange_ns, *columns[1]))
    is_trade = merge_order(quotes, trades, since_ns=since_ns)
    return [next(traded) if trade else next(told) for trade in is_trade.tolist()]


def _lists(*columns: np.ndarray) -> list[list[float]]:
    return [column.tolist() for column in columns]
