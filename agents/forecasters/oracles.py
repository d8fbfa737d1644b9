"""What the best forecaster that there can be would say: the Bayes filters of the simulated feeds.

They know the market's parameters and see every return unclipped; nothing that is learned from the same returns can be
better on average.
"""

import math

import numpy as np
from numpy.typing import NDArray

from hftgym.params import EnvParams
from hftgym.policies.belief import FIRST_BELIEF, next_belief


def bayes_proba(returns: NDArray[np.float64], params: EnvParams) -> NDArray[np.float64]:
    """Return the probability that the next move is up, given all returns so far.

    Args:
        returns: Relative moves of a geometric market, (paths, ticks), episodes from their first move on.
        params: A market with no hidden drift, a hidden regime (a two-state filter: Wonham 1964; Hamilton 1989) or a
            hidden drift that reverts to zero (Kalman 1960).

    Raises:
        ValueError: The market has both.
    """
    if params.regime_drift > 0 and params.alpha_volatility > 0:
        raise ValueError("the filters know a hidden regime or a hidden alpha, not both at once")
    if params.regime_drift > 0:
        return _regime(returns / params.nominal_volatility, params)
    if params.alpha_volatility > 0:
        return _alpha(returns / params.nominal_volatility, params)
    return np.full(returns.shape, 0.5)


def _regime(moves: NDArray[np.float64], params: EnvParams) -> NDArray[np.float64]:
    """Return P(up) = b Phi(s) + (1 - b) Phi(-s), with b the probability of the regime +1."""
    rise = _normal_cdf(params.regime_drift * params.volatility / params.nominal_volatility)
    belief = np.full(len(moves), FIRST_BELIEF)
    proba = np.empty(moves.shape)
    for t in range(moves.shape[1]):
        belief = next_belief(belief, moves[:, t], params)
        proba[:, t] = belief * rise + (1.0 - belief) * (1.0 - rise)
    return proba


def _alpha(moves: NDArray[np.float64], params: EnvParams) -> NDArray[np.float64]:
    """Return P(up) = Phi(m / sqrt(1 + P)), with m and P mean and variance of the hidden drift, in nominal units."""
    kept = 1.0 - params.alpha_reversion
    shock = (params.alpha_volatility * params.volatility / params.nominal_volatility) ** 2
    mean, variance = np.zeros(len(moves)), 0.0  # an episode starts without drift
    proba = np.empty(moves.shape)
    for t in range(moves.shape[1]):
        gain = variance / (variance + 1.0)
        mean = kept * (mean + gain * (moves[:, t] - mean))
        variance = kept**2 * (1.0 - gain) * variance + shock
        scaled = mean / math.sqrt(1.0 + variance)
        proba[:, t] = [_normal_cdf(value) for value in scaled]
    return proba


def _normal_cdf(x: float) -> float:
    return 0.5 * (1.0 + math.erf(x / math.sqrt(2.0)))
