"""What changes the weights from outside while SB3's PPO trains: the exploration's schedule, and their average."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback

from agents.checkpoint import Model
from agents.ppo_config import PPOConfig

Weights = dict[str, torch.Tensor]
_ATTRIBUTE = "hftgym_average"


def scheduled_log_std(config: PPOConfig, share: float) -> float:
    """Return the log of the exploration's standard deviation when `share` of the budget is spent."""
    first, last = config.log_std_init, config.final_log_std
    return first if last is None else first + min(max(share, 0.0), 1.0) * (last - first)


class Exploration(BaseCallback):
    """Let the standard deviation of the exploration fall geometrically instead of having it learned.

    What is optimal while exploring is not what is optimal without: with a standard deviation of s half-spreads the best
    mean quote lies fill_decay * s^2 half-spreads further out. A learned deviation falls at a pace of its own, too
    early to go on learning or too late to be near the optimum at the end of the budget.

    Args:
        config: The recipe.
        done: Returns the share of the budget that is spent.
    """

    def __init__(self, config: PPOConfig, *, done: Callable[[], float]) -> None:
        super().__init__()
        self._config, self._done = config, done

    def _on_training_start(self) -> None:
        self.model.policy.get_parameter("log_std").requires_grad_(False)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        torch.nn.init.constant_(
            self.model.policy.get_parameter("log_std"), scheduled_log_std(self._config, self._done())
        )


@dataclass
class Average:
    """A weighted mean of the weights after every rollout.

    Attributes:
        weights: The mean so far; empty before the first rollout.
        count: Rollouts in it.
        timesteps: Environment steps at the newest of them.
    """

    weights: Weights = field(default_factory=dict)
    count: int = 0
    timesteps: int = 0

    def take(self, weights: Weights, timesteps: int, power: float) -> None:
        """Take in the weights after one more rollout, unless they are in it already."""
        if timesteps <= self.timesteps:
            return
        self.count, self.timesteps = self.count + 1, timesteps
        share = (power + 1) / (power + self.count)
        for name, value in weights.items():
            old = self.weights.setdefault(name, value.detach().clone())
            old.lerp_(value.detach(), share)


class Averaging(BaseCallback):
    """Average the weights over the rollouts with weights that grow as k^power (Shamir & Zhang 2013).

    The mean follows training at a distance of 1 / (power + 2) of the rollouts done and has lost most of the noise that
    a single update leaves in the weights. It needs no knowledge of the budget, and can be used at any time.
    """

    def __init__(self, power: float) -> None:
        super().__init__()
        self._power = power
        self._average = Average()

    def _on_training_start(self) -> None:
        # An attribute of SB3's model travels inside its file; plain values can be read without this class.
        before: dict[str, Any] = getattr(self.model, _ATTRIBUTE, {})
        self._average = Average(**before)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.model.num_timesteps:
            self._take()

    def _on_training_end(self) -> None:
        self._take()

    def _take(self) -> None:
        self._average.take(self.model.policy.state_dict(), self.model.num_timesteps, self._power)
        setattr(self.model, _ATTRIBUTE, vars(self._average))


@contextmanager
def averaged(model: Model) -> Iterator[Model]:
    """Give the model its average weights while the block runs, where there are any."""
    if not _average_weights(model):
        yield model
        return
    own = {name: value.clone() for name, value in model.policy.state_dict().items()}
    adopt_average(model)
    try:
        yield model
    finally:
        model.policy.load_state_dict(own)


def _average_weights(model: Model) -> Weights:
    return getattr(model, _ATTRIBUTE, {}).get("weights", {})


def adopt_average(model: Model) -> None:
    """Give the model its average weights for good, where there are any."""
    if weights := _average_weights(model):
        model.policy.load_state_dict(weights)


def schedules(config: PPOConfig, done: Callable[[], float]) -> list[BaseCallback]:
    """Return what a configuration asks for; `done` returns the share of the budget that is spent."""
    found: list[BaseCallback] = []
    if config.final_log_std is not None:
        found.append(Exploration(config, done=done))
    if config.averaging > 0:
        found.append(Averaging(config.averaging))
    return found
