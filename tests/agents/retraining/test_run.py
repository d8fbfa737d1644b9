"""Once per period, with seeds of its own, everything written down."""

import dataclasses
import hashlib
import io
import itertools
import json
from datetime import UTC, datetime

import pytest
from rich.console import Console

from agents.ppo import PPOConfig
from agents.retraining import run
from agents.retraining.folder import ChampionError
from agents.retraining.market import Market
from agents.retraining.recipe import FIRST_HELD_OUT, MOST_EPISODES, Recipe, held_out_seed, period_of
from agents.retraining.restore import roll_back
from agents.retraining.run import planned
from agents.retraining.table import print_history
from hftgym import PRESETS, EnvParams
from hftgym.policies import OnnxPolicy

MONDAY = datetime(2026, 11, 16, 3, tzinfo=UTC)
FILES = {"record.json", "model.onnx", "model.zip", "manifest.json", "config.toml"}


@pytest.mark.slow
def test_weeks_go_by(folder, recipe, models, snapshot):
    folder.champion.write_bytes(models[2])  # hardly better than noise
    said: list[str] = []
    first = folder.ask(recipe, said=said)
    assert [record.action for record in folder.records()] == ["adopted", "promoted"]
    assert "taking it into the history as entry 1" in said[0]
    before = snapshot(folder.path)
    assert folder.ask(recipe) is None  # the same week
    assert snapshot(folder.path) == before
    second = folder.ask(recipe, week=1)
    third = folder.ask(dataclasses.replace(recipe, force=True, warm_start=True), week=1, said=said)
    assert any(f"warm start from {folder.entry(second.champion)}" in line for line in said)

    records = folder.records()
    assert [record.number for record in records] == [1, 2, 3, 4]
    assert [record.period for record in records] == ["", "2026-W47", "2026-W48", "2026-W48"]
    for record in (first, second, third):
        entry = folder.entry(record.number)
        assert {path.name for path in entry.iterdir()} == FILES
        assert hashlib.sha256((entry / "model.onnx").read_bytes()).hexdigest() == record.sha256
        assert json.loads((entry / "manifest.json").read_text()) == OnnxPolicy(entry / "model.onnx").manifest
        assert PPOConfig.from_toml(entry / "config.toml") == recipe.config_of(record.number)
        test = record.comparison["episodes"]
        assert (record.action == "promoted") == (test["z"] > record.comparison["threshold"])
        assert test["n"] == 100
        assert record.command == "a test"
    assert folder.whole() == (folder.entry(records[-1].champion) / "model.onnx").read_bytes()
    assert not folder.work.exists()

    page = io.StringIO()
    assert print_history(folder, console=Console(file=page, width=120)) == 0
    assert all(word in page.getvalue() for word in ("adopted", "promoted", "2026-W48", "3 comparisons", "whole"))
    roll_back(folder, to=1, now=MONDAY, command="a test", say=said.append)
    assert folder.whole() == models[2]
    assert folder.ask(recipe, week=1) is None  # a rollback does not make the week undone


def test_the_first_one_is_champion_without_a_test(folder, recipe):
    record = folder.ask(recipe)
    assert (record.action, record.champion, record.previous) == ("first", 1, None)
    assert set(record.comparison) == {"challenger"}
    assert folder.whole() == (folder.entry(1) / "model.onnx").read_bytes()


@pytest.mark.slow
def test_a_challenger_that_is_not_shown_to_be_better_changes_nothing(folder, recipe):
    folder.ask(recipe)
    before = folder.whole()
    record = folder.ask(dataclasses.replace(recipe, level=1e-12), week=1)
    assert (record.action, record.champion, record.previous) == ("kept", 1, 1)
    assert folder.whole() == before
    assert (folder.entry(2) / "model.onnx").read_bytes() != before


def test_a_run_that_was_killed_goes_on_and_ends_the_same(folder, recipe, tmp_path, monkeypatch):
    class Crash(BaseException):
        pass

    def killed(*_):
        raise Crash

    undisturbed = type(folder)(tmp_path / "undisturbed")
    undisturbed.ask(recipe)
    monkeypatch.setattr(run, "export", killed)
    with pytest.raises(Crash):
        folder.ask(recipe)
    assert not folder.champion.exists()
    monkeypatch.undo()
    said: list[str] = []
    folder.ask(recipe, said=said)
    assert "going on with the training that was interrupted" in said
    assert folder.whole() == undisturbed.whole()


def test_what_was_left_of_another_run_is_not_used(folder, recipe):
    (folder.work / "training" / "checkpoints").mkdir(parents=True)
    (folder.work / "training" / "checkpoints" / "step_000000000512.zip").write_text("damaged")
    (folder.work / "training" / "config.toml").write_text("damaged")
    (folder.work / "plan.json").write_text("damaged")
    said: list[str] = []
    assert folder.ask(recipe, said=said).action == "first"
    assert "going on with the training that was interrupted" not in said


def test_no_seed_is_used_twice(recipe, tiny):
    used = []
    for number in range(1, 6):
        config = recipe.config_of(number)
        used += [range(config.seed, config.seed + config.num_envs)]
        used += [range(held_out_seed(number), held_out_seed(number) + MOST_EPISODES)]
    used.sort(key=lambda seeds: seeds.start)
    assert all(one.stop <= other.start for one, other in itertools.pairwise(used))
    # The highest seed that a configuration can have, with the most environments.
    assert FIRST_HELD_OUT > 2**32 - 1 + 2**20
    last = dataclasses.replace(recipe, config=dataclasses.replace(tiny, seed=2**32 - 1)).config_of(2)
    assert 0 <= last.seed < 2**32


def test_periods_are_iso_weeks_and_days():
    assert period_of(datetime(2027, 1, 3, 23, 59, tzinfo=UTC), "week") == "2026-W53"
    assert period_of(datetime(2027, 1, 4, tzinfo=UTC), "week") == "2027-W01"
    assert period_of(datetime(2027, 1, 3, 23, 59, tzinfo=UTC), "day") == "2027-01-03"


def test_a_dry_run_tells_and_touches_nothing(folder, recipe, models, snapshot, tmp_path):
    due, lines = planned(type(folder)(tmp_path / "none"), recipe, now=MONDAY)
    assert due
    assert "there is no champion yet" in "\n".join(lines)
    assert not (tmp_path / "none").exists()
    folder.put(models[0])
    before = snapshot(folder.path)
    assert planned(folder, recipe, now=MONDAY)[0]
    assert snapshot(folder.path) == before
    folder.ask(recipe)
    due, lines = planned(folder, recipe, now=MONDAY)
    assert not due
    assert "entry 2 of 2026-11-16T03:00:00+00:00 has settled 2026-W47" in lines[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"episodes": 99}, "episodes must be from 100 to 16,777,216, got 99"),
        ({"level": 0.7}, "level must be at least 1e-15 and below 0.5"),
        (
            {"market": Market(params=PRESETS["mean-reverting"], source="mean-reverting")},
            "training_reward must be 'raw' or 'innovation_free' in the configuration: prices can be predicted in",
        ),
        (
            {"market": Market(params=EnvParams(sized_actions=True), source="sizes")},
            "sized_actions must be false for training: no policy file has order sizes",
        ),
    ],
)
def test_a_recipe_that_would_waste_a_training_is_refused(recipe, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(recipe, **changes)


@pytest.mark.parametrize("reward", ["raw", "innovation_free"])
def test_rewards_that_see_prices_may_be_learned_from_where_prices_can_be_predicted(recipe, tiny, reward):
    market = Market(params=PRESETS["mean-reverting"], source="mean-reverting")
    config = dataclasses.replace(tiny, training_reward=reward)
    assert dataclasses.replace(recipe, config=config, market=market).config_of(1).training_reward == reward


def test_too_few_held_out_ticks_are_no_recipe(recipe, tape):
    params = dataclasses.replace(recipe.market.params, tick_s=0.1)
    with pytest.raises(ValueError, match=r"held-out ticks must be at least 200 of 0\.1 s, got 150: record more"):
        dataclasses.replace(recipe, market=Market(params=params, source="a tape", held_out=tape(15.0)))


def test_a_champion_of_another_environment_is_refused_before_anything(folder, recipe, models, snapshot):
    folder.champion.write_bytes(models[0])
    other = dataclasses.replace(recipe, config=dataclasses.replace(recipe.config, env_id="CJ-v0"))
    before = snapshot(folder.path)
    for crowned in (False, True):
        for work in (lambda: folder.ask(other), lambda: planned(folder, other, now=MONDAY)):
            with pytest.raises(ChampionError, match="one folder holds the champions of one environment"):
                work()
            assert snapshot(folder.path) == before
        if not crowned:  # and once it is the history's own, and nothing is due
            assert [r.action for r in (folder.ask(recipe), *folder.records())][1:] == ["adopted", "promoted"]
            before = snapshot(folder.path)


@pytest.mark.slow
def test_ticks_have_a_say(folder, recipe, tape, models):
    params = dataclasses.replace(recipe.market.params, tick_s=0.1)
    market = Market(params=params, source="a tape", held_out=tape(40.0))
    folder.champion.write_bytes(models[2])
    record = folder.ask(dataclasses.replace(recipe, market=market))
    assert record.comparison["ticks"]["n"] == 20
    assert isinstance(EnvParams.from_dict(OnnxPolicy(folder.champion).manifest["params"]), EnvParams)
    assert Recipe(config=recipe.config, market=market).episodes == 4_000
