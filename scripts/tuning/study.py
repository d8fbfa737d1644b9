"""A study: what is searched for, written into its database, so that whoever opens it goes on with the same."""

import fcntl
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from agents.curve import truth_of
from agents.ppo_config import PPOConfig
from scripts.sweeping.engine import ATTEMPTS
from scripts.tuning.space import Space, decoded, field_value, space_of, table_of

POINTS = 10  # of a trial's learning curve: what pruning looks at
HEARTBEAT_S = 5  # a running trial says so often that it lives,
GRACE_S = 30  # and is lost when it has not for so long
_PLAN = "plan"


class StudyError(RuntimeError):
    """A study cannot be opened or go on; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that decides what a study's trials are.

    Attributes:
        recipe: What is searched around; its total_timesteps are the budget of one training.
        space: What is searched.
        seeds: The training seeds, the same for every trial: a trial is then a function of its parameters, can be
            repeated bit for bit after a crash, and what differs between two of them is not luck of the draw alone.
        cpu_seconds: Budget of one training in CPU seconds in place of the recipe's steps; 0 is none.

    Raises:
        ValueError: The recipe cannot be judged, or a value is outside its range.
    """

    recipe: PPOConfig
    space: Space
    seeds: tuple[int, ...] = (0,)
    cpu_seconds: float = 0.0

    def __post_init__(self) -> None:
        """Check what trials will need."""
        truth = truth_of(self.recipe)
        if truth is None or truth.optimum <= truth.constant:
            raise ValueError(
                "the recipe cannot be tuned: trials are judged by how far they come from the best constant quote to "
                "the exact optimum, which is known for algo PPO without return_weights, where prices cannot be "
                f"predicted, got algo = {self.recipe.algo!r} on {self.recipe.env_id}"
            )
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds must be at least one, each once, got {list(self.seeds)}")
        for seed in self.seeds:
            replace(self.recipe, seed=seed)
        if not 0 <= self.cpu_seconds < float("inf"):
            raise ValueError(f"cpu_seconds must be at least 0 (none), got {self.cpu_seconds}")

    def recipe_with(self, fields: Mapping[str, Any], *, steps: int | None = None) -> PPOConfig:
        """Return the recipe with other values of the searched fields, and another budget.

        Raises:
            ValueError: The values do not go together.
        """
        values = {name: field_value(value) for name, value in fields.items()}
        return replace(self.recipe, **values, total_timesteps=steps or self.recipe.total_timesteps)

    def recipe_of(self, trial: FrozenTrial) -> PPOConfig:
        """Return the recipe of a trial that has been run."""
        return self.recipe_with(decoded(trial.params, self.space), steps=trial.user_attrs.get("steps"))

    def to_json(self) -> str:
        """Return the plan as JSON; `from_json` reads it back."""
        values = {"recipe": self.recipe.to_dict(), "seeds": self.seeds, "cpu_seconds": self.cpu_seconds}
        return json.dumps({**values, **table_of(self.space)})

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Read `to_json`'s text."""
        values = json.loads(text)
        recipe = PPOConfig.from_dict(values["recipe"])
        space = space_of({"search": values["search"]}, recipe)
        return cls(recipe=recipe, space=space, seeds=tuple(values["seeds"]), cpu_seconds=values["cpu_seconds"])


def create_study(url: str, name: str, plan: Plan) -> optuna.Study:
    """Return the study of that name, which is made if there is none.

    Raises:
        StudyError: There is one with another plan, or the database cannot be used.
    """
    study = open_study(url, name, create=True)
    before = study.user_attrs.get(_PLAN)
    if before is None:
        study.set_user_attr(_PLAN, plan.to_json())
    else:
        _check_same(f"study {name!r}", json.loads(before), json.loads(plan.to_json()))
    return study


def open_study(url: str, name: str, *, seed: int | None = None, create: bool = False) -> optuna.Study:
    """Return a study that there is, or make it.

    Args:
        url: An SQLAlchemy URL.
        name: Of the study.
        seed: Of what is proposed next.
        create: Make the study if there is none.

    Raises:
        StudyError: The database cannot be used, or has no such study.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = TPESampler(seed=seed, multivariate=True)
    # The first third of a curve says little: exploration and learning rate fall over the whole budget.
    pruner = MedianPruner(n_startup_trials=5, n_warmup_steps=POINTS // 3, n_min_trials=3)
    try:
        storage = _storage(url)
        if not create:
            return optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner)
        return optuna.create_study(
            study_name=name, storage=storage, sampler=sampler, pruner=pruner, direction="maximize", load_if_exists=True
        )
    except (SQLAlchemyError, ImportError, KeyError, RuntimeError) as error:
        raise StudyError(f"cannot use the database {shown(url)}: {_first_line(error)}") from error


def plan_of(study: optuna.Study) -> Plan:
    """Return the plan in a study's database."""
    return Plan.from_json(study.user_attrs[_PLAN])


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other searches out of a study's folder while the block runs: they would propose what this one proposes.

    Raises:
        StudyError: Another process searches there.
    """
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, however that ends
        except BlockingIOError as error:
            raise StudyError(f"another process searches in {folder}: wait for it, or choose another --name") from error
        yield


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that have been judged: completed, or pruned."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def database(url: str, file: Path) -> str:
    """Return the URL to use: the given one, or an SQLite file."""
    return url or f"sqlite:///{file.resolve()}"


def shown(url: str) -> str:
    """Return a URL without its password."""
    import sqlalchemy

    try:
        return sqlalchemy.engine.make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "of --storage"


def _storage(url: str) -> RDBStorage:
    with warnings.catch_warnings():
        # The heartbeat has been experimental since 2021; a lost trial is what it is for.
        warnings.simplefilter("ignore", ExperimentalWarning)
        return RDBStorage(
            url,
            engine_kwargs={"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True},
            heartbeat_interval=HEARTBEAT_S,
            grace_period=GRACE_S,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=ATTEMPTS - 1),
        )


def _check_same(what: str, before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> None:
    """Raise if two plans differ, with the name of the first difference."""
    for name in {**before, **now}:
        old, new = before.get(name), now.get(name)
        # Ranges are shown whole: half of one says little.
        if isinstance(old, dict) and isinstance(new, dict) and prefix != "search.":
            _check_same(what, old, new, f"{prefix}{name}.")
        elif old != new:
            raise StudyError(
                f"{what} was started with {prefix}{name} = {_said(old)}, so it cannot go on with {_said(new)}: "
                "choose another --name"
            )


def _said(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value)


def _first_line(error: BaseException) -> str:
    cause = error.__cause__ or error
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
