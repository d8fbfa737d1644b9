"""The ids that `gym.make` knows after `import hftgym`."""

import gymnasium as gym

IDS: tuple[str, ...] = ("MarketMaking-v0",)


def register_all() -> None:
    """Register every id; repeating it changes nothing and says nothing."""
    for env_id in IDS:
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point="hftgym.envs.market_making:MarketMakingEnv",
                vector_entry_point="hftgym.envs.vector:MarketMakingVectorEnv",
            )
