"""One trial of a study, in whatever process: ask the database what to try, train it, and tell what it came to."""

import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import ceil
from pathlib import Path
from statistics import fmean

import numpy as np
from optuna import Study, Trial, TrialPruned
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial

from agents.curve import Point, read_curve
from agents.ppo import build_model, make_env, one_thread, train
from agents.ppo_config import PPOConfig
from agents.run_folder import DivergedError, RunFolder
from scripts.sweeping.engine import Rows
from scripts.sweeping.task import Task
from scripts.tuning.space import suggested
from scripts.tuning.study import POINTS, Plan, open_study, plan_of

_PILOT_SHARE = 0.03  # of a budget in CPU seconds: to find out how many steps it is


def perform_trial(task: Task) -> Rows:
    """Run one trial of the study that a task names, and return what became of it as one row.

    Args:
        task: Its values are `storage`, a URL; `study`, a name; `slot`, which seeds the sampler; `folder` for runs that
            can go on after a crash, empty for none.
    """
    values = task.values
    # A resumed study must not propose once more what it began with: no two trials have a slot in common.
    seed = int(np.random.SeedSequence([values["sampler_seed"], values["slot"]]).generate_state(1)[0])
    study = open_study(values["storage"], values["study"], seed=seed)
    plan, done = plan_of(study), []

    def note(_: Study, trial: FrozenTrial) -> None:
        done.append(trial)

    study.optimize(lambda trial: _objective(trial, plan, values["folder"]), n_trials=1, callbacks=[note])
    return [{"number": trial.number, "state": trial.state.name, "value": trial.value} for trial in done]


def _objective(trial: Trial, plan: Plan, folder: str) -> float:
    """Return a trial's mean over the seeds of the fraction of the way to the optimum.

    Raises:
        TrialPruned: It learns less than others did, diverged, or its values do not go together.
    """
    fields = suggested(trial, plan.space)
    try:
        recipe = plan.recipe_with(fields)
    except ValueError as error:
        raise _pruned(trial, error) from error
    if plan.cpu_seconds:
        recipe = replace(recipe, total_timesteps=_steps(trial, recipe, plan.cpu_seconds))
    recipe = replace(recipe, evaluate_every=ceil(recipe.total_timesteps / POINTS))
    began = time.process_time()
    with _work(trial, folder) as work:
        try:
            values = [
                _trained(trial, replace(recipe, seed=seed), work / f"seed_{seed}", before=place * POINTS)
                for place, seed in enumerate(plan.seeds)
            ]
        except DivergedError as error:
            raise _pruned(trial, error) from error
        finally:
            trial.set_user_attr("cpu_s", round(time.process_time() - began, 3))
    return fmean(values)


def _trained(trial: Trial, recipe: PPOConfig, folder: Path, *, before: int) -> float:
    """Train under one seed, telling the study how it goes, and return where it ended."""
    last = before

    def tell(point: Point) -> None:
        nonlocal last
        step = before + int(POINTS * point.timesteps / recipe.total_timesteps)
        if last < step < before + POINTS:
            last = step
            trial.report(point.fraction, step)
            if trial.should_prune():
                raise TrialPruned(f"at {step - before} of {POINTS} points")

    train(recipe, folder, resume=True, progress=False, on_point=tell)
    end = read_curve(RunFolder(folder).curve)[-1]
    trial.report(end.fraction, before + POINTS)
    return end.fraction


def _pruned(trial: Trial, error: Exception) -> TrialPruned:
    trial.set_user_attr("why", str(error))
    return TrialPruned(str(error))


@contextmanager
def _work(trial: Trial, folder: str) -> Iterator[Path]:
    """Give a trial a folder to train in. A trial that is retried after a crash finds its checkpoints there."""
    if not folder:
        with tempfile.TemporaryDirectory(prefix="hftgym-trial-") as temporary:
            yield Path(temporary)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        frozen = trial.study.get_trials(deepcopy=False)[trial.number]
        first = RetryHeartbeatStaleTrialCallback.retried_trial_number(frozen)
    path = Path(folder) / f"trial_{trial.number if first is None else first}"
    try:
        yield path
    finally:  # but not after kill -9
        shutil.rmtree(path, ignore_errors=True)


def _steps(trial: Trial, recipe: PPOConfig, cpu_seconds: float) -> int:
    """Return how many steps of a recipe fit into some CPU seconds; a trial that is retried keeps its number."""
    if "steps" not in trial.user_attrs:
        trial.set_user_attr("steps", steps_in(recipe, cpu_seconds))
    return trial.user_attrs["steps"]


def steps_in(recipe: PPOConfig, cpu_seconds: float) -> int:
    """Return how many environment steps a recipe trains in some CPU seconds, from a short run; at least one rollout."""
    rollout = recipe.num_envs * recipe.n_steps
    with one_thread():
        model = build_model(recipe, make_env(recipe))
        model.learn(rollout)  # compiles, fills caches
        began, before = time.process_time(), model.num_timesteps
        while time.process_time() - began < _PILOT_SHARE * cpu_seconds or model.num_timesteps == before:
            model.learn(rollout, reset_num_timesteps=False)
        rate = (model.num_timesteps - before) / (time.process_time() - began)
    return max(rollout, int(rate * cpu_seconds))
