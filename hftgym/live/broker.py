"""What a broker is: the same protocol for paper and for real orders."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from hftgym.live.events import Event


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

    async def cancel_all(self) -> None:
        """Cancel every own order and wait until the venue has confirmed it."""
        ...

    async def reconcile(self) -> Holdings:
        """Ask the venue again for holdings and orders, after a reconnect."""
        ...

    async def close(self) -> None:
        """Disconnect; orders are not touched."""
        ...
