"""Search for a better training recipe with Optuna, into runs/<name>.

python scripts/tune.py --name first --trials 50

python scripts/tune.py --name cj --config agents/configs/cj_fast.toml --trials 100   (another task)

python scripts/tune.py --name btc --market runs/calibration/params.json --steps 2000000   (another market, a budget)

python scripts/tune.py --name first --trials 80   (goes on: after Ctrl-C, after a crash, or for more trials)

python scripts/tune.py --name first --engine ray --address 10.0.0.1:6379 --storage postgresql://user@host/study

What is searched is in a file, by default scripts/tuning/search.toml. Every trial's training reports how far it has come
to the exact optimum, and is stopped where half of the others had come further. The result is best.toml for
scripts/train.py --config.
"""

import signal
import sys
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).parents[1]))

import optuna
import tyro
from rich.console import Console

from agents.ppo import DEFAULT_CONFIG, PPOConfig, RunError
from hftgym.presets import named_market
from scripts.sweeping.engine import Engine, Outcome
from scripts.sweeping.engines import engine_for
from scripts.sweeping.task import Task
from scripts.tuning.picture import draw
from scripts.tuning.result import best_of, print_best, write_best
from scripts.tuning.space import DEFAULT_SEARCH, read_space
from scripts.tuning.study import Plan, StudyError, alone, create_study, database, finished
from scripts.tuning.trial import perform_trial


@dataclass(frozen=True, kw_only=True)
class Tune:
    """What is searched, how long, and where.

    Attributes:
        name: The study's name; <runs>/<name> gets study.db, best.toml, trials.png.
        runs: Folder of all runs.
        config: The recipe that is searched around.
        market: A market in place of the recipe's: a preset, or a .json or .toml file of EnvParams.
        search: TOML file of what is searched.
        trials: How many there are to be in the end, those of before included; the pruned count.
        workers: Processes of --engine local; 0 for one per core.
        steps: Environment steps of one training in place of the recipe's.
        cpu_seconds: CPU seconds of one training in place of steps: fair to recipes of different speed, and not
            repeatable.
        seeds: Training seeds of every trial, one after the other; the mean counts. More are dearer and less lucky.
        sampler_seed: Of what is tried. With steps and one worker, a study is repeatable.
        storage: SQLAlchemy URL of the study's database; by default <runs>/<name>/study.db, for one machine.
        engine: "local" for processes on this machine, "ray" for a cluster.
        address: Of the Ray cluster, host:port; a new one on this machine if none is given.
    """

    name: str = "tune"
    runs: Path = Path("runs")
    config: Path = DEFAULT_CONFIG
    market: str = ""
    search: Path = DEFAULT_SEARCH
    trials: int = 50
    workers: int = 0
    steps: int = 0
    cpu_seconds: float = 0.0
    seeds: tuple[int, ...] = (0,)
    sampler_seed: int = 0
    storage: str = ""
    engine: Literal["local", "ray"] = "local"
    address: str | None = None


def main() -> int:
    # What ends jobs on clusters is as good as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    given = tyro.cli(Tune, description=__doc__)
    try:
        engine = _engine(given)
        folder = _folder(given)
        with alone(folder):
            study, plan = _opened(given, folder)
            _search(study, engine, given)
            _conclude(study, plan, folder)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    except (RunError, StudyError, ValueError, TypeError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _folder(given: Tune) -> Path:
    """Return the study's folder, which is made if there is none."""
    if given.name != Path(given.name).name or given.name in ("", ".", ".."):
        raise ValueError(f"--name must be the name of a folder in --runs, got {given.name!r}")
    folder = given.runs / given.name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _opened(given: Tune, folder: Path) -> tuple[optuna.Study, Plan]:
    """Check everything that is given and return the study, and what it is about."""
    if given.trials < 1:
        raise ValueError(f"--trials must be at least 1, got {given.trials}")
    if given.steps and given.cpu_seconds:
        raise ValueError("--steps and --cpu-seconds exclude each other: a budget is one of them")
    recipe = PPOConfig.from_toml(given.config)
    if given.market:
        recipe = replace(recipe, params=named_market(given.market))
    if given.steps:
        recipe = replace(recipe, total_timesteps=given.steps)
    space = read_space(given.search, recipe)
    plan = Plan(recipe=recipe, space=space, seeds=given.seeds, cpu_seconds=given.cpu_seconds)
    return create_study(database(given.storage, folder / "study.db"), given.name, plan), plan


def _engine(given: Tune) -> Engine:
    """Return what the trials run on."""
    if given.address and (not given.storage or given.storage.startswith("sqlite")):
        raise ValueError(
            "--address needs a --storage that every machine of the cluster can reach (postgresql://..., mysql://...): "
            "an SQLite file is for one machine"
        )
    return engine_for(given.engine, workers=given.workers, address=given.address)


def _search(study: optuna.Study, engine: Engine, given: Tune) -> None:
    """Run trials until there are as many as wanted."""
    began, before = time.monotonic(), len(finished(study))
    if before:
        print(f"study {given.name} goes on after {before} trials")
    while (left := given.trials - len(finished(study))) > 0:
        slot = len(study.get_trials(deepcopy=False))
        tasks = [_task(given, slot + place) for place in range(left)]
        with closing(engine.run(tasks, perform_trial)) as outcomes:
            for outcome in outcomes:
                _tell(outcome, study, given.trials, began, before)


def _task(given: Tune, slot: int) -> Task:
    """Return a trial as a task; a cluster's workers have no folder in common."""
    folder = given.runs / given.name
    values = {
        "storage": database(given.storage, folder / "study.db"),
        "study": given.name,
        "sampler_seed": given.sampler_seed,
        "slot": slot,
        "folder": "" if given.address else str((folder / "trials").resolve()),
    }
    return Task("trial", values)


def _tell(outcome: Outcome, study: optuna.Study, wanted: int, began: float, before: int) -> None:
    """Print a line about a trial that has ended.

    Raises:
        StudyError: It failed: so would the others.
    """
    if outcome.rows is None:
        raise StudyError(f"a trial failed: {outcome.error}; the same command goes on")
    done = finished(study)
    left_s = (time.monotonic() - began) / max(len(done) - before, 1) * max(wanted - len(done), 0)
    for row in outcome.rows:
        result = f"{row['value']:.4f}" if row["state"] == "COMPLETE" else "pruned"
        complete = [trial for trial in done if trial.state == optuna.trial.TrialState.COMPLETE]
        best = f"best {best_of(study).value:.4f} (trial {best_of(study).number}), " if complete else ""
        print(f"trial {row['number']}: {result}, {best}{len(done)} of {wanted}, {left_s:.0f} s left", flush=True)


def _conclude(study: optuna.Study, plan: Plan, folder: Path) -> None:
    """Write and print what the study came to."""
    command = write_best(folder / "best.toml", study, plan)
    print_best(study, plan, console=Console())
    print(f"picture: {draw(folder / 'trials.png', study)}")
    print(
        f"best: {folder / 'best.toml'}, {best_of(study).value:.4f} of the way to the optimum. It was chosen on these "
        f"episodes and must be confirmed on seeds that did not choose it:\n{command}"
    )


if __name__ == "__main__":
    sys.exit(main())
