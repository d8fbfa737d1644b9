"""How far a market's price can be expected to go: what float64, the price floor and an account can stand."""

import math
from typing import Any

# Standard deviations that are as good as never exceeded: once in a billion, for a normal variable.
_FAR = 6.0


def farthest_move(params: Any) -> float:
    """Return how far the price goes within an episode, as good as never farther.

    A relative move for an arithmetic price, one of the logarithm for a geometric one: every drift at its full size, and
    six standard deviations of the sum of the rest. Mean reversion is left out: it only brings the price nearer.
    `params` is an EnvParams, which asks this while it is made.
    """
    ticks, sigma = params.horizon, params.nominal_volatility
    kept = 1.0 - params.volatility_reversion
    # Variance of ln(factor on the volatility): that of an AR(1) process, or of a walk where it has not settled.
    settled = min(ticks, 1.0 / (1.0 - kept * kept)) if kept < 1.0 else ticks
    log_variance = params.volatility_of_volatility**2 * settled
    shock = sigma**2 * max(1.0, params.regime_volatility) ** 2 * math.exp(min(2.0 * log_variance, 600.0))
    jump = params.jump_probability * (params.jump_mean**2 + params.jump_volatility**2)
    # Sums of what persists: a regime of mean length 1 / switching, a drift that decays by its reversion per tick.
    switching = params.regime_switching
    regime = (params.regime_drift * params.volatility) ** 2 * min(ticks, 1.0 / switching if switching > 0 else ticks)
    reversion = params.alpha_reversion
    alpha = (params.alpha_volatility * params.volatility * min(ticks, 1.0 / reversion if reversion > 0 else ticks)) ** 2
    drift = ticks * (abs(params.drift) + params.jump_probability * abs(params.jump_mean))
    return drift + _FAR * math.sqrt(ticks * (shock + jump + regime + alpha))
