"""A venue in one thread, whose messages are late, lost, doubled and out of order, as the test chooses."""

from dataclasses import dataclass, field

from hftgym.live.brokers.venue import Execution, Report

ARRIVAL_NS = 5_000_000_000


@dataclass
class Resting:
    ticket: object
    venue_id: str
    filled: float = 0.0
    open: bool = True
    trades: list = field(default_factory=list)

    def report(self):
        full = self.filled >= self.ticket.size
        state = "filled" if full else ("open" if self.open else "cancelled")
        return Report(self.ticket.order_id, self.venue_id, state, self.filled)


class SimulatedVenue:
    """`requests` are on their way there and `news` on their way back; the test delivers either in any order."""

    def __init__(self, desk):
        self.desk, self.now_ns = desk, 0
        self.orders, self.requests, self.news = {}, [], []
        self.number = 0

    def send(self, action):
        self.requests.append((action.kind, action.order, self.now_ns))

    def arrive(self, index, *, answered=True):
        kind, order, sent_ns = self.requests.pop(index)
        answer = getattr(self, f"_{kind}")(order, sent_ns)
        if not answered:
            answer = self._silence(kind, order)
        self.news.append(("answer", answer))

    def lose(self, index):
        kind, order, _ = self.requests.pop(index)
        self.news.append(("answer", self._silence(kind, order)))

    def refuse(self, index):
        """The venue is busy, or refuses an order."""
        kind, order, _ = self.requests.pop(index)
        desk = self.desk
        final = self.number % 2 == 0
        self.number += 1
        answer = {
            "place": lambda: desk.refused(order, self.now_ns, final=final),
            "cancel": lambda: desk.not_cancelled(order),
            "look": lambda: desk.not_looked(order, self.now_ns),
        }[kind]
        self.news.append(("answer", answer))

    def _silence(self, kind, order):
        desk = self.desk
        return lambda: desk.not_looked(order, self.now_ns) if kind == "look" else desk.lost(order, self.now_ns)

    def _place(self, order, sent_ns):
        assert order.ticket.order_id not in self.orders
        resting = Resting(order.ticket, f"v{len(self.orders)}")
        self.orders[order.ticket.order_id] = resting
        report = resting.report()
        self._tell(report)
        return lambda: self.desk.report(report, self.now_ns)

    def _cancel(self, order, sent_ns):
        resting = self.orders.get(order.ticket.order_id)
        if resting is None or not resting.open:
            return lambda: self.desk.ask(order, self.now_ns)
        resting.open = False
        report = resting.report()
        self._tell(report)
        if self.number % 2:
            return lambda: None  # it only says that it will
        return lambda: self.desk.report(report, self.now_ns)

    def _look(self, order, sent_ns):
        resting = self.orders.get(order.ticket.order_id)
        report, trades = (resting.report(), tuple(resting.trades)) if resting else (None, ())
        return lambda: self.desk.looked(order, sent_ns, report=report, executions=trades, now_ns=self.now_ns)

    def _tell(self, report):
        self.news.append(("stream", lambda: self.desk.report(report, self.now_ns)))

    def fill(self, order_id, size):
        resting = self.orders[order_id]
        self.number += 1
        resting.filled += size
        resting.open = resting.filled < resting.ticket.size
        # Some venues name an execution's order by their own number alone.
        name = order_id if self.number % 2 else ""
        side, price = resting.ticket.side, resting.ticket.price
        trade = Execution(f"t{self.number}", name, resting.venue_id, side, price, size, 0.0)
        resting.trades.append(trade)
        self.news.append(("stream", lambda: self.desk.execution(trade, self.now_ns)))
        self._tell(resting.report())

    def hear(self, index):
        self.news.pop(index)[1]()

    def double(self, index):
        self.news.append(self.news[index])

    def disconnect(self):
        """Lose every message of the stream that is on its way; after reconnecting all orders are asked about."""
        self.news = [item for item in self.news if item[0] == "answer"]
        for order in self.desk.table.live():
            self.desk.ask(order, self.now_ns)

    def wait(self, ns):
        self.now_ns += ns
        for index in reversed(range(len(self.requests))):  # nothing is on its way for longer than the desk's patience
            if self.now_ns - self.requests[index][2] >= ARRIVAL_NS:
                self.lose(index)

    def open_orders(self, side):
        return [resting for resting in self.orders.values() if resting.open and resting.ticket.side == side]

    def position(self):
        return sum(resting.ticket.side * resting.filled for resting in self.orders.values())

    def could_come(self, side):
        """Units that the desk has not seen and that are filled, rest, or are on their way."""
        here = [resting for resting in self.orders.values() if resting.ticket.side == side]
        seen = {name: self.desk.table.get(name).seen for name in self.orders}
        resting = sum((r.ticket.size if r.open else r.filled) - seen[r.ticket.order_id] for r in here)
        coming = [order.ticket for kind, order, _ in self.requests if kind == "place"]
        return resting + sum(ticket.size for ticket in coming if ticket.side == side)
