"""Quotes that move against the inventory in a straight line: two parameters that come close to the optimum."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hftgym.params import EnvParams, as_params
from hftgym.policies.base import Policy, action_of_offset, checked_number, pair, units_held

# Best linear skew of the default market: `recursion.best_linear_skew(EnvParams())` gives J = 29.794 there.
BEST_BASE, BEST_SKEW = 2.414, 0.239


class LinearSkewPolicy(Policy):
    """Rest the bid at base + skew q and the ask at base - skew q half-spreads from the mid, q the inventory in units.

    On the default market it reaches 99.98 % of the exact optimum: it, and not the constant quote, is what a learned
    policy should be compared with. Quotes outside the market's offset range are limited to it.

    Args:
        base: Offset without inventory, in half-spreads.
        skew: Change of the offset per unit of inventory, in half-spreads (>= 0). The defaults are the best pair of the
            default market, by the exact recursion.
        params: Market; None is the default one.

    Raises:
        ValueError: `base` or `skew` is outside its range.
    """

    def __init__(self, base: float = BEST_BASE, skew: float = BEST_SKEW, params: EnvParams | None = None) -> None:
        self.params = as_params(params)
        low, high = self.params.offset_low, self.params.offset_high
        allowed = f"a number from offset_low = {low:g} to offset_high = {high:g} half-spreads"
        self.base = checked_number("base", base, low=low, high=high, allowed=allowed)
        self.skew = checked_number("skew", skew, low=0.0, high=math.inf, allowed="a finite number of at least 0")

    def actions(self, observations: NDArray[np.float32]) -> NDArray[Any]:
        """Return (bid, ask) actions from the inventory alone."""
        shift = self.skew * units_held(observations, self.params)
        bid = action_of_offset(self.base + shift, self.params)
        return pair(bid, action_of_offset(self.base - shift, self.params))
