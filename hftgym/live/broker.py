"""What a broker is: the same protocol for paper and for real orders."""

import asyncio
import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from hftgym.live.events import Event

log = logging.getLogger("hftgym.live.broker")


class Wanted(NamedTuple):
    """The quotes that a session wants to have in the market: absolute prices on the venue's grid, and units.

    A size of 0 wants no order on that side. A price at or beyond the opposite best price wants to take.
    """

    bid: float
    ask: float
    bid_size: float
    ask_size: float


NOTHING = Wanted(0.0, 0.0, 0.0, 0.0)


class Fill(NamedTuple):
    """One execution of an own order."""

    time_ns: int  # when it became known, the receiver's clock
    side: int  # +1 bought, -1 sold
    price: float
    size: float  # units
    fee: float  # quote currency; negative is a rebate
    order_id: str  # the client's own id of the order


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrder:
    """An own order that rests in the market, or is on its way there or back."""

    order_id: str
    side: int  # +1 a bid, -1 an ask
    price: float
    left: float  # units


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What the account holds according to the broker."""

    cash: float  # quote currency
    inventory: float  # units
    orders: tuple[OpenOrder, ...] = ()


class Broker(Protocol):
    """Takes wanted quotes and gives fills. One market, one session.

    `latency_s` is what a replay of the session is to assume from a decision to its arrival, there and back.

    All methods are called from the session's event loop. `quote` must return at once: what takes time happens in the
    broker's own tasks, and a newer `quote` replaces one that has not been sent yet.
    """

    latency_s: float

    async def start(self) -> Holdings:
        """Connect, cancel own orders that are left from before, and return what the account holds."""
        ...

    def on_event(self, event: Event) -> None:
        """See the market's next event, before the session does."""
        ...

    def quote(self, wanted: Wanted, now_ns: int) -> None:
        """Want these orders in the market from now on, in place of all others."""
        ...

    def take_fills(self, now_ns: int) -> Sequence[Fill]:
        """Return the fills that have become known up to `now_ns` and were not returned before."""
        ...

    def in_flight(self) -> tuple[float, float]:
        """Return the units (bid, ask) of all orders that could still be filled, cancels not yet confirmed included."""
        ...

    def open_orders(self) -> tuple[OpenOrder, ...]:
        """Return the own orders that may be in the market, as far as they are known."""
        ...

    async def cancel_all(self) -> None:
        """Cancel every own order and wait until the venue has confirmed it."""
        ...

    async def interrupted(self) -> None:
        """Wait until messages about own orders have broken, since the last call; on paper they never do."""
        ...

    async def reconcile(self) -> Holdings:
        """Wait until messages flow, and ask the venue again for holdings and orders."""
        ...

    async def close(self) -> None:
        """Disconnect; orders are not touched."""
        ...


async def cancelled(broker: Broker, *, within_s: float) -> bool:
    """Cancel every own order and return whether the venue has confirmed it in time; what fails is logged."""
    try:
        async with asyncio.timeout(within_s):
            await broker.cancel_all()
    except TimeoutError:
        why = f"no answer for {within_s:g} s"
    except Exception as error:  # such as keys that were taken back: whoever leaves has fills and a reason to write down
        why = f"{type(error).__name__}: {error}"
    else:
        return True
    left = [f"{o.order_id} ({o.side:+d}, {o.left:g} units at {o.price:g})" for o in broker.open_orders()]
    log.error("%s; may still rest at the venue: %s", why, ", ".join(left) or "not known")
    return False


async def closed(broker: Broker, *, within_s: float) -> None:
    """Disconnect, or give that up in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await broker.close()


def booked(account: Holdings, fills: Sequence[Fill]) -> Holdings:
    """Return what the account holds after fills."""
    cash, inventory = account.cash, account.inventory
    for fill in fills:
        cash -= fill.side * fill.size * fill.price + fill.fee
        inventory += fill.side * fill.size
    return Holdings(cash=cash, inventory=inventory)


def tell_difference(whose: str, expected: Holdings, held: Holdings) -> None:
    """Log where the venue tells another account than expected."""
    for name in ("cash", "inventory"):
        ours, theirs = getattr(expected, name), getattr(held, name)
        if not math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-9):
            log.warning("%s: %s has %.10g, the venue %.10g, which counts", name, whose, ours, theirs)
