"""The quotes of Guéant, Lehalle & Fernandez-Tapia (2013) far from the end of the episode."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hftgym.params import EnvParams, as_params
from hftgym.policies.base import Policy, action_of_offset, checked_number, pair, units_held

# Below this gamma / k the formulas have reached their risk-neutral limits to 12 digits.
_RISK_NEUTRAL = 1e-12
# Beyond every offset range, and still finite when it is multiplied by an inventory.
_FAR = 1e150


class GLFTPolicy(Policy):
    """Quote as if the end were far away: offsets that change with the inventory in a straight line, and not with time.

    O. Guéant, C.-A. Lehalle and J. Fernandez-Tapia, "Dealing with the inventory risk: a solution to the market making
    problem", Mathematics and Financial Economics 7(4), 477-507 (2013); the closed-form approximation of the asymptotic
    quotes:

        bid offset = c1 + (2q + 1)/2 c2,    ask offset = c1 - (2q - 1)/2 c2
        c1 = ln(1 + gamma / k) / gamma
        c2 = sqrt(sigma^2 gamma / (2 k A) (1 + gamma / k)^(1 + k / gamma))

    in this market's units: q in units; sigma = nominal volatility x initial price, in currency per square root of a
    tick; A per tick and side; k = fill_decay / half-spread, per currency. Offsets leave as half-spreads, limited to the
    market's offset range. The paper's market has no fees: the quotes do not know the maker fee.

    With the default risk aversion the exact J in the default market is 29.467, of an optimum of 29.799.

    Args:
        params: Market; None is the default one.
        risk_aversion: gamma, per unit of currency (> 0). None takes 2 phi / sigma^2: the certainty equivalent of an
            exponential utility falls by gamma sigma^2 q^2 / 2 in every tick in which q units are held, this market
            charges phi q^2, and that gamma makes the two equal. Without volatility or without a penalty it is next to
            risk-neutral.

    Attributes:
        risk_aversion: gamma.
        base: c1 in half-spreads.
        skew: c2 in half-spreads, the change of the offsets per unit.

    Raises:
        ValueError: `risk_aversion` is not a positive number.
    """

    def __init__(self, params: EnvParams | None = None, *, risk_aversion: float | None = None) -> None:
        self.params = as_params(params)
        if risk_aversion is None:
            risk_aversion = _matched_risk_aversion(self.params)
        allowed = "a finite number greater than 0 (per unit of currency)"
        self.risk_aversion = checked_number(
            "risk_aversion", risk_aversion, low=math.nextafter(0.0, 1.0), high=math.inf, allowed=allowed
        )
        self.base, self.skew = _base_and_skew(self.risk_aversion, self.params)

    def actions(self, observations: NDArray[np.float32]) -> NDArray[Any]:
        """Return (bid, ask) actions from the inventory alone."""
        held = units_held(observations, self.params)
        bid = action_of_offset(self.base + (held + 0.5) * self.skew, self.params)
        return pair(bid, action_of_offset(self.base - (held - 0.5) * self.skew, self.params))


def _variance_per_tick(params: EnvParams) -> float:
    """Return sigma^2 in currency^2 per tick."""
    return (params.nominal_volatility * params.initial_price) ** 2


def _matched_risk_aversion(params: EnvParams) -> float:
    """Return the gamma at which gamma sigma^2 q^2 / 2 is this market's charge phi q^2."""
    variance = _variance_per_tick(params)
    if variance > 0 and params.phi > 0:
        return min(2.0 * params.phi / variance, _FAR)
    return 1e-6 * params.fill_decay / params.half_spread


def _base_and_skew(gamma: float, params: EnvParams) -> tuple[float, float]:
    """Return (c1, c2) in half-spreads; finite whatever the market."""
    k = params.fill_decay / params.half_spread
    ratio = min(max(gamma / k, _RISK_NEUTRAL), _FAR)
    power = math.exp((1.0 + 1.0 / ratio) * math.log1p(ratio))  # (1 + gamma / k)^(1 + k / gamma), e if risk-neutral
    # sigma^2 gamma / (2 k A) with gamma = ratio k; without market orders any quote will do.
    square = 0.5 * _variance_per_tick(params) * ratio / max(params.arrival_intensity, 1 / _FAR) * power
    c1, c2 = math.log1p(ratio) / (ratio * k), math.sqrt(square)
    return c1 / params.half_spread, min(c2 / params.half_spread, _FAR)
