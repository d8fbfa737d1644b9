"""hftgym: a Gymnasium market-making environment.

>>> import gymnasium as gym, hftgym
>>> env = gym.make("MarketMaking-v0")
"""

from hftgym.envs.registration import register_all as _register_all
from hftgym.params import PRESETS, EnvParams

__version__ = "0.1.0"
__all__ = ["PRESETS", "EnvParams", "__version__"]

_register_all()
