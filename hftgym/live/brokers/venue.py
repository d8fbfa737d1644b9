"""What the common core of the brokers asks of an adapter, and what an adapter tells it."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Literal, NamedTuple, Protocol

VenueState = Literal["pending", "open", "filled", "cancelled", "rejected"]
# A price or size within this share of a step counts as being on it: binary fractions of decimals.
_ON_STEP = Decimal("1e-6")


class VenueError(Exception):
    """A request failed; the class says what that means, the text never holds a key."""


class RejectedError(VenueError):
    """The venue has refused the order: it never was in the market."""


class UnknownOrderError(VenueError):
    """The venue does not know the order that is to be cancelled: filled, cancelled, or not there yet."""


class BusyError(VenueError):
    """The venue has refused the request for a while (429): nothing was done.

    Args:
        text: What the venue said.
        retry_s: How long to send nothing.
    """

    def __init__(self, text: str, *, retry_s: float = 1.0) -> None:
        super().__init__(text)
        self.retry_s = retry_s


class LostError(VenueError):
    """Nobody knows whether the request was carried out: a timeout, a broken connection, an unreadable answer."""


class Ticket(NamedTuple):
    """An order as it is sent."""

    order_id: str  # the client's own
    side: int  # +1 a bid, -1 an ask
    price: float
    size: float  # units
    taking: bool = False  # take what is there and cancel the rest; otherwise only rest (post-only)


class Report(NamedTuple):
    """What the venue says about an order. It may come late, twice or in the wrong order."""

    order_id: str  # "" where the venue gives only its own
    venue_id: str
    state: VenueState
    filled: float  # units so far
    side: int = 0
    price: float = 0.0
    size: float = 0.0


class Execution(NamedTuple):
    """One execution of an order, named by the venue so that it can be counted once."""

    trade_id: str
    order_id: str  # "" where the venue gives only its own
    venue_id: str
    side: int
    price: float
    size: float  # units
    fee: float  # quote currency; negative is a rebate


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What a venue demands of prices and sizes.

    Raises:
        ValueError: A step is not above 0, or a minimum is below it.
    """

    price_step: float  # quote currency
    lot: float  # units
    min_size: float = 0.0  # units
    min_notional: float = 0.0  # quote currency

    def __post_init__(self) -> None:
        for name in ("price_step", "lot"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be finite and above 0, got {getattr(self, name)!r}")
        for name in ("min_size", "min_notional"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be finite and at least 0, got {getattr(self, name)!r}")

    def price(self, price: float, *, side: int) -> float:
        """Return a price rounded away from the other side to the venue's steps: the double nearest to its decimal."""
        return _stepped(price, self.price_step, ROUND_FLOOR if side > 0 else ROUND_CEILING)

    def size(self, size: float, *, price: float) -> float:
        """Return a size rounded down to lots, or 0 where the venue would refuse it as too small."""
        lots = _stepped(size, self.lot, ROUND_FLOOR)
        small = lots < self.min_size or lots * price < self.min_notional
        return 0.0 if small else lots


def _stepped(value: float, step: float, rounding: str) -> float:
    exact = Decimal(repr(step))
    ratio = Decimal(repr(value)) / exact
    nearest = ratio.to_integral_value(ROUND_HALF_EVEN)
    whole = nearest if abs(ratio - nearest) <= _ON_STEP else ratio.to_integral_value(rounding)
    return float(whole * exact)


class Listener(Protocol):
    """Who hears what the venue sends by itself. All calls come from the event loop."""

    def on_report(self, report: Report) -> None:
        """Hear about an order."""
        ...

    def on_execution(self, execution: Execution) -> None:
        """Hear about an execution."""
        ...

    def on_connection(self, *, up: bool) -> None:
        """Hear that the venue's stream of messages begins, or that it has broken."""
        ...


class Venue(Protocol):
    """An adapter: one market of one account, requests that raise a `VenueError`, messages to a listener."""

    name: str
    symbol: str
    market: Market
    requests_per_s: float
    burst: int  # requests that may be sent at once

    async def load(self) -> None:
        """Log in and learn `market`."""
        ...

    async def connect(self, listener: Listener) -> None:
        """Begin to listen; return when messages flow."""
        ...

    async def place(self, ticket: Ticket) -> Report:
        """Send an order and return the venue's answer."""
        ...

    async def cancel(self, order_id: str, venue_id: str) -> Report | None:
        """Cancel an order; None where the venue only says that it will."""
        ...

    async def look(self, order_id: str, venue_id: str, since_ns: int) -> tuple[Report | None, Sequence[Execution]]:
        """Return an order, None if the venue knows none, and then all its executions since (ns since 1970)."""
        ...

    async def open_orders(self) -> Sequence[Report]:
        """Return all open orders of this market."""
        ...

    async def balance(self) -> tuple[float, float]:
        """Return (cash in quote currency, units held)."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...
