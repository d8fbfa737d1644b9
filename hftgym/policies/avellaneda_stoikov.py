"""The quotes of Avellaneda & Stoikov (2008): a reservation price, and a spread around it."""

import math
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hftgym.params import EnvParams, as_params
from hftgym.policies.base import Policy, action_of_offset, checked_number, pair, ticks_left, units_held

# time_term -> gamma sigma^2 T / half-spread, the skew per unit at the start of the episode in half-spreads, that gives
# the highest exact J on the default market (`best_risk_aversion`): J = 29.081 (gamma 3.73e-4) with the term, 28.728
# (gamma 2.93e-4) without.
BEST_SKEW = MappingProxyType({True: 0.602, False: 0.473})


class AvellanedaStoikovPolicy(Policy):
    """Quote around a reservation price that moves against the inventory.

    M. Avellaneda and S. Stoikov, "High-frequency trading in a limit order book", Quantitative Finance 8(3), 217-224
    (2008); equations (29) and (30), which are (3.17) and (3.18) of the preprint of 2006:

        r = s - q gamma sigma^2 (T - t)                                                    reservation price
        bid-to-ask spread = gamma sigma^2 (T - t) + (2 / gamma) ln(1 + gamma / k)          centred on r

    in this market's units: s the mid; q in units; T - t in ticks; sigma = nominal volatility x initial price, in
    currency per square root of a tick; k = fill_decay / half-spread, per currency. Offsets leave as half-spreads,
    limited to the market's offset range.

    Args:
        params: Market; None is the default one.
        risk_aversion: gamma, per unit of currency (> 0). None takes the best one of the default market by the exact
            recursion, 3.73e-4 there with the time term (J = 29.081 of an optimum of 29.799), and carries it over to
            other markets so that gamma sigma^2 T is the same number of half-spreads. `best_risk_aversion` finds the
            best one of another market.
        time_term: Whether the spread contains gamma sigma^2 (T - t). Without it the spread is constant, which is what
            the spreads printed in the paper's tables are; the reservation price is the same.

    Raises:
        ValueError: `risk_aversion` is not a positive number.
    """

    def __init__(
        self, params: EnvParams | None = None, *, risk_aversion: float | None = None, time_term: bool = True
    ) -> None:
        self.params = as_params(params)
        self.time_term = bool(time_term)
        if risk_aversion is None:
            risk_aversion = _risk_aversion_of_skew(BEST_SKEW[self.time_term], self.params)
        allowed = "a finite number greater than 0 (per unit of currency)"
        self.risk_aversion = checked_number(
            "risk_aversion", risk_aversion, low=math.nextafter(0.0, 1.0), high=math.inf, allowed=allowed
        )

    def actions(self, observations: NDArray[np.float32]) -> NDArray[Any]:
        """Return (bid, ask) actions from the inventory and the time left."""
        gamma, half_spread = self.risk_aversion, self.params.half_spread
        # gamma sigma^2 (T - t), in currency per unit
        risk = gamma * _variance_per_tick(self.params) * ticks_left(observations, self.params)
        # (29): the reservation price lies this far below the mid, in half-spreads
        shift = units_held(observations, self.params) * risk / half_spread
        k = self.params.fill_decay / half_spread
        # (30)
        spread = (risk if self.time_term else 0.0) + 2.0 / gamma * math.log1p(gamma / k)
        half = 0.5 * spread / half_spread
        return pair(action_of_offset(half + shift, self.params), action_of_offset(half - shift, self.params))


def best_risk_aversion(params: EnvParams | None = None, *, time_term: bool = True) -> tuple[float, float]:
    """Return (gamma, J) of the Avellaneda-Stoikov policy with the highest exact J: 1 / currency, quote currency.

    Raises:
        ValueError: The exact recursion does not cover the market, or the market has no volatility.
    """
    from hftgym.policies.recursion import quotes_of, value_of  # needs the compiler
    from hftgym.policies.search import maximise

    market = as_params(params)
    if market.volatility == 0:
        raise ValueError("volatility must be greater than 0 for a best risk aversion, got 0.0")

    def worth(log10_skew: float) -> float:
        gamma = _risk_aversion_of_skew(10.0**log10_skew, market)
        policy = AvellanedaStoikovPolicy(market, risk_aversion=gamma, time_term=time_term)
        return value_of(market, *quotes_of(policy, market))

    (log10_skew,), best = maximise(worth, [(-6.0, 6.0)], points=61)
    return _risk_aversion_of_skew(10.0**log10_skew, market), best


def _variance_per_tick(params: EnvParams) -> float:
    """Return sigma^2 in currency^2 per tick."""
    return (params.nominal_volatility * params.initial_price) ** 2


def _risk_aversion_of_skew(skew: float, params: EnvParams) -> float:
    """Return the gamma at which one unit moves the quotes of tick 0 by `skew` half-spreads."""
    variance = _variance_per_tick(params) * params.horizon
    # Without volatility there is no risk to be averse to: next to risk-neutral.
    return skew * params.half_spread / variance if variance > 0 else 1e-6 * params.fill_decay / params.half_spread
