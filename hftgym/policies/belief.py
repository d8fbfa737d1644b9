"""The exact optimum of a market with a hidden drift, by backward recursion over (tick, inventory, belief).

A hidden regime, +1 or -1, adds s standard deviations to every move of the mid or takes them away, and changes its sign
with probability p after the tick. Returns are all that tells of it, and b, the probability of +1 given them, is all
there is to know (Wonham 1964; Hamilton 1989). A move of z standard deviations makes of b

    u = b / (b + (1 - b) exp(-2 s z)),    b' = u (1 - p) + (1 - u) p,

and z is N(s, 1) with probability b, N(-s, 1) otherwise: its expectation is a Gauss-Hermite sum per regime, b' falls
between two points of a grid, and both together are one matrix. Inventory q after the fills earns q (2 b - 1) m, with m
the drift in currency, while the mid moves. Fills do not tell of the regime, so the rest is `hftgym.policies.recursion`:

    W(q, b) = E[V(q, b')] - phi q^2 + q (2 b - 1) m,

and the best pair of quotes in W. Spreads and fees are fractions of the price, whose mean now depends on the belief. In
an arithmetic market without fees that cancels: mirrored moves with mirrored quotes earn the same spreads at prices as
far below the initial one as they were above it. So the optimum is what its own quotes earn there, exactly; policies
that look at the level of the price besides could gain a little from it, as they could without a regime. A geometric
market moves its inventory's gains with the price too, which does not cancel, and is refused.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hftgym.params import EnvParams
from hftgym.policies.recursion import LARGEST_TABLE, covered, flow_of, side_of
from hftgym.policies.recursion_kernel import optimise_tick

# The belief before the first move: the first regime is drawn with equal chance.
FIRST_BELIEF = 0.5
_REGIME = ("regime_switching", "regime_drift")


@dataclass(frozen=True)
class BeliefSolution:
    """The optimum of a market with a hidden drift. Arrays are read-only; column j is the inventory j - inventory_limit.

    Attributes:
        belief: Probabilities of the regime +1 that the tables stand at, (B,), evenly spaced, 1/2 in the middle.
        value: Expected reward from tick t on, (T + 1, 2Q + 1, B) in quote currency.
        bid_offset: Best bid, (T, 2Q + 1, B) in half-spreads from the mid; -1 crosses, +inf is withdrawn.
        ask_offset: Best ask, likewise.
    """

    belief: NDArray[np.float64]
    value: NDArray[np.float64]
    bid_offset: NDArray[np.float64]
    ask_offset: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Protect the arrays."""
        for array in (self.belief, self.value, self.bid_offset, self.ask_offset):
            array.flags.writeable = False

    @property
    def optimum(self) -> float:
        """J*, the expected reward of an episode that starts without inventory, in quote currency."""
        return float(self.value[0, self.value.shape[1] // 2, self.belief.size // 2])


def solve_belief(params: EnvParams | None = None, *, grid: int = 61, nodes: int = 32) -> BeliefSolution:
    """Return the optimal quotes and values of a market with a hidden drift.

    Args:
        params: Market; None is the default one, which has the wrong `price_model`.
        grid: Beliefs in the tables, odd and at least 5. 61 leave 1e-6 of the optimum in error where it was tried, and
            1e-4 where the regime never switches.
        nodes: Points of the Gauss-Hermite sum per regime, 1 to 100.

    Raises:
        ValueError: The market has a feature that the recursion does not cover, or an argument is outside its range.
    """
    params = _checked(params, grid, nodes)
    horizon, limit = params.horizon, params.inventory_limit
    belief = _beliefs(params, grid)
    following = _transition(belief, params, nodes).T
    value = np.zeros((horizon + 1, 2 * limit + 1, grid))
    bid, ask = np.empty((2, horizon, 2 * limit + 1, grid))
    held = np.arange(-limit, limit + 1.0)[:, None]
    drift = params.regime_drift * params.volatility * params.initial_price / params.half_spread
    earned = held * (2.0 * belief - 1.0) * drift - params.inventory_penalty * held**2
    inner = side_of(params, 1.0), side_of(params, -1.0), flow_of(params)
    for t in range(horizon - 1, -1, -1):
        optimise_tick(value[t + 1] @ following + earned, *inner, value[t], bid[t], ask[t])
    return BeliefSolution(belief, value * params.half_spread, bid, ask)


def next_belief(belief: ArrayLike, move: ArrayLike, params: EnvParams) -> NDArray[np.float64]:
    """Return the probability of the regime +1 in the next tick.

    Args:
        belief: That of this tick, before its move is known.
        move: The move of the mid in this tick, in nominal standard deviations (`EnvParams.nominal_volatility`) of a
            move of the initial price.
        params: Market.
    """
    belief, move = np.asarray(belief, dtype=np.float64), np.asarray(move, dtype=np.float64)
    odds = np.exp(-2.0 * _strength(params) * move)
    known = belief / (belief + (1.0 - belief) * odds)
    return known * (1.0 - params.regime_switching) + (1.0 - known) * params.regime_switching


def _strength(params: EnvParams) -> float:
    """Return s: the drift is in multiples of the first shock's deviation alone."""
    return params.regime_drift / float(np.hypot(1.0, params.microstructure_noise))


def _checked(params: EnvParams | None, grid: int, nodes: int) -> EnvParams:
    """Return the parameters, or raise if the belief recursion would be wrong or too large for them."""
    params = covered(params, also=_REGIME)
    for name, needed in (("price_model", "arithmetic"), ("price_steps", "gaussian")):
        if getattr(params, name) != needed:
            raise ValueError(
                f"the belief recursion does not cover {name}={getattr(params, name)!r} with a hidden drift: it must "
                f"be {needed!r}"
            )
    if grid < 5 or grid % 2 == 0:
        raise ValueError(f"grid must be odd and at least 5, so that 1/2 is on it, got {grid}")
    if not 1 <= nodes <= 100:
        raise ValueError(f"nodes must be from 1 to 100, got {nodes}")
    if (params.horizon + 1) * (2 * params.inventory_limit + 1) * grid > LARGEST_TABLE:
        raise ValueError(
            f"(horizon + 1) * (2 * inventory_limit + 1) * grid must be at most {LARGEST_TABLE} for the belief "
            f"recursion, got horizon={params.horizon}, inventory_limit={params.inventory_limit}, grid={grid}"
        )
    return params


def _beliefs(params: EnvParams, grid: int) -> NDArray[np.float64]:
    """Return the grid: no return can make one surer of the next regime than its switching allows."""
    switching = params.regime_switching
    # With a switching of 1/2 the belief never moves; the grid must have a width all the same.
    low = min(switching, 1.0 - switching, 0.49)
    return np.linspace(low, 1.0 - low, grid)


def _transition(belief: NDArray[np.float64], params: EnvParams, nodes: int) -> NDArray[np.float64]:
    """Return the matrix (B, B) that takes values at the next beliefs to their expectation at each belief."""
    x, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()
    matrix = np.zeros((belief.size, belief.size))
    for regime, chance in ((1.0, belief), (-1.0, 1.0 - belief)):
        after = next_belief(belief[:, None], x + regime * _strength(params), params)
        for k in range(nodes):
            matrix += (chance * weights[k])[:, None] * _interpolation(belief, after[:, k])
    return matrix


def _interpolation(belief: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix (len(points), B) of interpolation in tables that stand at `belief`.

    Cubic, by Lagrange's formula on the four nearest beliefs: values are convex in the belief, so that a straight line
    is too high at every tick, and the errors of all ticks add up.
    """
    place = (points - belief[0]) / (belief[1] - belief[0])
    first = np.clip(np.floor(place) - 1, 0, belief.size - 4).astype(np.int64)
    x = place - first
    matrix = np.zeros((points.size, belief.size))
    for i in range(4):
        others = [j for j in range(4) if j != i]
        matrix[np.arange(points.size), first + i] = np.prod([(x - j) / (i - j) for j in others], axis=0)
    return matrix


def between(belief: NDArray[np.float64], points: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return (i, share): each point is at (1 - share) belief[i] + share belief[i + 1], limited to the grid."""
    place = (points - belief[0]) / (belief[1] - belief[0])
    low = np.clip(np.floor(place), 0, belief.size - 2).astype(np.int64)
    return low, np.clip(place - low, 0.0, 1.0)
