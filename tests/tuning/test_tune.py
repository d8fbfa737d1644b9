"""A search that is killed goes on, and ends with a recipe that can be trained."""

import dataclasses
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from agents.curve import Point
from agents.ppo_config import PPOConfig
from hftgym import EnvParams
from hftgym.presets import PRESETS
from scripts.sweeping.task import Task
from scripts.tuning import study as studies
from scripts.tuning import trial as trials
from scripts.tuning.picture import draw
from scripts.tuning.result import write_best
from scripts.tuning.space import DEFAULT_SEARCH, Choices, Range, read_space, space_of, table_of
from scripts.tuning.study import Plan, StudyError, create_study, finished, plan_of
from scripts.tuning.trial import perform_trial

ROOT = Path(__file__).parents[2]
SEARCH = {
    "search": {
        "learning_rate": {"low": 1e-3, "high": 1e-2, "log": True},
        "n_epochs": {"low": 1, "high": 2},
        "net_arch": {"choices": [[8], [8, 8]]},
    }
}


@pytest.fixture(scope="module")
def tiny():
    return dataclasses.replace(
        PPOConfig.from_toml(),
        total_timesteps=2_048,
        num_envs=8,
        n_steps=16,
        batch_size=64,
        net_arch=(8, 8),
        params=EnvParams(horizon=60, window=12),
    )


@pytest.fixture
def plan(tiny):
    return Plan(recipe=tiny, space=space_of(SEARCH, tiny))


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/study.db"


def task(url, slot, folder=""):
    return Task("trial", {"storage": url, "study": "s", "sampler_seed": 0, "slot": slot, "folder": str(folder)})


def test_the_default_search_fits_the_default_recipe():
    space = read_space(DEFAULT_SEARCH, PPOConfig.from_toml())
    assert space["learning_rate"] == Range(5e-4, 1e-2, log=True)
    assert space["batch_size"] == Choices((1024, 2048, 4096, 8192))
    assert space_of(table_of(space), PPOConfig.from_toml()) == space


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "learning_rat = {low = 1e-3, high = 1e-2}",
            "search.learning_rat is not a field .*did you mean 'learning_rate'",
        ),
        ("params = {choices = [1, 2]}", "search.params cannot be searched: the market is the task"),
        ('"params.volatility" = {low = 0.1, high = 0.2}', "search.params.volatility cannot be searched: the market"),
        ("seed = {low = 0, high = 9}", "search.seed cannot be searched: see --seeds"),
        ("learning_rate = 0.1", r"search.learning_rate must be \{ low, high \} .*got 0.1"),
        ("learning_rate = {low = 0.1}", r"search.learning_rate must be \{ low, high \}"),
        ("learning_rate = {low = 0.1, high = 0.01}", "search.learning_rate.low must be below high = 0.01, got 0.1"),
        ("learning_rate = {low = 0, high = 0.01}", "learning_rate must be greater than 0.0 and at most 1.0, got 0"),
        ("averaging = {low = 0.0, high = 1.0, log = true}", "search.averaging.low must be greater than 0 with log"),
        ("averaging = {low = 0.0, high = 1.0, log = 1.5}", "search.averaging.log must be true or false, got 1.5"),
        ("n_epochs = {low = 1, high = 9, step = 0.5}", "search.n_epochs.step must be a positive integer .*got 0.5"),
        ("n_epochs = {low = 1.5, high = 9}", "n_epochs must be an integer, got 1.5"),
        ("n_epochs = {choices = [1]}", "search.n_epochs.choices must be a list of at least two values"),
        ("n_epochs = {choices = [1, 1]}", "search.n_epochs.choices must differ"),
        ("n_epochs = {choices = [1, 0]}", "n_epochs must be at least 1 .*got 0"),
        ("net_arch = {choices = [[8], [0]]}", r"net_arch must be .*got \(0,\)"),
        ("net_arch = {low = 1, high = 2}", r"search.net_arch must be \{ choices"),
        ('training_reward = {choices = ["raw", "cooked"]}', "training_reward must be one of .*'cooked'"),
        ("gamma = {low = 0.9", "at line 2"),
    ],
)
def test_a_bad_search_is_refused_by_file_and_key(tmp_path, line, message):
    path = tmp_path / "search.toml"
    path.write_text(f"[search]\n{line}\n")
    with pytest.raises(ValueError, match=rf"search\.toml: .*{message}"):
        read_space(path, PPOConfig.from_toml())


def test_a_market_without_a_known_optimum_is_refused(tiny):
    recipe = dataclasses.replace(tiny, training_reward="raw", params=PRESETS["mean-reverting"])
    with pytest.raises(ValueError, match="cannot be tuned: trials are judged by"):
        Plan(recipe=recipe, space=space_of(SEARCH, recipe))


@pytest.mark.slow
def test_a_study_goes_on_with_the_same_plan_alone(plan, url):
    assert plan_of(create_study(url, "s", plan)) == plan
    assert plan_of(create_study(url, "s", plan)) == plan
    wider = space_of({"search": {**SEARCH["search"], "n_epochs": {"low": 1, "high": 3}}}, plan.recipe)
    market = dataclasses.replace(plan.recipe, params=EnvParams(horizon=61, window=12))
    for name, other in {
        'search.n_epochs = {"low": 1, "high": 2': dataclasses.replace(plan, space=wider),
        "recipe.params.horizon = 60": dataclasses.replace(plan, recipe=market),
        r"seeds = \[0\]": dataclasses.replace(plan, seeds=(0, 1)),
        "cpu_seconds = 0.0": dataclasses.replace(plan, cpu_seconds=1.0),
    }.items():
        with pytest.raises(StudyError, match=f"study 's' was started with {name}.*choose another --name"):
            create_study(url, "s", other)


def test_an_unusable_database_is_said_to_be_without_its_password(tmp_path):
    for url, message in {
        f"sqlite:///{tmp_path}/no/where.db": "unable to open database file",
        "postgresql://me:secret@127.0.0.1:9/x": r"me:\*\*\*@127",
        "nonsense": "of --storage",
    }.items():
        with pytest.raises(StudyError, match=message) as caught:
            studies.open_study(url, "s")
        assert "secret" not in str(caught.value)


@pytest.mark.slow
def test_a_trial_is_a_function_of_its_slot_and_of_what_was_before(plan, tmp_path):
    seen = []
    for name in ("a", "b"):
        url = f"sqlite:///{tmp_path}/{name}.db"
        study = create_study(url, "s", plan)
        for slot in range(3):
            assert perform_trial(task(url, slot, tmp_path / name))[0]["state"] == "COMPLETE"
        assert not list((tmp_path / name).iterdir())
        seen.append([(trial.params, trial.value, trial.intermediate_values) for trial in study.trials])
        command = write_best(tmp_path / f"{name}.toml", study, plan)
    assert seen[0] == seen[1]
    assert len({str(params) for params, _, _ in seen[0]}) == 3
    best = PPOConfig.from_toml(tmp_path / "b.toml")
    assert best == plan.recipe_of(study.best_trial)
    assert f"--config {tmp_path}/b.toml" in command
    assert "--seeds 1 2 3 4 5" in command
    assert draw(tmp_path / "trials.png", study).stat().st_size > 10_000


@pytest.mark.slow
def test_a_lost_trial_is_run_again_with_its_values(plan, url, tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "HEARTBEAT_S", 1)
    monkeypatch.setattr(studies, "GRACE_S", 1)
    create_study(url, "s", plan)
    code = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from scripts.sweeping.task import Task
from scripts.tuning import study, trial
study.HEARTBEAT_S = study.GRACE_S = 1
trial.train = lambda *_, **__: os.kill(os.getpid(), 9)
trial.perform_trial(Task("trial", {dict(task(url, 0, tmp_path).values)!r}))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    study = studies.open_study(url, "s")
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING]
    deadline = time.monotonic() + 60
    while not any(trial.params == study.trials[0].params for trial in finished(study)):
        assert time.monotonic() < deadline
        perform_trial(task(url, len(study.trials), tmp_path))
    assert study.trials[0].state == TrialState.FAIL


@pytest.mark.slow
def test_what_learns_less_than_others_is_pruned(plan, url, tmp_path, monkeypatch):
    create_study(url, "s", plan)
    told = []

    def train(recipe, folder, *, on_point, **_):
        folder.mkdir(parents=True)
        for step in range(recipe.evaluate_every, recipe.total_timesteps + 1, recipe.evaluate_every):
            told.append(step)
            on_point(Point(step, 0.0, 0.0, 0.0, 0.0, value))
        header = "timesteps,cpu_s,j,j_error,share,fraction"
        (folder / "curve.csv").write_text(f"{header}\n{recipe.total_timesteps},0,0,0,0,{value}\n")

    monkeypatch.setattr(trials, "train", train)
    for slot in range(6):
        value = 0.9 + slot / 100
        assert perform_trial(task(url, slot, tmp_path))[0]["value"] == value
    told.clear()
    value = 0.5
    assert perform_trial(task(url, 6, tmp_path))[0]["state"] == "PRUNED"
    assert 3 <= len(told) < studies.POINTS


def command(runs, *words):
    return [sys.executable, str(ROOT / "scripts" / "tune.py"), "--runs", str(runs), "--name", "s", *words]


@pytest.fixture
def words(tiny, tmp_path):
    (tmp_path / "recipe.toml").write_text(dataclasses.replace(tiny, total_timesteps=4_096).to_toml())
    (tmp_path / "search.toml").write_text("[search]\nlearning_rate = {low = 1e-3, high = 1e-2, log = true}\n")
    return ["--config", str(tmp_path / "recipe.toml"), "--search", str(tmp_path / "search.toml"), "--workers", "2"]


@pytest.mark.slow
def test_a_second_search_of_one_study_is_refused(tmp_path, words):
    (tmp_path / "s").mkdir()
    with studies.alone(tmp_path / "s"):
        done = subprocess.run(command(tmp_path, *words, "--trials", "1"), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        done.stderr == f"error: another process searches in {tmp_path / 's'}: wait for it, or choose another --name\n"
    )
    assert not (tmp_path / "s" / "study.db").exists()


def trials_of(runs):
    return studies.open_study(f"sqlite:///{runs}/s/study.db", "s").get_trials(deepcopy=False)


@pytest.mark.slow
def test_a_study_that_is_killed_loses_the_trials_in_flight_at_most(tmp_path, words):
    first = subprocess.Popen(command(tmp_path, *words, "--trials", "6"), stdout=subprocess.PIPE, text=True)
    try:
        for line in first.stdout:
            if line.startswith("trial "):
                break
    finally:
        first.kill()
        first.communicate()
    before = {trial.number: trial.value for trial in trials_of(tmp_path) if trial.state.is_finished()}
    assert before
    done = subprocess.run(command(tmp_path, *words, "--trials", "6"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"study s goes on after {len(before)} trials", done.stdout)
    assert "--seeds 1 2 3 4 5" in done.stdout
    after = {trial.number: trial for trial in trials_of(tmp_path)}
    assert {number: after[number].value for number in before} == before
    assert sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in after.values()) == 6
    # In flight when it was killed: two workers had one trial each, which may have been run again.
    assert len(after) <= 6 + 2
    # One may have been killed before it had any.
    assert len({trial.params["learning_rate"] for trial in after.values() if trial.params}) >= 6
