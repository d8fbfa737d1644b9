"""How far PPO gets in a given CPU time, measured against the exact optimum."""

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from agents.checkpoint import Model
from agents.ppo import PPOConfig, build_model, make_env, one_thread
from agents.schedules import adopt_average, schedules
from hftgym import EnvParams
from hftgym.policies import OptimalPolicy
from hftgym.policies.recursion import best_constant
from hftgym.rollout import rollout

# Episodes whose seeds no training environment has.
FIRST_SEED = 2**33


@dataclass(frozen=True, kw_only=True, slots=True)
class Learning:
    """What one training run came to.

    Attributes:
        fraction: (J - J_const) / (J* - J_const) of the deterministic policy: 0 is the best constant quote, 1 the exact
            optimum.
        standard_error: Of `fraction`, from the episodes it was measured on.
        value: J, expected reward per episode in quote currency.
        optimum: J*.
        constant: J of the best constant quote.
        timesteps: Environment steps trained.
        cpu_s: CPU seconds of the process, training only.
        wall_s: The same time on the clock.
    """

    fraction: float
    standard_error: float
    value: float
    optimum: float
    constant: float
    timesteps: int
    cpu_s: float
    wall_s: float

    @property
    def steps_per_cpu_s(self) -> float:
        """Environment steps per CPU second, updates included."""
        return self.timesteps / self.cpu_s


class _Budget(BaseCallback):
    """Ends the training, and lowers the learning rate, by the CPU time that has gone."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._start_s = time.process_time()

    def left(self) -> float:
        """Return the share of the budget that is left, from 1 to 0."""
        return max(0.0, 1.0 - (time.process_time() - self._start_s) / self._seconds)

    def _on_training_start(self) -> None:
        self._start_s = time.process_time()

    def _on_step(self) -> bool:
        return self.left() > 0.0


def ppo_fraction(
    *, cpu_seconds: float = 15.0, seed: int = 0, config: PPOConfig | None = None, episodes: int = 2_048
) -> Learning:
    """Train for some CPU seconds and measure the deterministic policy.

    J is measured without the gains of inventory from price moves, whose mean is zero, and against the optimal policy on
    the same random numbers; neither changes its expectation. Evaluation and imports do not count as training.

    Args:
        cpu_seconds: Budget; the learning rate falls over it as it otherwise does over the steps.
        seed: Seed of the training.
        config: The recipe; None is `agents/configs/ppo.toml`.
        episodes: Episodes to evaluate on.
    """
    config = dataclasses.replace(config or PPOConfig.from_toml(), seed=seed)
    model, cpu_s, wall_s = trained_for(config, cpu_seconds)
    with one_thread():
        value, standard_error = value_of(model, config.params, episodes=episodes)
    optimum, (_, constant) = OptimalPolicy(config.params).optimum, best_constant(config.params)
    gap = optimum - constant
    return Learning(
        fraction=(value - constant) / gap,
        standard_error=standard_error / gap,
        value=value,
        optimum=optimum,
        constant=constant,
        timesteps=model.num_timesteps,
        cpu_s=cpu_s,
        wall_s=wall_s,
    )


def trained_for(config: PPOConfig, cpu_seconds: float) -> tuple[Model, float, float]:
    """Return (model, CPU seconds, seconds on the clock) of training a recipe for some CPU seconds.

    The model has its average weights, if the recipe averages.
    """
    budget = _Budget(cpu_seconds)

    def rate(_share_of_steps: float) -> float:
        return config.final_learning_rate + budget.left() * (config.learning_rate - config.final_learning_rate)

    with one_thread():
        model = build_model(config, make_env(config), schedule=rate)
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        model.learn(10**12, callback=[budget, *schedules(config, lambda: 1.0 - budget.left())])
        adopt_average(model)
        return model, time.process_time() - cpu_s, time.perf_counter() - wall_s


def value_of(policy: Any, params: EnvParams, *, episodes: int = 2_048) -> tuple[float, float]:
    """Return (J, standard error) of anything with `predict`, as J* less the mean paired difference to the optimum."""
    best = OptimalPolicy(params)
    figures = [
        rollout(played, episodes=episodes, seed=FIRST_SEED, params=params).figures.price_free
        for played in (policy, best)
    ]
    difference = figures[0] - figures[1]
    return best.optimum + float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(episodes))
