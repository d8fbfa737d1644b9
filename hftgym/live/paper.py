"""Orders on paper: the replay's queue, event by event, in the market as it is received."""

import asyncio
import math
from collections import deque
from collections.abc import Sequence

import numpy as np

from hftgym.live.broker import Fill, Holdings, OpenOrder, Wanted
from hftgym.live.events import Event, Quote, Status
from hftgym.market.live import no_orders, paper_arrival, paper_event
from hftgym.market.replay import ASK_ROWS, BID, LOG_COLUMNS
from hftgym.market.single import allocate
from hftgym.params import EnvParams

_SIDE, _PRICE, _SIZE, _FEE = (LOG_COLUMNS.index(name) for name in ("side", "price", "size", "fee"))


class PaperBroker:
    """Fills orders as `hftgym.backtest.backtest` does, by the same code: queue position, partial fills, latency, fees.

    Nothing is sent anywhere. Own orders change nothing in the market.

    Args:
        params: Fees, inventory limit and the cash at the start count.
        latency_s: Seconds from a decision to its arrival, there and back.
        holdings: What the account holds at the start; the params' cash and no inventory if None.
        max_inventory: The limit of the session's gate, where that is below the one of the params: an order that arrives
            after a fill its sender had not seen is cut to what is left of it.
    """

    def __init__(
        self,
        params: EnvParams,
        *,
        latency_s: float = 0.0,
        holdings: Holdings | None = None,
        max_inventory: float = math.inf,
    ) -> None:
        if not 0 <= latency_s <= 3600:
            raise ValueError(f"latency_s must be from 0 to 3600 seconds, got {latency_s!r}")
        self.latency_s = latency_s
        self._memory = allocate(params)
        self._holdings = holdings or Holdings(cash=params.initial_cash, inventory=0.0)
        self._latency_ns = round(latency_s * 1e9)
        self._orders, self._touch, self._event = no_orders(), np.zeros(4), np.zeros((1, 5))
        self._log = np.zeros((3, len(LOG_COLUMNS)))
        self._on_their_way: deque[tuple[int, np.ndarray]] = deque()
        self._fills: list[Fill] = []
        self._inventory, self._bought, self._sold = self._holdings.inventory, 0.0, 0.0
        self._cash, self._max_inventory = self._holdings.cash, max_inventory

    async def start(self) -> Holdings:
        """Return what the account holds; nothing rests in the market."""
        return self._holdings

    def on_event(self, event: Event) -> None:
        """Let the orders that have arrived before meet a quote or a trade."""
        if isinstance(event, Status):
            return
        self._arrive(event.received_ns)
        row = self._event[0]
        if isinstance(event, Quote):
            row[:] = 0.0, event.bid, event.bid_size, event.ask, event.ask_size
        else:
            row[:3] = event.taker_side, event.price, event.size
        paper_event(self._memory, self._orders, self._touch, self._event, 0.0, self._log)
        self._note(event.received_ns)

    def quote(self, wanted: Wanted, now_ns: int) -> None:
        """Send these orders; they arrive after the latency."""
        self._on_their_way.append((now_ns + self._latency_ns, np.array(wanted)))

    def take_fills(self, now_ns: int) -> Sequence[Fill]:
        """Return the fills since the last call, those of orders that arrive before `now_ns` included."""
        self._arrive(now_ns)
        fills, self._fills = self._fills, []
        # In the order in which the kernel adds them up, so that room for orders is the same to the last bit.
        self._inventory = self._inventory + self._bought - self._sold
        self._bought = self._sold = 0.0
        return fills

    def in_flight(self) -> tuple[float, float]:
        """Return the units (bid, ask) that rest or are on their way."""
        sent = [wanted for _, wanted in self._on_their_way]
        bid = max([self._orders[BID + 1], *(wanted[2] for wanted in sent)])
        ask = max([self._orders[ASK_ROWS + 1], *(wanted[3] for wanted in sent)])
        return float(bid), float(ask)

    def open_orders(self) -> tuple[OpenOrder, ...]:
        """Return what rests."""
        rows = ((1, self._orders[BID], self._orders[BID + 1]), (-1, self._orders[ASK_ROWS], self._orders[ASK_ROWS + 1]))
        return tuple(
            OpenOrder(order_id="paper", side=side, price=float(price), left=float(left))
            for side, price, left in rows
            if left > 0
        )

    async def cancel_all(self) -> None:
        """Withdraw everything at once."""
        self._on_their_way.clear()
        self._orders = no_orders()

    async def interrupted(self) -> None:
        """Wait for ever."""
        await asyncio.Event().wait()

    async def reconcile(self) -> Holdings:
        """Return what the account holds now."""
        return Holdings(cash=self._cash, inventory=self._inventory + self._bought - self._sold)

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    def _arrive(self, now_ns: int) -> None:
        """Let the orders reach the market that arrive before what happens at `now_ns`."""
        while self._on_their_way and self._on_their_way[0][0] < now_ns:
            time_ns, wanted = self._on_their_way.popleft()
            held = self._inventory + self._bought - self._sold
            wanted[2] = min(wanted[2], max(self._max_inventory - held, 0.0))
            wanted[3] = min(wanted[3], max(self._max_inventory + held, 0.0))
            if self._touch[0] > 0:
                paper_arrival(self._memory, self._orders, self._touch, wanted, held, 0.0, self._log)
                self._note(time_ns)

    def _note(self, time_ns: int) -> None:
        """Take over the fills that the kernel has written."""
        for row in self._log[1 : int(self._log[0, 0]) + 1].tolist():
            side, size, price, fee = int(row[_SIDE]), row[_SIZE], row[_PRICE], row[_FEE]
            self._bought += size if side > 0 else 0.0
            self._sold += size if side < 0 else 0.0
            self._cash -= side * size * price + fee
            self._fills.append(Fill(time_ns, side, price, size, fee, "paper"))
