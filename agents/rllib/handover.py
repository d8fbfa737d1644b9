"""From RLlib's weights to a model.zip: a Stable-Baselines3 agent, which everything else in `agents` can use."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from stable_baselines3 import PPO

from agents.checkpoint import model_bytes
from agents.parity import story_of
from agents.ppo import build_model, make_env
from agents.ppo_config import RLlibConfig
from agents.rllib.module import QuotingModule
from agents.run_folder import RunError
from agents.schedules import Weights

_PREFIX = "policy."


def weights_of(algorithm: Algorithm) -> Weights:
    """Return a copy of the weights that RLlib is training, by the names that SB3 has for them."""
    group: Any = algorithm.learner_group
    module = group.get_weights()[DEFAULT_MODULE_ID]
    return {name.removeprefix(_PREFIX): torch.tensor(value) for name, value in module.items()}


def stable_agent(config: RLlibConfig) -> PPO:
    """Return an untrained agent of Stable-Baselines3 with the nets of the recipe."""
    agent = build_model(config, make_env(config))
    assert isinstance(agent, PPO)
    return agent


def agent_bytes(agent: PPO, config: RLlibConfig, weights: Weights, timesteps: int) -> bytes:
    """Return a model.zip that acts, bit for bit, as RLlib's module does with these weights.

    Raises:
        RunError: It acts differently somewhere among 10,000 observations, most of them from episodes.
    """
    agent.policy.load_state_dict(weights)
    agent.num_timesteps = timesteps
    story = story_of(agent, config.params, config.env_id, widths={})
    rows = story.observations[:, 0]
    module = QuotingModule(
        observation_space=agent.observation_space, action_space=agent.action_space, model_config={"recipe": config}
    )
    module.load_state_dict({_PREFIX + name: value for name, value in weights.items()})
    difference = np.abs(module_actions(module, rows) - story.actions[:, 0]).max()
    if difference != 0.0:
        raise RunError(f"the agent does not act like RLlib's module: an action is off by {difference:g}")
    return model_bytes(agent)


def module_actions(module: QuotingModule, observations: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the deterministic actions (N, 2) of RLlib's module, limited to their space."""
    with torch.no_grad():
        out = module.forward_inference({Columns.OBS: torch.as_tensor(observations)})
    chosen = module.get_inference_action_dist_cls().from_logits(out[Columns.ACTION_DIST_INPUTS]).to_deterministic()
    actions: Any = chosen.sample()
    space: Any = module.action_space
    return np.clip(actions.numpy(), space.low, space.high)
