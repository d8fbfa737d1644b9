"""An exchange's account and orders, without a protocol: the servers of the brokers' tests speak for it."""

import asyncio
import itertools
from collections import deque
from dataclasses import dataclass, field


class RefusedError(Exception):
    """The exchange does not take the order."""


@dataclass
class Order:
    number: int
    client_id: str
    side: int
    price: float
    size: float
    filled: float = 0.0
    status: str = "open"  # "filled", "cancelled"
    trades: list = field(default_factory=list)  # (trade number, price, size, filled so far)


class Exchange:
    """One market, one account. Fills happen when a test says so.

    `trouble` says how the next requests of a kind end: "busy" (429, nothing done), "refuse", "deaf" (the connection
    ends, nothing done), "mute" (done, and the connection ends without an answer). What is pushed to a stream is kept
    back while `held`. Every fill costs `fee`.
    """

    def __init__(self, *, cash=10_000.0, units=0.0, bid=99.0, ask=101.0, fee=0.0):
        self.cash, self.units, self.bid, self.ask = cash, units, bid, ask
        self.fee = fee
        self.orders, self.trouble, self.seen = [], {}, []
        self.held, self._kept, self._listeners = False, [], []
        self._numbers = itertools.count(1000)

    def request(self, kind):
        """Note a request, and return the trouble that it is to meet."""
        self.seen.append(kind)
        waiting = self.trouble.get(kind)
        return waiting.popleft() if waiting else None

    def upset(self, kind, *how):
        self.trouble.setdefault(kind, deque()).extend(how)

    def listen(self, listener):
        self._listeners.append(listener)

    def push(self, order, trade=None):
        if self.held:
            self._kept.append((order, order.status, order.filled, trade))
        else:
            self._push(order, order.status, order.filled, trade)

    def _push(self, *news):
        for listener in self._listeners:
            listener(*news)

    def release(self, *, twice=False, backwards=False):
        self.held = False
        kept, self._kept = self._kept * (2 if twice else 1), []
        for news in reversed(kept) if backwards else kept:
            self._push(*news)

    def place(self, client_id, side, price, size, *, post_only=True, taking=False):
        if any(order.client_id == client_id for order in self.orders):
            raise RefusedError("duplicate")
        crosses = price >= self.ask if side > 0 else price <= self.bid
        if crosses and post_only:
            raise RefusedError("would take")
        order = Order(next(self._numbers), client_id, side, price, size)
        self.orders.append(order)
        self.push(order)
        if crosses:
            self.fill(order, size, price=self.ask if side > 0 else self.bid)
        if taking and order.status == "open":
            self.cancel(order)
        return order

    def cancel(self, order):
        if order.status != "open":
            return False
        order.status = "cancelled"
        self.push(order)
        return True

    def fill(self, order, size, *, price=None):
        assert order.status == "open"
        price = order.price if price is None else price
        order.filled = round(order.filled + size, 9)
        order.status = "filled" if order.filled >= order.size else "open"
        trade = (next(self._numbers), price, size, order.filled)
        order.trades.append(trade)
        self.cash -= order.side * size * price + self.fee
        self.units = round(self.units + order.side * size, 9)
        self.push(order, trade)

    def find(self, *, number=None, client_id=None):
        for order in self.orders:
            if order.number == number or order.client_id == client_id:
                return order
        return None

    def open(self, side=None):
        return [order for order in self.orders if order.status == "open" and side in (None, order.side)]


class Sockets(set):
    """The connections of a stream; what is sent goes to all of them, in order."""

    def __init__(self):
        super().__init__()
        self._tasks = set()

    def send(self, text):
        for socket in self:
            task = asyncio.ensure_future(socket.send_str(text))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def drop(self):
        """End every connection."""
        for socket in tuple(self):
            self.discard(socket)
            await socket.close()
