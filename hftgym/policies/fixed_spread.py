"""The same quote on both sides, always."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hftgym.params import EnvParams, as_params
from hftgym.policies.base import Policy, action_of_offset, checked_number, pair

# Best constant of the default market, to two decimals: `recursion.best_constant(EnvParams())` gives J = 23.632 there.
BEST_OFFSET = 2.33


class FixedSpreadPolicy(Policy):
    """Rest a bid and an ask `offset` half-spreads from the mid, whatever the inventory.

    The yardstick below every policy that controls its inventory.

    Args:
        offset: Distance from the mid in half-spreads, within the market's offset range. The default is the best
            constant of the default market, by the exact recursion.
        params: Market; None is the default one.

    Raises:
        ValueError: `offset` is outside [offset_low, offset_high].
    """

    def __init__(self, offset: float = BEST_OFFSET, params: EnvParams | None = None) -> None:
        self.params = as_params(params)
        low, high = self.params.offset_low, self.params.offset_high
        allowed = f"a number from offset_low = {low:g} to offset_high = {high:g} half-spreads"
        self.offset = checked_number("offset", offset, low=low, high=high, allowed=allowed)

    def actions(self, observations: NDArray[np.float32]) -> NDArray[Any]:
        """Return the same (bid, ask) action for every observation."""
        side = np.full(len(observations), action_of_offset(self.offset, self.params))
        return pair(side, side)
