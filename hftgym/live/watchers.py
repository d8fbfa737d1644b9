"""Those who watch a session, and what they have not been told yet."""

import math
from collections.abc import Callable, Sequence

from hftgym.live.broker import Fill, Wanted
from hftgym.live.snapshot import Snapshot, State


class Watchers:
    """Tells the observers every tick, and with it what was booked where no tick settles.

    While a broker is asked again, when a window begins anew, and while a session leaves, fills go straight into the
    account; the next snapshot has them, or a last one at the stop. Only so is the sum of all snapshots the journal's.

    Args:
        observers: Called with each `Snapshot`; the list may grow until the session runs.
    """

    def __init__(self, observers: Sequence[Callable[[Snapshot], None]]) -> None:
        self._observers = observers
        self._told: Snapshot | None = None
        self._fills: list[Fill] = []
        self._capture = self._drift = self._fees = 0.0

    def add(self, fills: Sequence[Fill]) -> None:
        """Remember fills whose parts of the PnL the account tells."""
        if self._observers:  # else nobody ever takes them
            self._fills += fills

    def book(self, fills: Sequence[Fill], mid: float) -> None:
        """Remember fills and their parts of the PnL at the last mid; with none, 0, they make the start's equity."""
        self.add(fills)
        if mid > 0:
            self._capture += sum(fill.side * fill.size * (mid - fill.price) for fill in fills)
            self._fees += sum(fill.fee for fill in fills)

    def drift(self, pnl: float) -> None:
        """Remember what the inventory has made between the last tick and a window that begins anew."""
        self._drift += pnl

    def tell(
        self, account: Sequence[float], sent: Wanted, *, time_ns: int, tick: int, state: State, reason: str
    ) -> None:
        """Tell of a tick; `account` is the kernel's, in the order of `hftgym.market.layout`."""
        if not self._observers:
            return
        mid, bid, ask, inventory, cash, equity, _, _, fees, capture, drift = account
        own_bid = sent.bid if sent.bid_size > 0 else math.nan
        own_ask = sent.ask if sent.ask_size > 0 else math.nan
        parts = capture + self._capture, drift + self._drift, fees + self._fees
        quotes = mid, bid, ask, own_bid, own_ask
        self._show(Snapshot(time_ns, tick, *quotes, inventory, cash, equity, tuple(self._fills), *parts, state, reason))

    def end(self, time_ns: int, *, cash: float, inventory: float, reason: str) -> None:
        """Tell once more, at the last mid, if the account has changed since the last tick."""
        told = self._told
        if told is None or not (self._fills or (cash, inventory) != (told.cash, told.inventory)):
            return
        self._show(
            told._replace(
                time_ns=time_ns,
                quote_bid=math.nan,
                quote_ask=math.nan,
                inventory=inventory,
                cash=cash,
                equity=cash + inventory * told.mid,
                fills=tuple(self._fills),
                spread_capture=self._capture,
                inventory_pnl=self._drift,
                fees=self._fees,
                state="stopped",
                reason=reason,
            )
        )

    def _show(self, snapshot: Snapshot) -> None:
        self._told, self._fills = snapshot, []
        self._capture = self._drift = self._fees = 0.0
        for observer in self._observers:
            observer(snapshot)
