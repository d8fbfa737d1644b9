"""What RLlib trains: SB3's own policy inside an `RLModule`, so that its weights are those of a model.zip."""

from typing import Any

import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME
from stable_baselines3.common.policies import ActorCriticPolicy

from agents.ppo import policy_arguments, start_at_zero
from agents.ppo_config import RLlibConfig
from agents.schedules import scheduled_log_std


class QuotingModule(TorchRLModule, ValueFunctionAPI):
    """The net of a policy and of its value function; `model_config["recipe"]` is the configuration of the run."""

    def setup(self) -> None:
        """Build the nets."""
        recipe: RLlibConfig = self.model_config["recipe"]
        self.policy = ActorCriticPolicy(
            self.observation_space, self.action_space, lambda _: 0.0, **policy_arguments(recipe)
        )
        self.policy.log_std.requires_grad_(recipe.final_log_std is None)
        if recipe.normalize_reward:
            start_at_zero(self.policy)

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return mean and log standard deviation of the actions, (N, 4)."""
        mean = self.policy.action_net(self.policy.mlp_extractor.forward_actor(batch[Columns.OBS]))
        return {Columns.ACTION_DIST_INPUTS: torch.cat([mean, self.policy.log_std.expand_as(mean)], dim=-1)}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> torch.Tensor:
        """Return the values (N,) of observations."""
        return self.policy.value_net(self.policy.mlp_extractor.forward_critic(batch[Columns.OBS])).squeeze(-1)


class ScheduledLearner(PPOTorchLearner):
    """RLlib's PPO with the exploration's schedule of `agents.schedules`."""

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Set the standard deviation for the next rollout."""
        super().after_gradient_based_update(timesteps=timesteps)
        module: Any = self.module[DEFAULT_MODULE_ID].unwrapped()
        recipe: RLlibConfig = module.model_config["recipe"]
        if recipe.final_log_std is not None:
            share = timesteps[NUM_ENV_STEPS_SAMPLED_LIFETIME] / recipe.total_timesteps
            torch.nn.init.constant_(module.policy.log_std, scheduled_log_std(recipe, share))
