"""The environments. Importing this registers nothing; importing `hftgym` does."""

from hftgym.envs.market_making import MarketMakingEnv
from hftgym.envs.replay import MarketMakingReplayEnv, MarketMakingReplayVectorEnv
from hftgym.envs.vector import MarketMakingVectorEnv

__all__ = ["MarketMakingEnv", "MarketMakingReplayEnv", "MarketMakingReplayVectorEnv", "MarketMakingVectorEnv"]
