"""When a quote trades, and at what price. `side` is +1 for a bid and -1 for an ask: one formula serves both.

Quotes are absolute prices, so a withdrawn, resting, crossing or outdated quote is the same number compared in the same
way.
"""

import math

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
def reach(word, excitement, p):
    """Return how far from the mid this tick's market orders trade on one side, in half-spreads.

    A quote at distance d is filled if d <= reach, which has the probability 1 - exp(-lambda(d)) (`poisson`) or
    min(1, lambda(d)) (`linear`) with lambda(d) = A (1 + e) exp(-kappa d): the inverse of that function at a uniform
    draw. The draw does not look at the quote, so a wider quote never fills more on the same draws.
    """
    u = uniform(word)
    threshold = u if p.linear != 0.0 else -log(u)
    return (p.log_intensity - log(threshold / (1.0 + excitement))) * p.per_decay


@formula
def next_excitement(excitement, reached, p):
    """Return e one tick later (Hawkes 1971): it decays, and grows where orders have come as far as the mid."""
    return p.excitation_kept * excitement + (p.excitation if reached >= 0.0 else 0.0)


@formula
def room(inventory, size, side, p):
    """Return how much of an order of `size` units the inventory limit allows."""
    left = p.inventory_limit - side * inventory
    left = left if left < size else size
    return left if left > 0.0 else 0.0


@formula
def takes(price, side, touch):
    """Return whether a quote stands at or beyond the opposite best price."""
    return side * (price - touch) >= 0.0


@formula
def filled_resting(price, side, extreme, size, order):
    """Return the units filled of a resting quote.

    Args:
        price: The quote.
        side: +1 for a bid, -1 for an ask.
        extreme: The furthest price at which the market orders of this tick trade on this side.
        size: Units of the quote.
        order: Units that the market order takes at most.
    """
    part = size if size < order else order
    return part if side * (price - extreme) >= 0.0 else 0.0


@formula
def slippage(size, half_spread, p):
    """Return how much worse than the touch the mean price of a crossing order is, in quote currency per unit.

    The book has `level_depth` units at the touch and at every further level, `level_spacing` half-spreads apart: n full
    levels and a rest of the next one.
    """
    n = math.floor(size * p.per_level_depth)
    beyond = p.level_depth * (0.5 * n * (n - 1.0)) + (size - n * p.level_depth) * n if n > 0.0 else 0.0
    return beyond / size * (p.level_spacing * half_spread) if size > 0.0 else 0.0


@formula
def order_size(action, p):
    """Return the units that a size action in [-1, 1] asks for; NaN asks for nothing."""
    share = 0.5 * (action + 1.0)
    share = share if share > 0.0 else 0.0
    return p.order_size * (share if share < 1.0 else 1.0)
