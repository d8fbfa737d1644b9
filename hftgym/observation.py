"""What a policy sees, the FEATURES table, and what its actions mean. Numpy alone: a policy needs no compiler.

Every feature is scale-free and lies in [-1, 1]: a policy trained in one market reads another one unchanged, and needs
no running normaliser. Spaces, documentation and the metadata of exported agents are made from the table; the formulas
are in `hftgym.market.features`.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

OBS_VERSION = 1
# Standard deviations at which a feature saturates.
CLIP_SD = 5.0


class Feature(NamedTuple):
    """One entry of the observation."""

    name: str
    meaning: str
    unit: str
    low: float
    high: float


FEATURES: tuple[Feature, ...] = (
    Feature("inventory", "inventory / inventory_limit", "limits", -1.0, 1.0),
    Feature("time_left", "1 at the start of the episode, -1 at its end", "-", -1.0, 1.0),
    Feature("zscore", "(mid - mean) / std of the window's prices, / 5, clipped", "5 std", -1.0, 1.0),
    Feature("volatility", "std of the window's returns / nominal volatility - 1, clipped", "nominal", -1.0, 1.0),
    Feature("last_return", "last relative move / nominal volatility, / 5, clipped", "5 std", -1.0, 1.0),
    Feature("momentum", "relative move over the window / its nominal std, / 5, clipped", "5 std", -1.0, 1.0),
    Feature("bid_fill", "units bought in the last tick, clipped", "units", -1.0, 1.0),
    Feature("ask_fill", "units sold in the last tick, clipped", "units", -1.0, 1.0),
)
N_FEATURES = len(FEATURES)
FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
# What is seen of the market, as opposed to one's own account; market-data latency delays these.
MARKET_FEATURES: tuple[int, ...] = tuple(
    FEATURE_NAMES.index(name) for name in ("zscore", "volatility", "last_return", "momentum")
)


def with_sizes(actions: NDArray[Any], width: int) -> NDArray[Any]:
    """Return actions (..., 2) as (..., width): a policy that names no sizes trades the full size on both sides."""
    missing = width - actions.shape[-1]
    return np.pad(actions, [(0, 0)] * (actions.ndim - 1) + [(0, missing)], constant_values=1.0) if missing else actions
