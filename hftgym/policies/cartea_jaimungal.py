"""The market-making problem of Cartea & Jaimungal, solved by a matrix exponential."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hftgym.params import EnvParams, as_params
from hftgym.policies.base import WITHDRAW, Policy, action_of_offset, checked_number, pair, ticks_left, units_held

_LARGEST_TABLE = 20_000_000  # states; two tables of them are 320 MB
_LARGEST_LIMIT = 500  # the matrix has (2 limit + 1)^2 entries
_TERMS = 20  # of the exponential's series: 1 / 20! is below the resolution of float64
_SMALLEST = 1e-290  # below it a float64 loses digits


class CarteaJaimungalPolicy(Policy):
    """Quote the optimum of the continuous-time problem: expected wealth less a running charge on inventory^2.

    Á. Cartea, S. Jaimungal and J. Penalva, "Algorithmic and High-Frequency Trading", Cambridge University Press (2015),
    section 10.2. With h(t, q) the value of q units beyond cash and their price, a fee f per fill, and

        h = ln(w) / k,    w(t) = exp(B (T - t)) z,    z(q) = exp(-alpha k q^2)
        B: -phi k q^2 on the diagonal, A exp(-1 - k f) beside it

    the best quotes are

        bid offset = 1/k + f - (h(t, q + 1) - h(t, q)),    ask offset = 1/k + f - (h(t, q - 1) - h(t, q))

    in this market's units: q in units, t in ticks, A and phi per tick, all else in half-spreads (k = fill_decay). The
    fee is the maker fee on the mid. Offsets are limited to the market's range, and at the inventory limit the side that
    would breach it is withdrawn.

    A market in ticks is worth less than h(0, 0), because one tick fills at most one unit a side, and these quotes are
    not the best ones in it: in the default market their exact J is 29.475, of an optimum of 29.799 and an h(0, 0) of
    34.900. `OptimalPolicy` has the quotes that are.

    Args:
        params: Market; None is the default one. The whole table (t, q) is made at construction, in milliseconds.
        terminal_penalty: alpha, a charge on inventory^2 at the end, in half-spreads per unit^2 like `inventory_penalty`
            (>= 0); None takes the market's.

    Attributes:
        h: h(t, q) in quote currency, read-only (T + 1, 2Q + 1); column j is the inventory j - inventory_limit.

    Raises:
        ValueError: `terminal_penalty` is not a number of at least 0, or the market has more states, or values further
            apart, than float64 tables hold.
    """

    def __init__(self, params: EnvParams | None = None, *, terminal_penalty: float | None = None) -> None:
        self.params = _tractable(as_params(params))
        if terminal_penalty is None:
            terminal_penalty = self.params.terminal_penalty
        allowed = "a finite number of at least 0 (half-spreads per unit^2)"
        self.terminal_penalty = checked_number(
            "terminal_penalty", terminal_penalty, low=0.0, high=math.inf, allowed=allowed
        )
        h = _solved(self.params, self.terminal_penalty)
        self._actions = _quotes(h, self.params)
        self.h = h * self.params.half_spread
        self.h.flags.writeable = False

    def actions(self, observations: NDArray[np.float32]) -> NDArray[Any]:
        """Return (bid, ask) actions; inventory and time are rounded to the nearest state."""
        horizon, limit = self.params.horizon, self.params.inventory_limit
        tick = horizon - np.rint(ticks_left(observations, self.params)).astype(np.int64)
        inventory = np.rint(units_held(observations, self.params)).astype(np.int64)
        return self._actions[np.clip(tick, 0, horizon - 1), np.clip(inventory, -limit, limit) + limit]

    def value(self, t: int, q: int) -> float:
        """Return h(t, q), in quote currency: what the rest of the episode is worth to a holder of q units at tick t.

        Raises:
            ValueError: `t` is not a tick from 0 to the horizon, or `q` is beyond the inventory limit.
        """
        horizon, limit = self.params.horizon, self.params.inventory_limit
        for name, number, low, high in (("t", t, 0, horizon), ("q", q, -limit, limit)):
            if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or not low <= number <= high:
                raise ValueError(f"{name} must be an integer from {low} to {high}, got {number!r}")
        return float(self.h[t, q + limit])


def _tractable(params: EnvParams) -> EnvParams:
    """Return the parameters, or raise if their tables are too large."""
    horizon, limit = params.horizon, params.inventory_limit
    if limit > _LARGEST_LIMIT:
        raise ValueError(f"inventory_limit must be at most {_LARGEST_LIMIT} for the closed form, got {limit}")
    if (horizon + 1) * (2 * limit + 1) > _LARGEST_TABLE:
        raise ValueError(
            f"(horizon + 1) * (2 * inventory_limit + 1) must be at most {_LARGEST_TABLE} for the closed form, got "
            f"horizon={horizon}, inventory_limit={limit}"
        )
    return params


def _fee(params: EnvParams) -> float:
    """Return f, the maker fee of one unit at the mid, in half-spreads."""
    return 2e-4 * params.maker_fee_bps / params.spread


def _solved(params: EnvParams, terminal_penalty: float) -> NDArray[np.float64]:
    """Return h in half-spreads, (T + 1, 2Q + 1)."""
    limit, k = params.inventory_limit, params.fill_decay
    squares = np.arange(-limit, limit + 1, dtype=np.float64) ** 2
    flow = params.arrival_intensity * math.exp(-1.0 - k * _fee(params))
    beside = np.full(2 * limit, flow)
    B = np.diag(-params.inventory_penalty * k * squares) + np.diag(beside, 1) + np.diag(beside, -1)
    # B is symmetric. With its largest eigenvalue taken off, exponentials neither overflow nor all vanish.
    largest = float(np.linalg.eigvalsh(B)[-1])
    w = np.empty((params.horizon + 1, 2 * limit + 1))
    with np.errstate(over="ignore", invalid="ignore"):  # a rebate of hundreds of half-spreads
        tick = _exponential(B, largest)
        w[-1] = np.exp(-terminal_penalty * k * squares)
        for t in range(params.horizon - 1, -1, -1):
            w[t] = tick @ w[t + 1]
    if not (w.min() > _SMALLEST and w.max() < math.inf):
        raise ValueError(
            "inventory_limit must be smaller for the closed form, whose values at the limit vanish beside those "
            f"without inventory, got inventory_limit={limit} with inventory_penalty={params.inventory_penalty:g}, "
            f"terminal_penalty={terminal_penalty:g}"
        )
    left = np.arange(params.horizon, -1.0, -1.0)[:, None]
    return np.asarray((np.log(w) + largest * left) / k, dtype=np.float64)


def _exponential(B: NDArray[np.float64], shift: float) -> NDArray[np.float64]:
    """Return exp(B - shift I) for a matrix that is negative on its diagonal alone.

    By scaling and squaring of a series without a negative term, so that every entry is right to almost all its digits.
    Put together from eigenvectors, entries come out right to a share of the largest one only; w(q) falls faster than
    1 / (q!)^2, and in the default market the logarithm already meets negative numbers at a limit of 30.
    """
    lowest = float(B.diagonal().min())
    positive = B - lowest * np.eye(len(B))
    halvings = max(0, math.ceil(math.log2(max(positive.sum(axis=1).max(), 1.0))))
    positive /= 2.0**halvings
    total = term = np.eye(len(B))
    for n in range(1, _TERMS + 1):
        term = term @ positive / n
        total = total + term
    total *= math.exp((lowest - shift) / 2.0**halvings)
    for _ in range(halvings):
        total = total @ total
    return total


def _quotes(h: NDArray[np.float64], params: EnvParams) -> NDArray[np.float32]:
    """Return the actions (T, 2Q + 1, 2) of the best quotes."""
    gain = np.diff(h[:-1], axis=1)  # (T, 2Q): h(t, q + 1) - h(t, q)
    least = 1.0 / params.fill_decay + _fee(params)
    bid, ask = np.full((2, params.horizon, h.shape[1]), WITHDRAW, dtype=np.float32)
    bid[:, :-1] = action_of_offset(least - gain, params)
    ask[:, 1:] = action_of_offset(least + gain, params)
    return pair(bid, ask)
