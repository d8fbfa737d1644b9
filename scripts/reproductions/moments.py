"""The exact distribution of inventory, and mean and variance of wealth, in a market with arithmetic prices.

Forward in time, for every inventory q: the probability m0(q), and the moments m1(q) = E[W; q] and m2(q) = E[W^2; q] of
the wealth W marked to the mid. A fill at a distance d from the mid moves q by one and W by d; then the mid moves by a
step that is independent of all before, has mean 0 and variance s^2, and adds q times itself to W.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hftgym import EnvParams


class Moments(NamedTuple):
    """Of one episode that starts without inventory; money in quote currency."""

    mean: float  # of the profit
    std: float  # of the profit
    inventory_mean: float  # at the end
    inventory_std: float


def moments(params: EnvParams, bid_offset: NDArray[np.float64], ask_offset: NDArray[np.float64]) -> Moments:
    """Return the exact moments of quotes (T, 2Q + 1) in half-spreads, as `hftgym.policies.recursion.quotes_of` gives.

    No fees; a quote rests, whatever its offset; the half-spread is the one at the initial price.
    """
    limit = params.inventory_limit
    held = np.arange(-limit, limit + 1.0)
    variance = (params.nominal_volatility * params.initial_price) ** 2
    m = np.zeros((3, 2 * limit + 1))
    m[0, limit] = 1.0
    for bid, ask in zip(bid_offset, ask_offset, strict=True):
        b, a = _fills(params, bid), _fills(params, ask)
        b[-1] = a[0] = 0.0  # no room at the limit
        d_bid, d_ask = bid * params.half_spread, ask * params.half_spread
        only_bid, only_ask = _paid(m * (b * (1 - a)), d_bid), _paid(m * (a * (1 - b)), d_ask)
        m = m * ((1 - a) * (1 - b)) + _paid(m * (a * b), d_bid + d_ask)
        m[:, 1:] += only_bid[:, :-1]
        m[:, :-1] += only_ask[:, 1:]
        m[2] += held**2 * variance * m[0]
    mean, square = m[1].sum(), m[2].sum()
    drift = (held * m[0]).sum()
    return Moments(
        float(mean),
        math.sqrt(square - mean**2),
        float(drift),
        math.sqrt((held**2 * m[0]).sum() - drift**2),
    )


def _fills(params: EnvParams, offset: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability of a fill in one tick."""
    intensity = params.arrival_intensity * np.exp(-params.fill_decay * offset)
    return np.minimum(1.0, intensity) if params.fill_model == "linear" else -np.expm1(-intensity)


def _paid(m: NDArray[np.float64], gain: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the moments after `gain` has been added to the wealth."""
    return np.stack([m[0], m[1] + gain * m[0], m[2] + 2 * gain * m[1] + gain**2 * m[0]])
