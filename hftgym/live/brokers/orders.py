"""The table of own orders: whatever the venue says, in whatever order, position = sum of its fills.

Reports say how much of an order is filled; only executions, each counted once by its name, move the position. An order
is settled when the venue has ended it and every execution it has told of has come; until then what could still be
filled, or has been without our knowing, is in flight.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from hftgym.live.broker import Fill, OpenOrder
from hftgym.live.brokers.venue import Execution, Report, Ticket

State = Literal["pending", "open", "cancelling", "unknown", "filled", "cancelled", "rejected"]
FINAL = frozenset({"filled", "cancelled", "rejected"})
DUST = 1e-9  # units; what rounding leaves of a difference of decimals

_REMEMBERED = 10_000  # settled orders that late messages are still matched with
_WAITING = 1_000  # executions whose order is not known yet


@dataclass(slots=True)
class Order:
    """One own order."""

    ticket: Ticket
    sent_ns: int  # monotonic clock
    heard_ns: int  # monotonic clock: when the venue last spoke of it
    look_ns: int  # monotonic clock: when to ask the venue about it
    looked_ns: int = -1  # monotonic clock: when the latest question was asked that has been answered
    state: State = "pending"
    venue_id: str = ""
    told: float = 0.0  # units filled, according to reports
    seen: float = 0.0  # units of the executions that have come
    looking: bool = False  # a question is on its way
    trades: set[str] = field(default_factory=set)

    @property
    def left(self) -> float:
        """Units that have not been seen to fill."""
        return max(self.ticket.size - self.seen, 0.0)

    @property
    def in_flight(self) -> float:
        """Units that could still be filled, or are filled without our having seen it."""
        return max(self.told - self.seen, 0.0) if self.state in FINAL else self.left

    @property
    def settled(self) -> bool:
        """Whether nothing more is to come."""
        return self.state in FINAL and self.told - self.seen <= DUST

    def hear(self, report: Report) -> None:
        """Take in a report, which may be old news."""
        self.venue_id = self.venue_id or report.venue_id
        if math.isfinite(report.filled):
            self.told = max(self.told, report.filled)
        # "rejected" may be our own conclusion from silence; every other end is the venue's word.
        if self.state not in FINAL or (self.state == "rejected" and report.state in ("open", "filled", "cancelled")):
            if report.state in FINAL:
                self.state = report.state
                self.told = max(self.told, self.ticket.size if report.state == "filled" else 0.0)
            elif report.state == "open" and self.state != "cancelling":
                self.state = "open"
        self._close_if_full(self.told)

    def execute(self, execution: Execution) -> bool:
        """Take in an execution; False if it is known already."""
        if execution.trade_id in self.trades:
            return False
        self.trades.add(execution.trade_id)
        self.seen += execution.size
        self._close_if_full(self.seen)
        return True

    def _close_if_full(self, filled: float) -> None:
        if filled >= self.ticket.size - DUST and self.state != "filled":
            self.state = "filled"
            self.told = max(self.told, filled)


class OrderTable:
    """All orders of a session, and the position they have made.

    Args:
        wall_clock: ns since 1970, for the fills.
        closed: Told of every order that is settled, once more if a late message brings it back.
    """

    def __init__(self, wall_clock: Callable[[], int], *, closed: Callable[[Order], None] | None = None) -> None:
        self.inventory = 0.0  # units: what was held at the start and every fill since
        self.fills: deque[Fill] = deque()
        self.filled = {1: 0.0, -1: 0.0}  # units bought and sold since someone set them to 0
        self.duplicates = 0  # executions told again
        self.strangers = 0  # executions of orders that are not in the table
        self.garbage = 0  # executions without a size or a price: they never reach the account, and are asked about
        self._clock, self._closed = wall_clock, closed
        self._orders: dict[str, Order] = {}
        self._live: dict[str, Order] = {}
        self._by_venue: dict[str, Order] = {}
        self._waiting: deque[Execution] = deque(maxlen=_WAITING)

    def add(self, order: Order) -> None:
        """Take in an order, before it is sent."""
        self._orders[order.ticket.order_id] = self._live[order.ticket.order_id] = order
        if order.venue_id:
            self._by_venue[order.venue_id] = order
        while len(self._orders) > _REMEMBERED + len(self._live):
            self._drop(next(name for name in self._orders if name not in self._live))

    def get(self, order_id: str, venue_id: str = "") -> Order | None:
        """Return an order by the client's name or the venue's."""
        return self._orders.get(order_id) or self._by_venue.get(venue_id)

    def live(self) -> Iterator[Order]:
        """Yield the orders that are not settled."""
        yield from tuple(self._live.values())

    def report(self, report: Report, now_ns: int) -> Order | None:
        """Take in a report and return its order, None if it is not in the table."""
        order = self.get(report.order_id, report.venue_id)
        if order is None:
            return None
        order.heard_ns = now_ns
        order.hear(report)
        if order.venue_id and order.venue_id not in self._by_venue:
            self._by_venue[order.venue_id] = order
            self._take_waiting(order.venue_id, now_ns)
        self.settle(order)
        return order

    def execution(self, execution: Execution, now_ns: int) -> bool:
        """Take in an execution; False if it is known already or its order is not in the table."""
        order = self.get(execution.order_id, execution.venue_id)
        if order is None:
            if execution.order_id:
                self.strangers += 1
            else:
                self._waiting.append(execution)  # it has overtaken the answer that names its order
            return False
        order.heard_ns = now_ns
        size, price = execution.size, execution.price
        if not (0 < size < math.inf and 0 < price < math.inf and math.isfinite(execution.fee)):
            self.garbage += 1
            return False
        if not order.execute(execution):
            self.duplicates += 1
            return False
        side = order.ticket.side
        fill = Fill(self._clock(), side, price, size, execution.fee, order.ticket.order_id)
        self.inventory += side * size
        self.filled[side] += size
        self.fills.append(fill)
        self.settle(order)
        return True

    def settle(self, order: Order) -> None:
        """Move an order to where its state belongs."""
        if order.settled:
            if self._live.pop(order.ticket.order_id, None) is not None and self._closed is not None:
                self._closed(order)
        elif self._orders.get(order.ticket.order_id) is order:
            self._live[order.ticket.order_id] = order  # a late message has brought it back

    def in_flight(self) -> tuple[float, float]:
        """Return the units (bid, ask) in flight."""
        units = {1: 0.0, -1: 0.0}
        for order in self._live.values():
            units[order.ticket.side] += order.in_flight
        return units[1], units[-1]

    def open_orders(self) -> tuple[OpenOrder, ...]:
        """Return the orders that are not settled."""
        return tuple(
            OpenOrder(order_id=name, side=order.ticket.side, price=order.ticket.price, left=order.in_flight)
            for name, order in self._live.items()
        )

    def begin(self, inventory: float) -> None:
        """Begin with these units and no past: executions of older orders are in `inventory` already."""
        for name in tuple(self._orders):
            self._drop(name)
        self._waiting.clear()
        self.fills.clear()
        self.inventory = inventory

    def _take_waiting(self, venue_id: str, now_ns: int) -> None:
        mine = [execution for execution in self._waiting if execution.venue_id == venue_id]
        for execution in mine:
            self._waiting.remove(execution)
            self.execution(execution, now_ns)

    def _drop(self, order_id: str) -> None:
        order = self._orders.pop(order_id)
        self._live.pop(order_id, None)
        self._by_venue.pop(order.venue_id, None)
