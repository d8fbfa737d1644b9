"""The slow and obvious twin of the replay: one event after the other, one order per side, plain Python.

It knows nothing of tracks, rings or lanes: it walks over the rows of a tape by their time of receipt and keeps a list
of decisions with the time at which each arrives.
"""

import math


class Order:
    def __init__(self, price, left, ahead):
        self.price, self.left, self.ahead = price, left, ahead


class ReplayTwin:
    """Plays `decisions`, absolute (bid, ask, size) per tick, on rows (time, "quote" | "trade", values)."""

    def __init__(self, rows, *, limit, maker_fee, taker_fee):
        self.rows, self.limit = rows, limit
        self.maker_fee, self.taker_fee = maker_fee, taker_fee
        self.inventory = self.cash = self.fees = 0.0
        self.orders = {+1: None, -1: None}
        self.touch = None
        self.fills = []  # (time, side, price, size, reason)

    def run(self, decisions, tick_ns, latency_ns):
        """Return (inventory, cash) after every tick; decision k is made k ticks after the first quote."""
        start = next(time for time, kind, _ in self.rows if kind == "quote")
        arrivals = [(start + k * tick_ns + latency_ns, decision) for k, decision in enumerate(decisions)]
        path, row = [], 0
        for k in range(len(decisions)):
            end = start + (k + 1) * tick_ns
            while True:
                next_row = self.rows[row][0] if row < len(self.rows) else math.inf
                next_arrival = arrivals[0][0] if arrivals else math.inf
                # What is received at the very moment of an arrival, or of a tick's end, comes first.
                if next_row <= next_arrival and next_row <= end:
                    self.event(*self.rows[row])
                    row += 1
                elif next_arrival < end:
                    self.arrival(*arrivals.pop(0))
                else:
                    break
            path.append((self.inventory, self.cash - self.fees))
        return path

    def best(self, side):
        bid, bid_size, ask, ask_size = self.touch
        return (bid, bid_size) if side > 0 else (ask, ask_size)

    def arrival(self, time, decision):
        bid, ask, size = decision
        wanted = {+1: (bid, min(size, self.limit - self.inventory)), -1: (ask, min(size, self.limit + self.inventory))}
        for side, (price, units) in wanted.items():
            resting = self.orders[side]
            if price is None or units <= 1e-9:
                self.orders[side] = None
                continue
            if resting is not None and resting.price == price:
                resting.left = min(resting.left, units)
                continue
            self.orders[side] = None
            opposite, offered = self.best(-side)
            own, shown = self.best(side)
            if side * (price - opposite) >= 0:
                self.fill(time, side, opposite, min(units, offered), "crossed", None)
            elif price == own:
                self.orders[side] = Order(price, units, shown)
            else:
                self.orders[side] = Order(price, units, 0.0 if side * (price - own) > 0 else math.inf)

    def event(self, time, kind, values):
        if kind == "quote":
            self.touch = values
            for side, order in list(self.orders.items()):
                if order is None:
                    continue
                own, shown = self.best(side)
                opposite, _ = self.best(-side)
                if side * (order.price - opposite) >= 0:
                    self.fill(time, side, order.price, order.left, "passed", order)
                elif order.price == own:
                    order.ahead = min(order.ahead, shown)
                elif side * (order.price - own) > 0:
                    order.ahead = 0.0
        else:
            price, size, taker = values
            side, order = -taker, self.orders[-taker]
            if order is None:
                return
            if side * (order.price - price) > 0:
                order.ahead = 0.0
                self.fill(time, side, order.price, min(order.left, size), "through", order)
            elif price == order.price:
                used = min(size, order.ahead)
                over = size - order.ahead
                order.ahead -= used
                if over > 1e-9:
                    self.fill(time, side, order.price, min(order.left, over), "queue", order)

    def fill(self, time, side, price, size, reason, order):
        if size <= 0:
            return
        self.inventory += side * size
        self.cash -= side * size * price
        self.fees += size * price * (self.taker_fee if reason == "crossed" else self.maker_fee)
        self.fills.append((time, side, price, size, reason))
        if order is not None:
            order.left -= size
            if order.left <= 1e-9:
                self.orders[side] = None
