"""Where a session stood when it ended, however it ended: from its journal alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hftgym.live.broker import OpenOrder
from hftgym.live.journal import JournalError, read_session

_DUST = 1e-9  # units
_ROUNDING = 1e-9  # of all that was ever paid and received, or bought and sold


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """Where a session stood.

    Attributes:
        market: Venue and symbol of the last session, with the size of the unit: what `inventory` counts.
        cash: Quote currency.
        inventory: Units.
        orders: Own orders that may still be in the market: sent, and neither filled nor told closed by the venue.
        next_order: How many orders the journal has: the next one's number, over all sessions in it.
        ticks: Ticks marked by the last session.
        stop: Why the last session stopped; None if it was killed.
    """

    market: str
    cash: float
    inventory: float
    orders: tuple[OpenOrder, ...]
    next_order: int
    ticks: int
    stop: str | None


def recover(path: Path | str) -> Recovered:
    """Return where the last session of a journal stood.

    Cash and inventory are those of the last mark or holdings and the fills since. A session begins with the cash and
    inventory of its "start", if it tells them, else with those before it, at first `initial_cash` of its parameters
    and none.

    Raises:
        JournalError: The journal is damaged, has no start, or its marks do not agree with its fills.
        OSError: The file cannot be read.
    """
    state: _State | None = None
    for number, (kind, values) in enumerate(read_session(path), start=1):
        if state is None and kind != "start":
            raise JournalError(f"{path}: a journal must begin with a start, got {kind!r} in line 1")
        try:
            state = state or _State(cash=values["params"]["initial_cash"])
            take = getattr(state, f"on_{kind}", None)
            agrees = take is None or take(**values)
        except (KeyError, TypeError) as error:
            raise JournalError(f"{path}: the {kind} in line {number:,} lacks something: {error}") from None
        if not agrees:
            told = f"cash {values['cash']!r} and inventory {values['inventory']!r}"
            found = f"{state.cash!r} and {state.inventory!r}"
            raise JournalError(f"{path}: the mark in line {number:,} tells {told}, but the fills make {found}")
    if state is None:
        raise JournalError(f"{path}: the journal is empty, there is nothing to recover")
    return state.recovered()


class _State:
    """The account as the records so far tell it; every `on_` says whether its record agrees with those before."""

    def __init__(self, *, cash: float) -> None:
        self.cash, self.inventory, self._market = cash, 0.0, ""
        self._paid, self._traded = abs(cash), 0.0  # what roundings are measured by
        self._orders: dict[str, OpenOrder] = {}
        self._sent = self._ticks = 0
        self._stop: str | None = None

    def on_start(
        self, *, cash: float | None = None, inventory: float | None = None, venue: str = "", symbol: str = "", **_: Any
    ) -> bool:
        """Begin anew; what was left in the market before has been cancelled."""
        self._market = f"{venue} {symbol}"
        self.cash = self.cash if cash is None else cash
        self.inventory = self.inventory if inventory is None else inventory
        self._paid, self._traded = max(self._paid, abs(self.cash)), max(self._traded, abs(self.inventory))
        self._orders.clear()
        self._ticks, self._stop = 0, None
        return True

    def on_holdings(self, *, cash: float, inventory: float, **_: Any) -> bool:
        """Take over what the venue has told when it was asked again; orders are told one by one."""
        self.cash, self.inventory = cash, inventory
        return True

    def on_order(self, *, order_id: str, side: int, price: float, size: float, **_: Any) -> bool:
        """Count an order as open from before it is sent."""
        self._orders[order_id] = OpenOrder(order_id=order_id, side=side, price=price, left=size)
        self._sent += 1
        return True

    def on_closed(self, *, order_id: str, **_: Any) -> bool:
        """Forget an order that the venue has told cancelled, rejected or expired."""
        self._orders.pop(order_id, None)
        return True

    def on_fill(self, *, order_id: str, side: int, price: float, size: float, fee: float, **_: Any) -> bool:
        """Book a fill, also one of an order that is not known any more."""
        self.cash -= side * price * size + fee
        self.inventory += side * size
        self._paid, self._traded = self._paid + price * size + abs(fee), self._traded + size
        order = self._orders.pop(order_id, None)
        if order is not None and order.left - size > _DUST:
            self._orders[order_id] = OpenOrder(order_id=order_id, side=side, price=order.price, left=order.left - size)
        return True

    def on_mark(self, *, cash: float, inventory: float, **_: Any) -> bool:
        """Take over the session's own account, whose sums are rounded in another order."""
        agrees = abs(cash - self.cash) <= _ROUNDING * self._paid
        agrees = agrees and abs(inventory - self.inventory) <= _ROUNDING * self._traded
        if agrees:
            self.cash, self.inventory = cash, inventory
            self._ticks += 1
        return agrees

    def on_stop(self, *, reason: str, **_: Any) -> bool:
        """Note why it ended."""
        self._stop = reason
        return True

    def recovered(self) -> Recovered:
        """Return the state."""
        return Recovered(
            market=self._market,
            cash=self.cash,
            inventory=self.inventory,
            orders=tuple(self._orders.values()),
            next_order=self._sent,
            ticks=self._ticks,
            stop=self._stop,
        )
