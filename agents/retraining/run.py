"""Retraining as one command that may be repeated, killed and forgotten: train a challenger, compare, promote or keep.

`retrain` does what is due in this week (or day) and nothing else. What was killed goes on where it was: training from
its last checkpoint, the rest from its beginning, with the same seeds and the same outcome.
"""

import dataclasses
import json
import shutil
import time
from datetime import datetime
from typing import Any

import hftgym
from agents.checkpoint import load_newest
from agents.export import export
from agents.ppo import PPOConfig, train
from agents.retraining.folder import ChampionFolder
from agents.retraining.recipe import Recipe, done_in, held_out_seed, period_of
from agents.retraining.record import Record
from agents.retraining.restore import Say, settled, stamp
from agents.retraining.verdict import judge, score, threshold_of
from agents.retraining.warm import prepare_warm
from agents.run_folder import RunError, RunFolder, write_atomic
from hftgym import EnvParams
from hftgym.policies.onnx import OnnxPolicy


def retrain(
    folder: ChampionFolder, recipe: Recipe, *, now: datetime, command: str, say: Say, progress: bool = False
) -> Record | None:
    """Do what is due and return the new entry of the history, or None if nothing is.

    Args:
        folder: The champion's.
        recipe: What to do.
        now: The time, in UTC.
        command: The command line, for the record.
        say: Takes one line per event.
        progress: Show the training's progress on standard error.

    Raises:
        BusyError: Another process is at work in the folder.
        ChampionError: The champion's file is missing, damaged or of another environment.
        RunError, ExportError, ValueError: Something else went wrong; the champion is untouched.
        TrainingInterrupted: Ctrl-C; the next run continues.
    """
    began = time.perf_counter()
    with folder.locked():
        records = settled(folder, env_id=recipe.config.env_id, now=now, command=command, say=say)
        period, number = period_of(now, recipe.period), len(records) + 1
        if done_in(period, records) and not recipe.force:
            return None
        champion = OnnxPolicy(folder.champion) if records else None
        say(f"run {number} for {period}: the market is {recipe.market.source}")
        challenger = _challenger(folder, recipe, records, say=say, progress=progress)
        ticks = " and on held-out ticks" * _on_ticks(recipe, champion)
        say(f"comparing on {recipe.episodes:,} held-out episodes{ticks}")
        comparison, better, reason = _compared(champion, challenger, recipe, number=number)
        record = Record(
            number=number,
            time=stamp(now),
            period=period,
            action="first" if champion is None else "promoted" if better else "kept",
            champion=number if better else records[-1].champion,
            previous=records[-1].champion if records else None,
            sha256=folder.digest(folder.draft / "model.onnx"),
            command=command,
            reason=reason,
            market=recipe.market.source,
            comparison=comparison,
            seeds={"training": recipe.config_of(number).seed, "held_out": held_out_seed(number)},
            seconds=round(time.perf_counter() - began, 1),
        )
        folder.commit(record, records)
        return record


def planned(folder: ChampionFolder, recipe: Recipe, *, now: datetime) -> tuple[bool, list[str]]:
    """Return (whether a run is due, what it would do, in lines), without writing anything.

    Raises:
        RunError: The history or the champion is damaged, or the champion is of another environment: a run would fail.
    """
    records = folder.records()
    number, period = len(records) + 1, period_of(now, recipe.period)
    known = bool(records) or folder.champion.exists()
    if known and folder.unsettled(records) is None:
        folder.check_champion(records, env_id=recipe.config.env_id)
    done = done_in(period, records)
    if done is not None and not recipe.force:
        return False, [f"nothing to do: entry {done.number} of {done.time} has settled {period}"]
    config = recipe.config_of(number)
    changed = {key: value for key, value in config.params.to_dict().items() if value != getattr(EnvParams(), key)}
    baseline = f"the champion, {folder.champion}" if known else "nothing: there is no champion yet"
    return True, [
        f"would make entry {number} for {period} in {folder.path}",
        f"market: {recipe.market.source}; different from the default one: {changed or 'nothing'}",
        f"training: {config.total_timesteps:,} steps, seeds {config.seed:,} and up"
        f"{', from the weights of the champion' * (recipe.warm_start and bool(records))}",
        f"comparison with {baseline}; {recipe.episodes:,} episodes, seeds {held_out_seed(number):,} and up"
        f"{', and the last ticks of the tape' * _on_ticks(recipe, known or None)}",
        f"promotion if z is above {threshold_of(recipe.level, recipe.episodes):.2f}; an equal challenger would pass "
        f"{100 * recipe.level:g} % of the comparisons",
    ]


def _on_ticks(recipe: Recipe, champion: object) -> bool:
    return recipe.market.held_out is not None and champion is not None


def _challenger(
    folder: ChampionFolder, recipe: Recipe, records: list[Record], *, say: Say, progress: bool
) -> OnnxPolicy:
    """Train and export into the draft, going on from where a killed run was, and return the exported agent."""
    config = recipe.config_of(len(records) + 1)
    training = RunFolder(folder.work / "training")
    parent = records[-1].champion if recipe.warm_start and records else None
    if _goes_on(folder, {"config": config.to_dict(), "parent": parent, "version": hftgym.__version__}):
        say("going on with the training that was interrupted")
    shutil.rmtree(folder.draft, ignore_errors=True)
    if parent is not None and not training.config.exists():
        say(prepare_warm(config, training, folder.entry(parent) / "model.zip"))
    say(f"training {config.total_timesteps:,} steps, seed {config.seed}")
    model = train(config, training.path, resume=True, progress=progress)
    folder.draft.mkdir(parents=True)
    manifest = export(model, folder.draft / "model.onnx")
    write_atomic(folder.draft / "manifest.json", json.dumps(manifest, indent=1).encode())
    write_atomic(folder.draft / "config.toml", config.to_toml().encode())
    write_atomic(folder.draft / "model.zip", model.read_bytes())
    return OnnxPolicy(folder.draft / "model.onnx", env_id=config.env_id)


def _goes_on(folder: ChampionFolder, plan: dict[str, Any]) -> bool:
    """Return whether the work folder holds the beginning of this very run; empty it if not."""
    file, training = folder.work / "plan.json", RunFolder(folder.work / "training")
    try:
        if json.loads(file.read_text()) == json.loads(json.dumps(plan)):
            if not training.config.exists():
                return False
            PPOConfig.from_toml(training.config)
            load_newest(training)
            return True
    except (OSError, ValueError, RunError):  # missing or damaged: a fresh start costs minutes and is always right
        pass
    try:
        if folder.work.exists():
            shutil.rmtree(folder.work)
        folder.work.mkdir()
    except OSError as error:
        raise RunError(f"cannot write into {folder.path}: {error.strerror or error}") from error
    write_atomic(file, json.dumps(plan).encode())
    return False


def _compared(
    champion: OnnxPolicy | None, challenger: OnnxPolicy, recipe: Recipe, *, number: int
) -> tuple[dict[str, Any], bool, str]:
    """Return (comparison as plain values, whether to promote, why)."""
    where: dict[str, Any] = {
        "env_id": recipe.config.env_id,
        "params": recipe.market.params,
        "episodes": recipe.episodes,
        "seed": held_out_seed(number),
    }
    if champion is None:
        alone = dataclasses.asdict(score(challenger, **where))
        return {"challenger": alone}, True, "there was no champion to compare it with"
    verdict = judge(champion, challenger, **where, level=recipe.level, held_out=recipe.market.held_out)
    return verdict.to_dict(), verdict.better, verdict.reason
