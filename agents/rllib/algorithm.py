"""From a recipe to RLlib's algorithm."""

import contextlib
import logging
from pathlib import Path
from typing import Any

from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from agents.ppo_config import RLlibConfig
from agents.rllib.batch import RLlibBatch
from agents.rllib.module import QuotingModule, ScheduledLearner


def build_algorithm(recipe: RLlibConfig, *, start: int = 0) -> PPO:
    """Return RLlib's PPO of a recipe, untrained, on the Ray cluster that this process is connected to.

    Args:
        recipe: What to train, and which processes share the work.
        start: Environment steps of the run so far: a resumed run meets new episodes.
    """
    algorithm: Any = algorithm_config(recipe, start=start).build_algo()
    # RLlib makes a folder for results in the user's home, and writes nothing into it.
    with contextlib.suppress(OSError):
        Path(algorithm.logdir).rmdir()
    return algorithm


def algorithm_config(recipe: RLlibConfig, *, start: int = 0) -> PPOConfig:
    """Return RLlib's configuration of a recipe, see `build_algorithm`."""
    # It remarks upon its new interfaces, which these are, in every run.
    logging.getLogger("ray.rllib").setLevel(logging.ERROR)
    config = PPOConfig()
    config.environment(
        RLlibBatch,
        env_config={"recipe": recipe, "start": start},
        # The batch limits actions itself, for all environments at once; RLlib would do it one by one.
        clip_actions=False,
        normalize_actions=False,
    )
    config.env_runners(
        num_env_runners=recipe.env_runners,
        num_envs_per_env_runner=recipe.num_envs // max(recipe.env_runners, 1),
        gym_env_vectorize_mode="vector_entry_point",
        rollout_fragment_length=recipe.n_steps,
    )
    config.learners(num_learners=recipe.learners, num_gpus_per_learner=recipe.gpus_per_learner)
    config.training(learner_class=ScheduledLearner, **_training(recipe))
    config.rl_module(rl_module_spec=RLModuleSpec(module_class=QuotingModule, model_config={"recipe": recipe}))
    config.debugging(seed=recipe.seed)
    return config


def _training(recipe: RLlibConfig) -> dict[str, Any]:
    """Return RLlib's names of the recipe's numbers."""
    learners = max(recipe.learners, 1)
    return {
        "train_batch_size_per_learner": recipe.num_envs * recipe.n_steps // learners,
        "minibatch_size": recipe.batch_size // learners,
        "num_epochs": recipe.n_epochs,
        "shuffle_batch_per_epoch": True,
        "lr": [[0, recipe.learning_rate], [recipe.total_timesteps, recipe.final_learning_rate]],
        "gamma": recipe.gamma,
        "lambda_": recipe.gae_lambda,
        "clip_param": recipe.clip_range,
        "entropy_coeff": recipe.ent_coef,
        "vf_loss_coeff": recipe.vf_coef,
        "grad_clip": recipe.max_grad_norm,
        "grad_clip_by": "global_norm",
        # What SB3's PPO has not either.
        "use_kl_loss": False,
        "vf_clip_param": float("inf"),
    }
