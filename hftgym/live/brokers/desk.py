"""What to send next: from the wanted quotes and the table of orders, without any input or output of its own.

A side has one order at a time: a new one is sent when the venue has confirmed the end of the old one, so what a side
can gain is never more than one order, whatever the messages do. Between two calls of `want` a side gets no more than
the wanted units: what was filled since is not quoted again before the session has had a chance to see it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from hftgym.live.broker import NOTHING, OpenOrder, Wanted
from hftgym.live.brokers.ids import OrderIds
from hftgym.live.brokers.orders import DUST, Order, OrderTable
from hftgym.live.brokers.venue import Execution, Market, Report, Ticket
from hftgym.live.events import Quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the desk waits before it asks or concludes, in seconds.

    Raises:
        ValueError: A time is not above 0.
    """

    arrival_s: float = 5.0  # an order unknown to the venue this long after it was sent will never arrive
    confirm_s: float = 1.0  # for a cancel's confirmation, and for executions that a report has told of
    check_s: float = 10.0  # an order that nothing was heard of is asked about this often

    def __post_init__(self) -> None:
        for name in ("arrival_s", "confirm_s", "check_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)!r}")


class Action(NamedTuple):
    """One request to the venue."""

    kind: Literal["cancel", "look", "place"]
    order: Order


@dataclass(slots=True)
class DeskCounters:
    """What has happened to the orders so far."""

    placed: int = 0
    cancelled: int = 0  # requests
    kept: int = 0  # wanted again at the same price
    dropped: int = 0  # quotes that a newer one replaced before they were sent
    rejected: int = 0
    lost: int = 0  # requests without an answer
    refused: int = 0  # wanted quotes that may not become orders: they take, or are no numbers, or too small


class Desk:
    """Keeps the orders of one market as they are wanted.

    Args:
        market: The venue's steps and minimums.
        ids: Names for the orders.
        patience: How long to wait for what.
        wall_clock: ns since 1970, for the fills.
        allow_taking: Whether quotes at or beyond the opposite best price are sent, as orders that take; otherwise not.
        sent: Told of every order right before it is sent, for a journal.
        closed: Told of every order that has ended, with all its executions known.
    """

    def __init__(
        self,
        market: Market,
        ids: OrderIds,
        *,
        patience: Patience,
        wall_clock: Callable[[], int],
        allow_taking: bool = False,
        sent: Callable[[OpenOrder], None] | None = None,
        closed: Callable[[Order], None] | None = None,
    ) -> None:
        self.table = OrderTable(wall_clock, closed=closed)
        self.counters = DeskCounters()
        self._market, self._ids, self._patience = market, ids, patience
        self._allow_taking, self._sent = allow_taking, sent
        self._wanted: dict[int, Ticket | None] = {1: None, -1: None}
        self._allowed = {1: 0.0, -1: 0.0}  # units that the latest `want` allows; `_room` is what is left of them
        self._best = {1: math.nan, -1: math.nan}  # best bid and ask; comparisons with NaN are False
        self._fresh = {1: False, -1: False}  # wanted, neither sent nor found resting

    def see(self, quote: Quote) -> None:
        """See the market's best prices."""
        self._best = {1: quote.bid, -1: quote.ask}

    def want(self, wanted: Wanted = NOTHING) -> None:
        """Want these quotes from now on."""
        self.table.filled = {1: 0.0, -1: 0.0}
        sizes = {1: (wanted.bid, wanted.bid_size), -1: (wanted.ask, wanted.ask_size)}
        for side, (price, size) in sizes.items():
            ticket = self._ticket(side, price, size)
            self.counters.dropped += self._fresh[side]
            self._wanted[side], self._allowed[side] = ticket, ticket.size if ticket else 0.0
            kept = [order for order in self.table.live() if order.ticket.side == side and self._keeps(order)]
            self.counters.kept += bool(kept)
            self._fresh[side] = ticket is not None and not kept
            if any(order.state != "cancelling" for order in kept):
                # Nothing beside it before the next decision: a repeated quote has passed no limit on new orders.
                self._allowed[side] = sum(order.left for order in kept)

    def _ticket(self, side: int, price: float, size: float) -> Ticket | None:
        if size == 0.0:
            return None
        if not (math.isfinite(price) and math.isfinite(size) and price > 0 and size > 0):
            self.counters.refused += 1
            return None
        price = self._market.price(price, side=side)
        size = self._market.size(size, price=price)
        taking = self._crosses(side, price)
        if price <= 0 or size <= 0 or (taking and not self._allow_taking):
            self.counters.refused += 1
            return None
        return Ticket("", side, price, size, taking)

    def _room(self, side: int) -> float:
        return max(self._allowed[side] - self.table.filled[side], 0.0)

    def _crosses(self, side: int, price: float) -> bool:
        return side * (price - self._best[-side]) >= 0

    def _keeps(self, order: Order) -> bool:
        """Whether an order is what is wanted: at the same price, not larger. It is not filled up: that costs its place.

        The same rule as `hftgym.market.queue.arrive`.
        """
        wanted = self._wanted[order.ticket.side]
        same = wanted is not None and wanted.price == order.ticket.price and wanted.taking == order.ticket.taking
        return same and order.left <= self._room(order.ticket.side) + DUST

    def next(self, now_ns: int, *, may_place: bool = True) -> Action | None:
        """Return what to send now, None if nothing; it counts as sent. Cancels go first, then questions, then orders.

        Args:
            now_ns: Monotonic clock.
            may_place: False keeps new orders back.
        """
        live = tuple(self.table.live())
        for order in live:
            # One that takes ends by itself; where it does not, it is cancelled once the venue was asked about it.
            due = order.looked_ns >= 0 if order.ticket.taking else not self._keeps(order)
            if order.state == "open" and due:
                order.state, order.look_ns = "cancelling", now_ns + self._ns(self._patience.confirm_s)
                self.counters.cancelled += 1
                return Action("cancel", order)
        for order in live:
            if not order.looking and order.look_ns <= now_ns:
                order.looking, order.look_ns = True, now_ns + self._ns(self._patience.check_s)
                return Action("look", order)
        return self._place(live, now_ns) if may_place else None

    def _place(self, live: Sequence[Order], now_ns: int) -> Action | None:
        for side, wanted in self._wanted.items():
            if wanted is None or any(order.ticket.side == side for order in live):
                continue
            size = self._market.size(min(wanted.size, self._room(side)), price=wanted.price)
            # Never against an own order; nor, if it is only to rest, where it would take by now.
            own = any(side * (wanted.price - order.ticket.price) >= 0 for order in live)
            if size <= 0 or own or (not wanted.taking and self._crosses(side, wanted.price)):
                continue
            ticket = wanted._replace(order_id=self._ids.take(), size=size)
            wait_s = self._patience.confirm_s if wanted.taking else self._patience.check_s
            order = Order(ticket, now_ns, now_ns, now_ns + self._ns(wait_s))
            self._fresh[side] = False
            if wanted.taking:
                self._allowed[side] = 0.0  # what it does not get is not tried again before the next decision
            if self._sent is not None:
                self._sent(OpenOrder(order_id=ticket.order_id, side=side, price=ticket.price, left=size))
            self.table.add(order)
            self.counters.placed += 1
            return Action("place", order)
        return None

    def due_ns(self) -> int | None:
        """Return when the next question is due, monotonic clock."""
        return min((order.look_ns for order in self.table.live() if not order.looking), default=None)

    def report(self, report: Report, now_ns: int) -> Order | None:
        """Take in what the venue says of an order; None if it is not in the table."""
        patience = self._patience
        before = self.table.get(report.order_id, report.venue_id)
        was = before.state if before else None
        order = self.table.report(report, now_ns)
        if order is None:
            return None
        if order.state == "rejected" and was != "rejected":
            self._count_rejected(order)
        if not order.settled:
            missing = order.told - order.seen > DUST or order.state in ("cancelling", "unknown")
            soon = missing or order.ticket.taking
            order.look_ns = min(order.look_ns, now_ns + self._ns(patience.confirm_s if soon else patience.check_s))
        return order

    def execution(self, execution: Execution, now_ns: int) -> bool:
        """Take in an execution; False if it is known already or of no order in the table."""
        return self.table.execution(execution, now_ns)

    def refused(self, order: Order, now_ns: int, *, final: bool = True) -> None:
        """The order that was to be placed was not: rejected, or, not `final`, only too early and to be sent again."""
        if final:
            self.report(Report(order.ticket.order_id, "", "rejected", 0.0), now_ns)
        else:
            order.state = "rejected"
            self.table.settle(order)

    def _count_rejected(self, order: Order) -> None:
        self.counters.rejected += 1
        self._allowed[order.ticket.side] = 0.0  # not again before the next decision

    def lost(self, order: Order, now_ns: int) -> None:
        """Nobody knows what became of a request: ask."""
        self.counters.lost += 1
        if order.state == "pending":
            order.state = "unknown"
        order.look_ns = now_ns

    def ask(self, order: Order, now_ns: int) -> None:
        """Let a question be asked now."""
        order.look_ns = min(order.look_ns, now_ns)

    def not_cancelled(self, order: Order) -> None:
        """The cancel was not carried out, and is to be sent again."""
        if order.state == "cancelling":
            order.state = "open"

    def looked(
        self, order: Order, asked_ns: int, *, report: Report | None, executions: Sequence[Execution], now_ns: int
    ) -> None:
        """Take in the answer to a question that was asked at a time of the monotonic clock."""
        order.looking, order.looked_ns = False, asked_ns
        for execution in executions:
            self.execution(execution, now_ns)
        if report is not None:
            if report.state == "open" and order.state in ("cancelling", "unknown"):
                order.state = "open"  # a cancel that is still wanted is sent again
            self.report(report, now_ns)
        elif asked_ns - max(order.sent_ns, order.heard_ns) >= self._ns(self._patience.arrival_s):
            # The venue has no such order, long after everything on the way must have arrived.
            order.told = order.seen
            state = "rejected" if order.state in ("pending", "unknown") else "cancelled"
            self.report(Report(order.ticket.order_id, "", state, order.seen), now_ns)
        else:
            waited = max(order.sent_ns, order.heard_ns) + self._ns(self._patience.arrival_s)
            order.look_ns = max(waited, now_ns + self._ns(self._patience.confirm_s))

    def not_looked(self, order: Order, now_ns: int) -> None:
        """The question was not answered: ask again a little later."""
        order.looking = False
        order.look_ns = now_ns + self._ns(self._patience.confirm_s)

    def adopt(self, report: Report, now_ns: int) -> None:
        """Take in an own order that is open at the venue; one that is not in the table will be cancelled."""
        order = self.table.get(report.order_id, report.venue_id)
        if order is None:
            ticket = Ticket(report.order_id, report.side, report.price, report.size)
            order = Order(ticket, now_ns, now_ns, now_ns, state="open", venue_id=report.venue_id)
            # Older than this session: in the account's holdings. What is no number is asked about: all could be filled.
            order.told = order.seen = report.filled if 0 <= report.filled <= report.size else 0.0
            self.table.add(order)
        elif order.settled:  # the list is old, or the venue has taken back what it said: cancel it again
            order.state = "open"
            self.table.settle(order)
        else:
            self.report(report, now_ns)

    @staticmethod
    def _ns(seconds: float) -> int:
        return int(seconds * 1e9)
