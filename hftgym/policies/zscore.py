"""The z-score rule: take when the price is far from its recent mean, in the direction of a return."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hftgym.observation import CLIP_SD
from hftgym.params import EnvParams
from hftgym.policies.base import CROSS, WITHDRAW, Policy, checked_number, feature, pair


class ZScorePolicy(Policy):
    """Buy one unit at the ask when z < -entry, sell one at the bid when z > entry, otherwise show no quote.

    z = (mid - mean) / std over the market's rolling window, population std; it is 0, so that nothing trades, until the
    window is full. The rule bets that the price returns to its mean: on a random walk it loses what it pays, about a
    half-spread and the taker fee per unit.

    Args:
        entry: Threshold on |z| in standard deviations, between 0 and 5 exclusive: the feature saturates at 5.
        sizing: "unit" trades the full size of an order; "deviation" int(2 |z|) units, in a market with sized actions.
        params: The market, needed for "deviation".

    Raises:
        ValueError: `entry` or `sizing` is not one of these, or the market has no sizes.
    """

    def __init__(
        self, entry: float = 1.5, *, sizing: Literal["unit", "deviation"] = "unit", params: EnvParams | None = None
    ) -> None:
        if sizing not in ("unit", "deviation"):
            raise ValueError(f"sizing must be unit or deviation, got {sizing!r}")
        if sizing == "deviation" and not (params is not None and params.sized_actions):
            raise ValueError(f"sizing='deviation' needs a market with sized_actions, got params={params!r}")
        self._largest = params.order_size if params is not None and sizing == "deviation" else None
        allowed = f"a number greater than 0 and below {CLIP_SD:g}, where the z-score feature saturates"
        inside = {"low": np.nextafter(0.0, 1.0), "high": np.nextafter(CLIP_SD, 0.0)}
        self.entry = checked_number("entry", entry, **inside, allowed=allowed)

    def actions(self, observations: NDArray[np.float32]) -> NDArray[Any]:
        """Return (bid, ask) actions, with their sizes if these vary: one side crosses, or both are withdrawn."""
        z = feature(observations, "zscore").astype(np.float64) * CLIP_SD
        inventory = feature(observations, "inventory")
        bid = np.where((z < -self.entry) & (inventory < 1.0), CROSS, WITHDRAW)
        ask = np.where((z > self.entry) & (inventory > -1.0), CROSS, WITHDRAW)
        if self._largest is None:
            return pair(bid, ask)
        share = np.minimum(np.floor(2.0 * np.abs(z)) / self._largest, 1.0)
        return np.column_stack([bid, ask, 2.0 * share - 1.0, 2.0 * share - 1.0])
