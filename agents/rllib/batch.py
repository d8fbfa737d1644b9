"""The native batch as RLlib's environment runners step it, with the reward that is learned from."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from agents.ppo_config import RLlibConfig
from agents.reward_scale import RewardScale


class RLlibBatch(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """N market-making environments whose episodes start one step after the last one's end, as RLlib expects it.

    RLlib takes the observation of that step for the first one of an episode and leaves its action and its reward out.
    Infos are empty: RLlib would make a dictionary per environment and tick of them, and keep it.

    However many processes share the environments of a run, environment i of all of them has the stream of a single one
    under seed + i; a run that is resumed goes on with new episodes.

    Args:
        context: What RLlib passes: "recipe", the configuration of the run; "start", the environment steps that it had
            done when it was resumed; "num_envs", N, those of this process.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        config: RLlibConfig = context["recipe"]
        num_envs: int = context["num_envs"]
        self.batch: Any = gym.make_vec(
            f"hftgym:{config.env_id}",
            num_envs=num_envs,
            vectorization_mode="vector_entry_point",
            params=config.params,
            autoreset_mode=AutoresetMode.NEXT_STEP,
        ).unwrapped
        self.num_envs = num_envs
        self.metadata = self.batch.metadata
        space = self.batch.single_action_space
        # The lowest action that does not cross the spread is the next number above -1.
        self._low = space.low if config.may_cross else np.nextafter(space.low, 0.0, dtype=np.float32)
        self.single_action_space = Box(self._low, space.high, dtype=np.float32)
        self.single_observation_space = self.batch.single_observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = self.batch.observation_space
        self._martingale_free = config.training_reward == "martingale_free"
        self._scale = RewardScale() if config.normalize_reward else None
        self._stagger = config.stagger
        self._generator = np.random.default_rng(config.seed)
        self._run_seed, self._start = config.seed, context["start"]
        self._starting = np.zeros(num_envs, dtype=np.bool_)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start episodes everywhere, at random ticks if staggered, and return observations float32 (N, 8) and {}.

        Args:
            seed: What RLlib gives its k-th process, the run's seed + k, from 1 on, or 0 for the training process. (As
                it is, neighbours would have all but one of their markets in common.) None goes on with the streams.
            options: Of the native batch.
        """
        options = dict(options or {})
        if seed is not None:
            before = max(seed - self._run_seed - 1, 0) * self.num_envs
            seed = self._run_seed + self._start + before
            self._generator = np.random.default_rng(seed)
        if self._stagger:
            options["tick"] = self._generator.integers(self.batch.params.horizon, size=self.num_envs)
        observations, _ = self.batch.reset(seed=seed, options=options)
        self._starting[:] = False
        return observations, {}

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Run one tick; actions outside their space are limited to it.

        Returns:
            observations float32 (N, 8), training rewards float64 (N,), terminated and truncated bool (N,), {}.
        """
        limited = np.clip(actions, self._low, 1.0)
        observations, rewards, terminated, truncated, info = self.batch.step(limited)
        if self._martingale_free:
            rewards = rewards - info["inventory_pnl"]
        playing = ~self._starting
        if self._scale is not None and playing.any():
            rewards[playing] = self._scale.normalized(rewards[playing])
        self._starting = terminated | truncated
        return observations, rewards, terminated, truncated, {}

    def close_extras(self, **kwargs: Any) -> None:
        """Close the batch."""
        self.batch.close()
