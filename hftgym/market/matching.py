"""When a quote trades, and at what price. `side` is +1 for a bid and -1 for an ask: one formula serves both.

Quotes are absolute prices, so a withdrawn, resting, crossing or outdated quote is the same number compared in the same
way.
"""

from hftgym.market.compile import formula
from hftgym.market.random import log, uniform

# Beyond every price, and still finite when it is divided by a half-spread.
FAR = 1e290


@formula
def quote(action, side, mid, half_spread, p):
    """Return the absolute price that an action in [-1, 1] asks for on one side.

    -1 and below crosses (a price beyond every offer), +1 and above withdraws (a price that nothing reaches). Between
    them the offset from the mid runs linearly from `offset_low` to `offset_high` half-spreads. A NaN gives NaN, which
    no comparison accepts: it withdraws.
    """
    offset = p.offset_low + (0.5 * (action + 1.0)) * p.offset_range
    price = mid - side * (offset * half_spread)
    price = -side * FAR if action >= 1.0 else price
    return side * FAR if action <= -1.0 else price


@formula
def reach(word, p):
    """Return how far from the mid this tick's market orders trade on one side, in half-spreads.

    A quote at distance d is filled if d <= reach, which has the probability 1 - exp(-lambda(d)) (`poisson`) or
    min(1, lambda(d)) (`linear`) with lambda(d) = A exp(-kappa d): the inverse of that function at a uniform draw. The
    draw does not look at the quote, so a wider quote never fills more on the same draws.
    """
    u = uniform(word)
    threshold = u if p.linear != 0.0 else -log(u)
    return (p.log_intensity - log(threshold)) * p.per_decay


@formula
def excited_reach(reached, excitement, p):
    """Return the reach under an intensity of A (1 + e)."""
    return reached + log(1.0 + excitement) * p.per_decay


@formula
def next_excitement(excitement, reached, p):
    """Return e one tick later (Hawkes 1971): it decays, and grows where orders have come as far as the mid."""
    return p.excitation_kept * excitement + (p.excitation if reached >= 0.0 else 0.0)


@formula
def room(inventory, side, p):
    """Return how much of a one-unit order the inventory limit allows, in units."""
    left = p.inventory_limit - side * inventory
    left = left if left < 1.0 else 1.0
    return left if left > 0.0 else 0.0


@formula
def execution(price, side, touch, extreme, size):
    """Return (units traded, price paid or received, 1.0 if as taker) of one quote; the price is 0 without a trade.

    Args:
        price: The quote.
        side: +1 for a bid, -1 for an ask.
        touch: The opposite best price; a quote at or beyond it takes.
        extreme: The furthest price at which the market orders of this tick trade on this side.
        size: Units, 0 where the inventory limit leaves no room.
    """
    taker = side * (price - touch) >= 0.0
    resting = side * (price - extreme) >= 0.0
    trades = (taker | resting) & (size > 0.0)
    at = touch if taker else price
    return (size if trades else 0.0), (at if trades else 0.0), (1.0 if taker else 0.0)
