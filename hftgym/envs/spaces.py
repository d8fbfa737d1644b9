"""The action and observation spaces, made from the FEATURES table."""

import numpy as np
from gymnasium.spaces import Box

from hftgym.observation import FEATURES
from hftgym.params import EnvParams


def action_space(params: EnvParams) -> Box:
    """Return Box(-1, 1, (2,), float32): (bid, ask), where -1 crosses and +1 withdraws; (4,) with the two sizes."""
    return Box(-1.0, 1.0, (4 if params.sized_actions else 2,), np.float32)


def observation_space() -> Box:
    """Return Box(-1, 1, (8,), float32), one entry per feature in the order of FEATURES."""
    low = np.array([feature.low for feature in FEATURES], dtype=np.float32)
    high = np.array([feature.high for feature in FEATURES], dtype=np.float32)
    return Box(low, high, dtype=np.float32)
