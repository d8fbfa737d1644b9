"""The z-score rule: take when the price is far from its recent mean, in the direction of a return."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hftgym.observation import CLIP_SD
from hftgym.policies.base import CROSS, WITHDRAW, Policy, checked_number, feature, pair


class ZScorePolicy(Policy):
    """Buy one unit at the ask when z < -entry, sell one at the bid when z > entry, otherwise show no quote.

    z = (mid - mean) / std over the market's rolling window, population std; it is 0, so that nothing trades, until the
    window is full. The rule bets that the price returns to its mean: on a random walk it loses what it pays, about a
    half-spread and the taker fee per unit.

    Args:
        entry: Threshold on |z| in standard deviations, between 0 and 5 exclusive: the feature saturates at 5.

    Raises:
        ValueError: `entry` is outside that range.
    """

    def __init__(self, entry: float = 1.5) -> None:
        allowed = f"a number greater than 0 and below {CLIP_SD:g}, where the z-score feature saturates"
        inside = {"low": np.nextafter(0.0, 1.0), "high": np.nextafter(CLIP_SD, 0.0)}
        self.entry = checked_number("entry", entry, **inside, allowed=allowed)

    def actions(self, observations: NDArray[np.float32]) -> NDArray[Any]:
        """Return (bid, ask) actions: one side crosses, or both are withdrawn."""
        z = feature(observations, "zscore").astype(np.float64) * CLIP_SD
        inventory = feature(observations, "inventory")
        bid = np.where((z < -self.entry) & (inventory < 1.0), CROSS, WITHDRAW)
        ask = np.where((z > self.entry) & (inventory > -1.0), CROSS, WITHDRAW)
        return pair(bid, ask)
