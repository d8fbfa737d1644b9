"""The optimum itself, looked up."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hftgym.observation import CLIP_SD
from hftgym.params import EnvParams, as_params
from hftgym.policies.base import (
    CROSS,
    WITHDRAW,
    Policy,
    action_of_quote,
    checked_observation,
    feature,
    pair,
    ticks_left,
    units_held,
)
from hftgym.policies.belief import FIRST_BELIEF, BeliefSolution, between, next_belief, solve_belief
from hftgym.policies.recursion import Solution, solve

_Memory = tuple[NDArray[np.float64], NDArray[np.float64]]


class OptimalPolicy(Policy):
    """Quote what the exact recursion over (tick, inventory) says: the ceiling of every comparison.

    No policy that does not look at the price earns more in expectation. The market is solved once, at construction
    (under a tenth of a second for the default one; compiling takes two seconds the first time).

    With a hidden drift (`regime_drift` > 0) the recursion is over the belief in it too (`hftgym.policies.belief`: a
    second per 250,000 states), and the policy is recurrent: its state is (belief, price level), float64 (N,) each, the
    probability of the regime +1 in the coming tick and the mid as a multiple of the initial price. Call `predict` once
    per tick, with the state that it returned.

    Args:
        params: Market; None is the default one.

    Attributes:
        solution: Values and quotes by tick and inventory, a `recursion.Solution`; by belief too, a
            `belief.BeliefSolution`, with a hidden drift.
        optimum: J*, the expected reward of an episode without inventory at its start, in quote currency.

    Raises:
        ValueError: The recursion does not cover the market.
    """

    def __init__(self, params: EnvParams | None = None) -> None:
        self.params = as_params(params)
        self.solution: Solution | BeliefSolution
        self.solution = solve_belief(self.params) if self.params.regime_drift > 0 else solve(self.params)
        self.optimum = self.solution.optimum
        bid, ask = self.solution.bid_offset, self.solution.ask_offset
        self._actions = pair(action_of_quote(bid, self.params), action_of_quote(ask, self.params))

    def actions(self, observations: NDArray[np.float32]) -> NDArray[Any]:
        """Return the optimal (bid, ask) actions without memory; inventory and time are rounded to the nearest state."""
        return self._at(observations, np.full(len(observations), FIRST_BELIEF))

    def predict(
        self,
        observation: ArrayLike,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.float32], tuple[np.ndarray, ...] | None]:
        """Return (action, state) for one observation or a batch, as `Policy.predict`.

        With a hidden drift the belief is updated by the feature last_return, except where there is no state or
        `episode_start` is True: there it starts at 1/2.

        Raises:
            ValueError: The observation is not as it must be, or the state is of another number of environments.
        """
        if not isinstance(self.solution, BeliefSolution):
            return super().predict(observation, state, episode_start, deterministic)
        observations = checked_observation(observation)
        batch = np.atleast_2d(observations)
        belief, level = self._remember(batch, state, episode_start)
        actions = self._at(batch, belief)
        return (actions if observations.ndim == 2 else actions[0]), (belief, level)

    def _remember(
        self, observations: NDArray[np.float32], state: tuple[np.ndarray, ...] | None, episode_start: np.ndarray | None
    ) -> _Memory:
        """Return (belief, price level) with the last return in them."""
        count = len(observations)
        first, level = np.full(count, FIRST_BELIEF), np.ones(count)
        if state is None:
            return first, level
        if len(state) != 2 or any(np.shape(part) != (count,) for part in state):
            shapes = [np.shape(part) for part in state]
            raise ValueError(f"state must be (belief, price level), each of the shape ({count},), got {shapes}")
        # The feature is a fraction of the last price; the drift is one of the initial price.
        move = feature(observations, "last_return").astype(np.float64) * CLIP_SD * state[1]
        belief = next_belief(state[0], move, self.params)
        moved = state[1] + move * self.params.nominal_volatility
        start = np.broadcast_to(False if episode_start is None else np.asarray(episode_start, dtype=bool), (count,))
        return np.where(start, first, belief), np.where(start, level, moved)

    def _at(self, observations: NDArray[np.float32], belief: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the actions of the solution at every environment's tick, inventory and belief."""
        horizon, limit = self.params.horizon, self.params.inventory_limit
        tick = horizon - np.rint(ticks_left(observations, self.params)).astype(np.int64)
        inventory = np.rint(units_held(observations, self.params)).astype(np.int64)
        where = np.clip(tick, 0, horizon - 1), np.clip(inventory, -limit, limit) + limit
        if not isinstance(self.solution, BeliefSolution):
            return self._actions[where]
        low, share = between(self.solution.belief, belief)
        left, right = self._actions[*where, low], self._actions[*where, low + 1]
        share = share[:, None]
        mixed = (left + share * (right - left)).astype(np.float32)
        # Between a quote that rests and one that crosses or is absent there is nothing: the nearer one is taken.
        ends = np.isin(left, (CROSS, WITHDRAW)) | np.isin(right, (CROSS, WITHDRAW))
        return np.where(ends, np.where(share < 0.5, left, right), mixed)
