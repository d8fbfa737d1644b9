"""What a session may do at most, whatever its policy wants: the limits, and the gate that every quote passes.

The gate is arithmetic on what it is told, without clocks, files or waiting. The position cannot exceed its limit,
because every unit that could still be filled counts as if it were: orders in the market, orders on their way, and
cancelled ones until the venue has confirmed that.
"""

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

from hftgym.live.broker import NOTHING, Wanted
from hftgym.live.kill import KillSwitch

__all__ = ["REASONS", "KillSwitch", "Reason", "RiskGate", "RiskLimits", "RiskView"]

Reason = Literal[
    "tripped",  # stopped for good
    "not finite",  # NaN, infinite, or a negative size, anywhere
    "crossed",  # the market's bid is not below its ask, or its mid is not between them: not a market to quote in
    "clock",  # the clock went back: how old the market data are is not known
    "stale",  # the market data are too old
    "latency",  # decisions take too long
    "order size",  # cut to the largest order
    "collar",  # too far from the mid
    "inventory",  # cut to what the limit leaves
    "rate",  # too many orders
]
REASONS: tuple[Reason, ...] = get_args(Reason)

_DUST = 1e-9  # units; less is what rounding leaves of a difference of decimals
_NO_ORDER = (0.0, 0.0)  # price, units
_AT_ANY_PRICE = 1e100  # the kernel's orders that take whatever is there are priced far beyond this


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskLimits:
    """What a session may do at most.

    Attributes:
        max_inventory: Units held, long or short, whatever is filled of the orders in flight.
        max_order_size: Units of one order; larger ones are cut.
        max_loss: Quote currency below the equity at the start; once reached the gate is tripped for good.
        max_orders_per_s: New orders a second on average, and at once; further ones are withdrawn. Cancels are free.
        collar: How far a quote may be from the mid, as a share of it; one outside is withdrawn, not moved. One that is
            to take at any price gets this limit. Nothing takes, or is quoted, where the spread itself is wider.
        max_data_age_s: Seconds since the last market data; above, everything is withdrawn until there are fresh ones.
        max_latency_s: Seconds that a decision may take, as the session measures it; above, everything is withdrawn.

    Raises:
        ValueError: A limit is not finite and above 0, or allows less than one order a second at once.
    """

    max_inventory: float
    max_order_size: float
    max_loss: float
    max_orders_per_s: float = 20.0
    collar: float = 0.01
    max_data_age_s: float = 5.0
    max_latency_s: float = 1.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, value in asdict(self).items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and math.isfinite(value) and value > 0):
                raise ValueError(f"RiskLimits.{name} must be a finite number above 0, got {value!r}")
        if self.max_orders_per_s < 1:
            raise ValueError(f"RiskLimits.max_orders_per_s must be at least 1, got {self.max_orders_per_s!r}")
        if self.collar >= 1:
            raise ValueError(f"RiskLimits.collar must be a share of the mid below 1, got {self.collar!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return the limits by name."""
        return asdict(self)


class RiskView(NamedTuple):
    """What the gate looks at, all of one moment: fills are booked before the orders in flight are counted."""

    now_ns: int
    mid: float
    bid: float
    ask: float
    inventory: float  # units
    in_flight_bid: float  # units of all bids that could still be filled, cancels not yet confirmed included
    in_flight_ask: float
    equity: float  # quote currency
    start_equity: float
    data_age_ns: int  # since the last market data were received
    latency_ns: int  # of the last decision; 0 in a replay


class RiskGate:
    """Cuts what a policy wants down to what the limits allow.

    A quote with the price and size of the last one is taken to be the same order as long as anything of its side is in
    flight: no more than that may be filled. Any other is a new order: it needs room beside all that is in flight, old
    orders until their end is confirmed included, and counts towards the rate. This holds for brokers that send at most
    one order a side until the next quote, and none for a repeated one while something is in flight; what a broker
    tops up by itself stays within the size allowed.

    Args:
        limits: What is allowed.

    Attributes:
        counts: How often each reason has cut something: a side, or for the reasons that withdraw everything, a quote.
        tripped: Why the gate has stopped for good; None while it has not.
        reason: The first reason that cut the last quote; "" if it passed as it was.
    """

    def __init__(self, limits: RiskLimits) -> None:
        self.limits = limits
        self.counts: Counter[Reason] = Counter(dict.fromkeys(REASONS, 0))
        self.tripped: str | None = None
        self.reason: Reason | Literal[""] = ""
        self._tokens = limits.max_orders_per_s
        self._filled_ns: int | None = None  # when the tokens were last counted
        self._last: dict[int, tuple[float, float]] = {1: _NO_ORDER, -1: _NO_ORDER}  # wanted and not withdrawn, by side

    def allow(self, wanted: Wanted, view: RiskView) -> Wanted:
        """Return what may be sent to the broker, side by side; a side of size 0 wants no order."""
        self.reason = ""
        if (reason := self._withdraws(wanted, view)) is not None:
            self._cut(reason)
            self._last[1] = self._last[-1] = _NO_ORDER
            return NOTHING
        self._refill(view.now_ns)
        if view.inventory > 0:  # the side that reduces the position gets the last token
            ask, ask_size = self._side(wanted.ask, wanted.ask_size, -1, view)
            bid, bid_size = self._side(wanted.bid, wanted.bid_size, 1, view)
        else:
            bid, bid_size = self._side(wanted.bid, wanted.bid_size, 1, view)
            ask, ask_size = self._side(wanted.ask, wanted.ask_size, -1, view)
        return Wanted(bid, ask, bid_size, ask_size)

    def trip(self, why: str) -> None:
        """Stop for good: nothing is allowed any more. The first reason stays."""
        if self.tripped is None:
            self.tripped = why

    def reset(self) -> None:
        """Allow orders again after a trip. Only a person decides this: no part of a session calls it."""
        self.tripped = None

    def _withdraws(self, wanted: Wanted, view: RiskView) -> Reason | None:
        """Return why nothing at all may be quoted; None if there is no reason. Trips the gate on a loss."""
        limits = self.limits
        _, mid, best_bid, best_ask, _, bids, asks, equity, start_equity, data_age_ns, latency_ns = view
        # A sum is finite only if every term is.
        known = math.isfinite(sum(wanted)) and math.isfinite(sum(view))
        if known and start_equity - equity >= limits.max_loss:
            self.trip(f"max_loss: lost {start_equity - equity:,.2f}, allowed is less than {limits.max_loss:,.2f}")
        reason: Reason | None = None
        if self.tripped is not None:
            reason = "tripped"
        elif not known or wanted.bid_size < 0 or wanted.ask_size < 0 or bids < 0 or asks < 0:
            reason = "not finite"
        elif not (0 < best_bid < best_ask and best_bid <= mid <= best_ask):
            reason = "crossed"
        elif data_age_ns < 0:
            reason = "clock"
        elif data_age_ns > limits.max_data_age_s * 1e9:
            reason = "stale"
        elif latency_ns > limits.max_latency_s * 1e9:
            reason = "latency"
        return reason

    def _side(self, price: float, size: float, side: Literal[1, -1], view: RiskView) -> tuple[float, float]:
        """Return the price and the units that may be quoted on one side, and remember what they are of."""
        if side * price > _AT_ANY_PRICE:
            price = view.mid * (1 + side * self.limits.collar)
        allowed = self._allowed(price, size, side, view) if size else 0.0
        self._last[side] = (price, size) if allowed else _NO_ORDER
        return (price, allowed) if allowed else _NO_ORDER

    def _allowed(self, price: float, size: float, side: Literal[1, -1], view: RiskView) -> float:
        limits = self.limits
        _, mid, best_bid, best_ask, inventory, bids, asks, _, _, _, _ = view
        # The best price of those that an order of this side takes from, and what is in flight beside it.
        best, in_flight = (best_ask, bids) if side > 0 else (best_bid, asks)
        at_most = limits.collar * mid * (1 + 1e-9)
        if not (-at_most <= price - mid <= at_most and -at_most <= best - mid <= at_most):
            self._cut("collar")
            return 0.0
        room = limits.max_inventory - side * inventory
        takes = side * (price - best) >= 0
        same = in_flight > _DUST and not takes and self._last[side] == (price, size)
        if same and in_flight > room + _DUST:
            self._cut("inventory")
            return 0.0
        if size > limits.max_order_size:
            self._cut("order size")
            size = limits.max_order_size
        most = room if same else room - in_flight
        if size > most:
            self._cut("inventory")
            size = most
        if size <= _DUST:
            return 0.0
        if not same and not self._take_token():
            return 0.0
        return size

    def _take_token(self) -> bool:
        if self._tokens < 1:
            self._cut("rate")
            return False
        self._tokens -= 1
        return True

    def _refill(self, now_ns: int) -> None:
        """Let time fill the bucket; a clock that goes back fills nothing and starts anew."""
        if self._filled_ns is not None and now_ns > self._filled_ns:
            rate = self.limits.max_orders_per_s
            self._tokens = min(rate, self._tokens + (now_ns - self._filled_ns) * 1e-9 * rate)
        self._filled_ns = now_ns

    def _cut(self, reason: Reason) -> None:
        self.counts[reason] += 1
        self.reason = self.reason or reason
