"""A broker for real orders: the desk's decisions carried out at a venue, its messages brought back."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from hftgym.live.broker import Fill, Holdings, OpenOrder, Wanted
from hftgym.live.brokers.desk import Action, Desk, DeskCounters, Patience
from hftgym.live.brokers.ids import OrderIds, is_own
from hftgym.live.brokers.orders import Order
from hftgym.live.brokers.tasks import end
from hftgym.live.brokers.throttle import TokenBucket
from hftgym.live.brokers.venue import (
    BusyError,
    Execution,
    LostError,
    RejectedError,
    Report,
    UnknownOrderError,
    Venue,
    VenueError,
)
from hftgym.live.events import Event, Quote

_LOG = logging.getLogger(__name__)
_SPARE = 2  # requests that new orders leave for cancels, one per side
_MARGIN_NS = 60_000_000_000  # how far the venue's clock may differ from this one
_AGAIN_S = 1.0  # after a question that was not answered
_REQUESTS = {"cancel": 1, "look": 2, "place": 1}
_Answer = TypeVar("_Answer")


class VenueBroker:
    """Carries out wanted quotes at a venue; see `hftgym.live.broker.Broker`.

    Args:
        venue: The adapter.
        ids: Names of orders; after a restart with the journal's next number.
        allow_taking: Whether quotes at or beyond the opposite best price are sent, as orders that take.
        patience: How long to wait for what.
        request_s: A request that takes longer counts as lost.
        sent: Told of every order right before it is sent, for the journal.
        closed: Told of every order that has ended, and how: its name, and "filled", "cancelled" or "rejected".
        wall_clock: ns since 1970, for the fills.
        latency_s: What a replay is to assume from a decision to its arrival; nothing here waits for it.
    """

    def __init__(
        self,
        venue: Venue,
        *,
        ids: OrderIds,
        allow_taking: bool = False,
        patience: Patience | None = None,
        request_s: float = 5.0,
        sent: Callable[[OpenOrder], None] | None = None,
        closed: Callable[[str, str], None] | None = None,
        wall_clock: Callable[[], int] = time.time_ns,
        latency_s: float = 0.0,
    ) -> None:
        self.venue, self.ids, self.latency_s = venue, ids, latency_s
        self._allow_taking, self._patience, self._sent = allow_taking, patience or Patience(), sent
        self._closed, self._request_s, self._wall_clock = closed, request_s, wall_clock
        self.broken: str | None = None  # why no new orders are sent any more
        self._up = False
        self._wake, self._progress, self._interrupted = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._worker: asyncio.Task[None] | None = None
        self._desk: Desk

    def __repr__(self) -> str:
        return f"VenueBroker({self.venue.name} {self.venue.symbol})"

    @property
    def counters(self) -> DeskCounters:
        """What has happened to the orders so far."""
        return self._desk.counters

    @property
    def inventory(self) -> float:
        """Units held: at the start, and every fill since."""
        return self._desk.table.inventory

    async def start(self) -> Holdings:
        """Connect, cancel own orders that are left from before, and return what the account holds."""
        await self.venue.load()
        self._desk = Desk(
            self.venue.market,
            self.ids,
            patience=self._patience,
            wall_clock=self._wall_clock,
            allow_taking=self._allow_taking,
            sent=self._sent,
            closed=self._on_closed,
        )
        rate, burst = self.venue.requests_per_s, self.venue.burst
        self._bucket = TokenBucket(rate, burst=burst, now_ns=time.monotonic_ns())
        await self.venue.connect(self)
        self._worker = asyncio.create_task(self._work())
        await self.cancel_all()
        cash, inventory = await self._ask(self.venue.balance)
        self._desk.table.begin(inventory)
        return Holdings(cash=cash, inventory=inventory)

    def on_event(self, event: Event) -> None:
        """See the market's next event."""
        if isinstance(event, Quote):
            self._desk.see(event)

    def quote(self, wanted: Wanted, now_ns: int) -> None:
        """Want these orders in the market from now on, in place of all others."""
        del now_ns  # what waits, waits by the monotonic clock
        self._desk.want(wanted)
        self._wake.set()

    def take_fills(self, now_ns: int) -> Sequence[Fill]:
        """Return the fills that were not returned before; all have become known by now."""
        del now_ns
        fills = tuple(self._desk.table.fills)
        self._desk.table.fills.clear()
        return fills

    def in_flight(self) -> tuple[float, float]:
        """Return the units (bid, ask) of all orders that could still be filled, or are without our having seen it."""
        return self._desk.table.in_flight()

    def open_orders(self) -> tuple[OpenOrder, ...]:
        """Return the own orders that may be in the market, as far as they are known."""
        return self._desk.table.open_orders()

    async def interrupted(self) -> None:
        """Wait until the venue's messages have broken, since the last call."""
        await self._interrupted.wait()
        self._interrupted.clear()

    async def cancel_all(self) -> None:
        """Cancel every own order and wait until the venue has confirmed it; it goes on trying until it has."""
        self._desk.want()
        while True:
            self._wake.set()
            await self._until(lambda: next(self._desk.table.live(), None) is None)
            if not await self._adopt_strangers():
                return

    async def reconcile(self) -> Holdings:
        """Wait for the venue's messages, ask about every order and for the holdings; cancel own orders unknown here.

        The holdings are those of one moment only while nothing is traded: call `cancel_all` first.
        """
        await self._until(lambda: self._up)
        now_ns = time.monotonic_ns()
        asked = list(self._desk.table.live())
        for order in asked:
            self._desk.ask(order, now_ns)
        self._wake.set()
        await self._until(lambda: all(order.settled or order.looked_ns >= now_ns for order in asked))
        await self._adopt_strangers()
        cash, inventory = await self._ask(self.venue.balance)
        return Holdings(cash=cash, inventory=inventory, orders=self._desk.table.open_orders())

    async def close(self) -> None:
        """Disconnect; orders are not touched."""
        tasks = [*self._tasks, *([self._worker] if self._worker else [])]
        await end(tasks)
        await self.venue.close()

    def on_report(self, report: Report) -> None:
        """Hear about an order."""
        self._desk.report(report, time.monotonic_ns())
        self._moved()

    def on_execution(self, execution: Execution) -> None:
        """Hear about an execution."""
        self._desk.execution(execution, time.monotonic_ns())
        self._moved()

    def on_connection(self, *, up: bool) -> None:
        """Hear that the venue's messages begin or break: nothing new is sent until they are back, and all is asked."""
        if up != self._up:
            _LOG.info("%s: messages %s", self, "begin" if up else "have broken")
        if self._up and not up:
            self._interrupted.set()
        self._up = up
        for order in self._desk.table.live():
            self._desk.ask(order, time.monotonic_ns())
        self._moved()

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            now_ns = time.monotonic_ns()
            wait_s = self._bucket.delay_s(now_ns)
            if wait_s > 0:  # only then decided: the newest wish is sent, not the oldest
                await asyncio.sleep(wait_s)
                continue
            place_s = self._bucket.delay_s(now_ns, spare=_SPARE)
            action = self._next(now_ns, may_place=self._up and not self.broken and place_s <= 0)
            if action is not None:
                self._bucket.take(_REQUESTS[action.kind])
                self._spawn(action)
                continue
            due_ns = self._desk.due_ns()
            due_s = max((due_ns - now_ns) / 1e9, 0.001) if due_ns is not None else None
            waits = [seconds for seconds in (due_s, place_s or None) if seconds is not None]
            with suppress(TimeoutError):
                async with asyncio.timeout(min(waits, default=None)):  # wait_for of Python 3.11 can lose a cancel
                    await self._wake.wait()

    def _next(self, now_ns: int, *, may_place: bool) -> Action | None:
        try:
            return self._desk.next(now_ns, may_place=may_place)
        except Exception as error:  # `sent` could not write: what is not in the journal must not be sent
            self._give_up(error)
            return None

    def _on_closed(self, order: Order) -> None:
        if self._closed is None:
            return
        try:
            self._closed(order.ticket.order_id, order.state)
        except Exception as error:  # the message that has told it must be taken in all the same
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.broken = f"{type(error).__name__}: {error}"
        _LOG.exception("%s: no new orders any more", self)
        self._desk.want()

    def _spawn(self, action: Action) -> None:
        carry_out = {"place": self._place, "cancel": self._cancel, "look": self._look}[action.kind]
        task = asyncio.create_task(carry_out(action.order))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _place(self, order: Order) -> None:
        try:
            report = await self._limited(self.venue.place(order.ticket))
        except RejectedError as error:
            _LOG.warning("%s: %s was rejected: %s", self, order.ticket.order_id, error)
            self._desk.refused(order, time.monotonic_ns())
        except BusyError as error:
            self._rest(error)
            self._desk.refused(order, time.monotonic_ns(), final=False)
        except VenueError as error:
            self._lost(order, error)
        else:
            self._desk.report(report, time.monotonic_ns())
        self._moved()

    async def _cancel(self, order: Order) -> None:
        try:
            report = await self._limited(self.venue.cancel(order.ticket.order_id, order.venue_id))
        except BusyError as error:
            self._rest(error)
            self._desk.not_cancelled(order)
        except UnknownOrderError:
            self._desk.ask(order, time.monotonic_ns())
        except VenueError as error:
            self._lost(order, error)
        else:
            if report is not None:
                self._desk.report(report, time.monotonic_ns())
        self._moved()

    async def _look(self, order: Order) -> None:
        asked_ns = time.monotonic_ns()
        since_ns = time.time_ns() - (asked_ns - order.sent_ns) - _MARGIN_NS
        try:
            report, executions = await self._limited(self.venue.look(order.ticket.order_id, order.venue_id, since_ns))
        except VenueError as error:
            if isinstance(error, BusyError):
                self._rest(error)
            self._desk.not_looked(order, time.monotonic_ns())
        else:
            now_ns = time.monotonic_ns()
            self._desk.looked(order, asked_ns, report=report, executions=executions, now_ns=now_ns)
        self._moved()

    async def _adopt_strangers(self) -> bool:
        """Take in own orders that are open at the venue and not in the table; return whether there were any."""
        mine = [report for report in await self._ask(self.venue.open_orders) if is_own(report.order_id)]
        for report in mine:
            self._desk.adopt(report, time.monotonic_ns())
        self._wake.set()
        return bool(mine)

    async def _ask(self, question: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Ask until there is an answer; what the venue refuses is raised."""
        while True:
            while (wait_s := self._bucket.delay_s(time.monotonic_ns())) > 0:
                await asyncio.sleep(wait_s)
            self._bucket.take()
            try:
                return await self._limited(question())
            except BusyError as error:
                self._rest(error)
            except LostError as error:
                _LOG.warning("%s: no answer: %s", self, error)
                await asyncio.sleep(_AGAIN_S)

    async def _limited(self, request: Awaitable[_Answer]) -> _Answer:
        try:
            async with asyncio.timeout(self._request_s):
                return await request
        except VenueError:
            raise
        except TimeoutError:
            raise LostError(f"none within {self._request_s:g} s") from None
        except Exception as error:  # an answer that the adapter cannot read; its text may hold anything
            raise LostError(f"{type(error).__name__} in the adapter") from None

    def _rest(self, error: BusyError) -> None:
        _LOG.warning("%s: the venue asks for a rest of %g s", self, error.retry_s)
        self._bucket.block(error.retry_s, now_ns=time.monotonic_ns())

    def _lost(self, order: Order, error: VenueError) -> None:
        _LOG.warning("%s: no answer about %s: %s", self, order.ticket.order_id, error)
        self._desk.lost(order, time.monotonic_ns())

    def _moved(self) -> None:
        self._wake.set()
        self._progress.set()

    async def _until(self, holds: Callable[[], bool]) -> None:
        while True:
            self._progress.clear()
            if holds():
                return
            await self._progress.wait()
