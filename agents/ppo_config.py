"""The configuration of a run: a frozen dataclass per algorithm, read from TOML, written to TOML."""

import dataclasses
import difflib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self, get_args

from agents.return_memory import ReturnMemory
from agents.vec_env import TrainingReward
from hftgym import EnvParams

DEFAULT_CONFIG = Path(__file__).parent / "configs" / "ppo.toml"

# name -> (lowest, is the lowest itself allowed, highest allowed)
_BOUNDS: Mapping[str, tuple[float, bool, float]] = MappingProxyType(
    {
        "seed": (0, True, 2**32 - 1),
        "total_timesteps": (1, True, 10**12),
        "num_envs": (1, True, 2**20),
        "n_steps": (1, True, 2**20),
        "batch_size": (2, True, 2**30),
        "n_epochs": (1, True, 1_000),
        "learning_rate": (0.0, False, 1.0),
        "final_learning_rate": (0.0, True, 1.0),
        "gamma": (0.0, False, 1.0),
        "gae_lambda": (0.0, True, 1.0),
        "clip_range": (0.0, False, 10.0),
        "ent_coef": (0.0, True, 1e3),
        "vf_coef": (0.0, True, 1e3),
        "max_grad_norm": (0.0, False, 1e6),
        "log_std_init": (-10.0, True, 2.0),
        "final_log_std": (-10.0, True, 2.0),
        "averaging": (0.0, True, 1e3),
        "evaluate_every": (1, True, 10**12),
        "lstm_size": (1, True, 1_024),
        "env_runners": (0, True, 10_000),
        "learners": (0, True, 1_000),
        "gpus_per_learner": (0.0, True, 64.0),
        "checkpoint_every": (1, True, 10**12),
        "keep_checkpoints": (2, True, 1_000),
    }
)


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Everything that decides what a PPO run learns; the same configuration gives the same weights, bit for bit.

    Attributes:
        env_id: Id of an environment with a native batch.
        seed: Seed of the weights, of the exploration and of the market, 0 to 2^32 - 1.
        total_timesteps: Budget in environment steps, over all environments; whole rollouts (num_envs * n_steps) are run
            until it is reached.
        num_envs: Environments stepped together.
        n_steps: Steps per environment between two updates.
        batch_size: Samples per gradient step; divides num_envs * n_steps.
        n_epochs: Passes over the samples of a rollout.
        learning_rate: Adam's step size at the start; it falls linearly with the steps done.
        final_learning_rate: Step size at the end of the budget, at most learning_rate.
        gamma: Discount per tick. Below 0.98 it costs optimum, at 1 it costs learning time.
        gae_lambda: Decay of generalised advantage estimation (Schulman et al. 2016).
        clip_range: PPO's limit on the change of an action's probability per update.
        ent_coef: Weight of the entropy bonus.
        vf_coef: Weight of the value loss.
        max_grad_norm: Gradients are scaled down to this norm.
        log_std_init: Log of the initial standard deviation of the exploration, in action units.
        final_log_std: Log of the standard deviation at the end of the budget, to which it then falls geometrically;
            without this field it is learned.
        averaging: The agent is the mean of the weights after every rollout, the k-th with the weight k^averaging; 0
            takes those after the last. 8 averages over about the last tenth of the rollouts.
        net_arch: Widths of the hidden tanh layers, of the policy and of the value function each.
        training_reward: "martingale_free" leaves the inventory's gains from price moves out of the reward that is
            learned from, which is unbiased where prices cannot be predicted and learns ten times faster;
            "innovation_free" leaves out what of them no linear forecast could foresee, for prices of which nothing is
            known, as on tapes; "raw" is the environment's reward. The reward that is shown and judged is always the raw
            one.
        normalize_reward: Learn from rewards less their running mean, over their running standard deviation. Then the
            value function starts at zero, and all of it is about what differs between states: the level, hundreds of
            times as large as what a unit of inventory costs, is gone. Only for episodes of fixed length.
        stagger: Start the first episodes at random ticks.
        checkpoint_every: Environment steps between checkpoints.
        may_cross: The agent may send orders that cross the spread; without, it quotes at offset_low or further out.
        evaluate_every: Environment steps between two evaluations of the greedy policy, where the optimum is known.
        keep_checkpoints: How many of the newest checkpoints stay on disk (>= 2, in case one becomes unreadable).
        return_weights: Weights of exponentially weighted averages of past returns that the policy sees besides the
            observation (`agents.return_memory`); empty is none, and a policy without a memory.
        params: The market and the task.

    Raises:
        ValueError: A value is outside its range; the message names the field, the value and what is allowed.
        TypeError: A value is not of its field's type.
    """

    algo: ClassVar[str] = "PPO"

    env_id: str
    seed: int
    total_timesteps: int
    num_envs: int
    n_steps: int
    batch_size: int
    n_epochs: int
    learning_rate: float
    final_learning_rate: float
    gamma: float
    gae_lambda: float
    clip_range: float
    ent_coef: float
    vf_coef: float
    max_grad_norm: float
    log_std_init: float
    net_arch: tuple[int, ...]
    training_reward: TrainingReward
    stagger: bool
    checkpoint_every: int
    keep_checkpoints: int
    return_weights: tuple[float, ...] = ()
    final_log_std: float | None = None
    averaging: float = 0.0
    normalize_reward: bool = False
    may_cross: bool = True
    evaluate_every: int = 100_000
    params: EnvParams

    def __post_init__(self) -> None:
        """Check every field, and what they must satisfy together."""
        for field in dataclasses.fields(self):
            optional = field.default is None and getattr(self, field.name) is None
            if field.name in _BOUNDS and not optional:
                check_number(field.name, getattr(self, field.name), integer=field.type is int)
        if not isinstance(self.env_id, str) or not self.env_id:
            raise TypeError(f"env_id must be a Gymnasium id, got {self.env_id!r}")
        for name in ("stagger", "normalize_reward", "may_cross"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be true or false, got {getattr(self, name)!r}")
        if not isinstance(self.params, EnvParams):
            raise TypeError(f"params must be an EnvParams, got {type(self.params).__name__}")
        if self.training_reward not in get_args(TrainingReward):
            allowed = ", ".join(get_args(TrainingReward))
            raise ValueError(f"training_reward must be one of {allowed}, got {self.training_reward!r}")
        if self.training_reward == "martingale_free" and not self.params.is_martingale:
            raise ValueError(
                'training_reward must be "innovation_free" or "raw" where prices can be predicted (a drift, mean '
                "reversion, jumps with a mean, the drift of a regime or a hidden one), got 'martingale_free'"
            )
        widths = self.net_arch
        if not (isinstance(widths, tuple) and widths and all(type(w) is int and 1 <= w <= 4096 for w in widths)):
            raise ValueError(f"net_arch must be one or more layer widths from 1 to 4096, got {widths!r}")
        if self.return_weights != ():
            ReturnMemory(self.return_weights)  # checks them
        rollout = self.num_envs * self.n_steps
        if rollout % self.batch_size:
            raise ValueError(f"batch_size must divide num_envs * n_steps = {rollout}, got {self.batch_size}")
        finals = {"final_learning_rate": "learning_rate", "final_log_std": "log_std_init"}
        for last, first in finals.items():
            low, high = getattr(self, last), getattr(self, first)
            if low is not None and low > high:
                raise ValueError(f"{last} must be at most {first} = {high}, got {low}")

    @classmethod
    def from_toml(cls, path: Path = DEFAULT_CONFIG) -> Self:
        """Read a configuration, of the class that its `algo` names; `dataclasses.replace` makes a variant.

        Raises:
            ValueError: The file is not TOML, lacks a field or has one that does not exist, is of another algorithm, or
                a value is outside its range; the message names the file.
        """
        try:
            with path.open("rb") as file:
                return cls.from_dict(tomllib.load(file))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a configuration from `to_dict`'s plain values.

        Raises:
            ValueError: A field is missing, does not exist, or is outside its range.
        """
        values = dict(values)
        algo = values.pop("algo", PPOConfig.algo)
        kind = {kind.algo: kind for kind in (PPOConfig, RecurrentConfig, RLlibConfig)}.get(algo)
        if kind is None or not issubclass(kind, cls):
            raise ValueError(f"algo must be one that {cls.__name__} is the configuration of, got {algo!r}")
        _check_names(kind, values)
        sequences = {name: tuple(values[name]) for name in ("net_arch", "return_weights") if name in values}
        return kind(**{**values, **sequences, "params": EnvParams.from_dict(values["params"])})

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, and the algorithm."""
        sequences = {"net_arch": list(self.net_arch), "return_weights": list(self.return_weights)}
        return {"algo": self.algo, **dataclasses.asdict(self), **sequences, "params": self.params.to_dict()}

    def to_toml(self) -> str:
        """Return the configuration as TOML; `from_toml` reads it back exactly."""
        values = self.to_dict()
        params = values.pop("params")
        # TOML has no null: what is not set is left out.
        lines = [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
        return "\n".join([*lines, "", "[params]", *(f"{key} = {_toml(value)}" for key, value in params.items()), ""])


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig(PPOConfig):
    """Everything that decides what a RecurrentPPO run learns: PPO over an LSTM, trained through whole rollouts.

    Attributes:
        lstm_size: Numbers that the LSTM remembers, each as h and as c; the layers of net_arch come behind it.
        return_weights: The value function alone sees the averages. It has no LSTM, and is not deployed.
    """

    algo: ClassVar[str] = "RecurrentPPO"

    lstm_size: int


@dataclass(frozen=True, kw_only=True)
class RLlibConfig(PPOConfig):
    """Everything that decides what a run of RLlib's PPO learns, and which processes share the work.

    The same configuration does not give the same weights: rollouts arrive in the order in which they are done.

    Attributes:
        env_runners: Processes that step environments and choose actions, num_envs / env_runners environments each; 0
            leaves it to the training process.
        learners: Processes that compute gradients, each of batch_size / learners samples at a time; 0 leaves it to the
            training process.
        gpus_per_learner: GPUs that each learner asks the cluster for.
    """

    algo: ClassVar[str] = "RLlibPPO"

    env_runners: int = 0
    learners: int = 0
    gpus_per_learner: float = 0.0

    def __post_init__(self) -> None:
        """Check also that the work can be shared evenly."""
        super().__post_init__()
        for whole, parts in (("num_envs", "env_runners"), ("batch_size", "learners")):
            number, processes = getattr(self, whole), getattr(self, parts)
            if processes and number % processes:
                raise ValueError(f"{parts} must divide {whole} = {number}, got {processes}")
        if self.return_weights:
            raise ValueError(f"return_weights must be empty for {self.algo}, got {self.return_weights!r}")
        if self.training_reward == "innovation_free":
            raise ValueError(f'training_reward must be "martingale_free" or "raw" for {self.algo}')


def check_number(name: str, value: Any, *, integer: bool) -> None:
    """Raise unless `value` is a number of the field's type within its bounds.

    Args:
        name: A field of a configuration that is a number.
        value: What it is to be.
        integer: The field is an integer.

    Raises:
        ValueError: It is outside the field's bounds.
        TypeError: It is of another type.
    """
    low, low_allowed, high = _BOUNDS[name]
    if isinstance(value, bool) or not isinstance(value, int if integer else (int, float)):
        raise TypeError(f"{name} must be {'an integer' if integer else 'a number'}, got {value!r}")
    if not math.isfinite(value) or value > high or value < low or (value == low and not low_allowed):
        bound = f"{'at least' if low_allowed else 'greater than'} {low:,}"
        raise ValueError(f"{name} must be {bound} and at most {high:,}, got {value!r}")


def _check_names(cls: type[PPOConfig], values: Mapping[str, Any]) -> None:
    names = [field.name for field in dataclasses.fields(cls)]
    for key in values:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; the fields are {', '.join(names)}"
            raise ValueError(f"{key!r} is not a field of {cls.__name__}{hint}")
    needed = [field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING]
    missing = [name for name in needed if name not in values]
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}")


def _toml(value: Any) -> str:
    """Return a scalar or a list of them as TOML."""
    # JSON's strings, numbers, booleans and arrays are TOML's, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
