"""An order's place in the queue of a recorded market: joining it, moving up, being filled.

What is recorded are the best prices with their sizes, and trades. The rule is the cautious one: who joins a price
stands behind all that is shown there, whoever cancels stood behind, and only trades and a shrinking size move an order
up. `side` is +1 for a bid and -1 for an ask: one formula serves both.
"""

import math
from typing import NamedTuple

import numpy as np

from hftgym.market.compile import formula
from hftgym.market.matching import FAR, takes

# Units; less than this is what rounding leaves of a difference of decimals, and counts as nothing.
DUST = 1e-9

# Reasons of fills, in the order of `hftgym.backtest.REASONS`.
CROSSED, QUEUE, THROUGH, PASSED = 0.0, 1.0, 2.0, 3.0


class Resting(NamedTuple):
    """One order in the market."""

    price: float  # quote currency
    left: float  # units; 0 where there is no order
    ahead: float  # units that stand before it; inf where that has not been seen yet


class Filled(NamedTuple):
    """What one event filled of one order."""

    size: float  # units; 0 if nothing
    price: float
    reason: float


class Touch(NamedTuple):
    """The recorded best prices, and the units shown there."""

    bid: float
    bid_size: float
    ask: float
    ask_size: float


@formula
def on_grid(price, side, steps, per_unit):
    """Return a quote moved away from the mid to the price grid, whose step is steps / per_unit; steps = 0: no grid.

    Both are whole numbers, so the result is the double nearest to the decimal that a venue would send, and may be
    compared with recorded prices. A price within 1e-6 of a step counts as being on it. What crosses or withdraws has
    no place on a grid.
    """
    k = side * np.floor(side * (price * per_unit / steps) + 1e-6)  # math.floor would make an integer, which may not fit
    return k * steps / per_unit if (steps > 0.0) & (abs(price) < FAR / 2.0) else price


@formula
def own_best(touch, side):
    """Return (price, units) of the best quotes on one's own side."""
    return (touch.bid if side > 0.0 else touch.ask), (touch.bid_size if side > 0.0 else touch.ask_size)


@formula
def opposite_best(touch, side):
    """Return (price, units) of the best quotes that an order of this side would take."""
    return (touch.ask if side > 0.0 else touch.bid), (touch.ask_size if side > 0.0 else touch.bid_size)


@formula
def arrive(resting, side, price, size, touch):
    """Return (Resting, units taken, units newly quoted) after an order for `size` units has replaced the resting one.

    At the same price what is left of the old order keeps its place, and is not filled up again. One that arrives at or
    beyond the opposite best price takes what is shown there, and its rest is cancelled. Any other joins its price: at
    the best price behind what is shown, before it with nothing ahead, behind it with a queue that nobody can see yet.
    """
    best, shown = own_best(touch, side)
    offer, offered = opposite_best(touch, side)
    size = size if (side * price > -FAR / 2.0) & (size > DUST) else 0.0  # withdrawn, or no room
    same = (resting.left > 0.0) & (price == resting.price)
    crosses = takes(price, side, offer) & (not same)
    kept = resting.left if resting.left < size else size
    taken = (size if size < offered else offered) if crosses else 0.0
    behind = shown if price == best else (0.0 if side * (price - best) > 0.0 else math.inf)
    left = kept if same else (0.0 if crosses else size)
    after = Resting(price, left, resting.ahead if same else behind)
    return after, taken, (0.0 if same else size)


@formula
def after_trade(resting, side, price, size):
    """Return (Resting, Filled) after market orders of `size` units have traded against this side."""
    through = side * (resting.price - price) > 0.0
    at = price == resting.price
    open_to = size if through else (size - resting.ahead if at else 0.0)
    open_to = open_to if open_to > DUST else 0.0
    filled = open_to if open_to < resting.left else resting.left
    gone = size if at else (math.inf if through else 0.0)
    ahead = resting.ahead - gone if resting.ahead > gone else 0.0
    reason = THROUGH if through else QUEUE
    left = resting.left - filled
    return Resting(resting.price, left if left > DUST else 0.0, ahead), Filled(filled, resting.price, reason)


@formula
def after_quote(resting, side, touch):
    """Return (Resting, Filled) after the best prices have changed.

    An opposite best price at or beyond the order's own has met it. At its price the queue is no longer than what is
    shown; where the best price has fallen behind it, there is none.
    """
    best, shown = own_best(touch, side)
    offer, _ = opposite_best(touch, side)
    filled = resting.left if takes(resting.price, side, offer) else 0.0
    most = shown if resting.price == best else (0.0 if side * (resting.price - best) > 0.0 else math.inf)
    ahead = resting.ahead if resting.ahead < most else most
    return Resting(resting.price, resting.left - filled, ahead), Filled(filled, resting.price, PASSED)
