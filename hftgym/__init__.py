"""hftgym: a Gymnasium market-making environment.

>>> import gymnasium as gym, hftgym
>>> env = gym.make("MarketMaking-v0")
"""

from hftgym.observation import FEATURE_NAMES, FEATURES, OBS_VERSION
from hftgym.params import EnvParams
from hftgym.presets import PRESETS, VENUE_FEES_BPS
from hftgym.registration import register_all as _register_all

__version__ = "0.1.0"
__all__ = ["FEATURES", "FEATURE_NAMES", "OBS_VERSION", "PRESETS", "VENUE_FEES_BPS", "EnvParams", "__version__"]

_register_all()
