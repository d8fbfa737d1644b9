"""The optimum itself, looked up."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hftgym.params import EnvParams, as_params
from hftgym.policies.base import Policy, action_of_quote, pair, ticks_left, units_held
from hftgym.policies.recursion import solve


class OptimalPolicy(Policy):
    """Quote what the exact recursion over (tick, inventory) says: the ceiling of every comparison.

    No policy that does not look at the price earns more in expectation. The market is solved once, at construction
    (under a tenth of a second for the default one; compiling takes two seconds the first time).

    Args:
        params: Market; None is the default one.

    Attributes:
        solution: Values and quotes by tick and inventory, a `recursion.Solution`.
        optimum: J*, the expected reward of an episode without inventory at its start, in quote currency.

    Raises:
        ValueError: The recursion does not cover the market.
    """

    def __init__(self, params: EnvParams | None = None) -> None:
        self.params = as_params(params)
        self.solution = solve(self.params)
        self.optimum = self.solution.optimum
        bid, ask = self.solution.bid_offset, self.solution.ask_offset
        self._actions = pair(action_of_quote(bid, self.params), action_of_quote(ask, self.params))

    def actions(self, observations: NDArray[np.float32]) -> NDArray[Any]:
        """Return the optimal (bid, ask) actions; inventory and time are rounded to the nearest state."""
        horizon, limit = self.params.horizon, self.params.inventory_limit
        tick = horizon - np.rint(ticks_left(observations, self.params)).astype(np.int64)
        inventory = np.rint(units_held(observations, self.params)).astype(np.int64)
        return self._actions[np.clip(tick, 0, horizon - 1), np.clip(inventory, -limit, limit) + limit]
