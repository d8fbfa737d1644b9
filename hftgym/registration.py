"""The ids that `gym.make` knows after `import hftgym`."""

import gymnasium as gym

from hftgym.presets import PRESETS

# id -> (class whose docstring is the page of the id, market in PRESETS)
_TABLE: dict[str, tuple[str, str]] = {
    "MarketMaking-v0": ("market_making:MarketMakingEnv", "default"),
    "MarketMakingAS-v0": ("variants:AvellanedaStoikovEnv", "avellaneda-stoikov"),
    "MarketMakingCJ-v0": ("variants:CarteaJaimungalEnv", "cartea-jaimungal"),
    "MarketMakingAlpha-v0": ("variants:HiddenAlphaEnv", "alpha"),
    "MarketMakingAdverse-v0": ("variants:AdverseEnv", "adverse"),
    "MeanReverting-v0": ("variants:MeanRevertingEnv", "mean-reverting"),
}
IDS: tuple[str, ...] = tuple(_TABLE)
REPLAY_ID = "MarketMakingReplay-v0"


def register_all() -> None:
    """Register every id; repeating it changes nothing and says nothing."""
    for env_id, (page, market) in _TABLE.items():
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point=f"hftgym.envs.{page}",
                vector_entry_point="hftgym.envs.vector:MarketMakingVectorEnv",
                kwargs={} if market == "default" else {"params": PRESETS[market].to_dict()},
            )
    if REPLAY_ID not in gym.registry:
        gym.register(
            REPLAY_ID,
            entry_point="hftgym.envs.replay:MarketMakingReplayEnv",
            vector_entry_point="hftgym.envs.replay:MarketMakingReplayVectorEnv",
        )
