"""Run a command over many parameter sets, tapes and seeds, on all cores or a cluster, into one dataset.

Like this:

python scripts/sweep.py scripts/sweeps/zscore.toml

python scripts/sweep.py scripts/sweeps/zscore.toml  (again: only what is missing or has failed)

python scripts/sweep.py scripts/sweeps/zscore.toml --summary --metric inventory_rms_mean  (nothing is run)

python scripts/sweep.py scripts/sweeps/train.toml --engine ray --address 10.0.0.1:6379

The file says what is run (evaluate, backtest, calibrate or train) and what over: docs/scale.md. Everything may be
stopped or killed at any moment; the same command goes on. Two of them may write to one dataset.
"""

import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from hftgym import plots
from scripts.sweeping import progress
from scripts.sweeping.dataset import Dataset, Results
from scripts.sweeping.engine import Engine
from scripts.sweeping.engines import engine_for
from scripts.sweeping.file import load
from scripts.sweeping.kinds import perform
from scripts.sweeping.picture import picture
from scripts.sweeping.summary import printed, summaries
from scripts.sweeping.task import Task

_TOLD = 5  # failures that are printed one by one


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to run, and where.

    Attributes:
        file: The sweep, a TOML file.
        out: Folder of the dataset, by default runs/sweeps/<name of the file>: results/ (parquet), failures/, runs/
            (trained agents), summary_*.csv and summary_*.png.
        engine: "local" for processes on this machine, "ray" for a cluster.
        workers: Processes of the local engine; 0 for one per core.
        address: Of the Ray cluster; a new one on this machine if none is given.
        summary: Only read the dataset: print the table, write CSV and picture.
        metric: The figure of the summary; by default that of the command.
    """

    file: tyro.conf.Positional[Path]
    out: Path | None = None
    engine: Literal["local", "ray"] = "local"
    workers: int = 0
    address: str | None = None
    summary: bool = False
    metric: str | None = None


def main() -> int:
    # What ends jobs on clusters is as good as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run(tyro.cli(Arguments, description=__doc__))
    except KeyboardInterrupt as stop:
        print(f"stopped: {stop or 'nothing was run'}", file=sys.stderr)
        return 130
    except (ValueError, TypeError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def run(arguments: Arguments) -> int:
    """Run what is missing and summarise; return the exit status: 1 if a task has failed."""
    dataset = Dataset(arguments.out or Path("runs/sweeps") / arguments.file.stem)
    console = Console(stderr=True, highlight=False)
    tasks = [] if arguments.summary else load(arguments.file)
    if tasks:
        engine = engine_for(arguments.engine, workers=arguments.workers, address=arguments.address)
        with dataset.writing():
            complete(tasks, engine, dataset, console)
    results = dataset.read()
    for path, reason in results.unreadable.items():
        console.print(f"left out: {path}: {reason}", style="yellow", markup=False, soft_wrap=True)
    summarise(results, dataset, arguments.metric)
    # What failed in a sweep that the file does not describe any more is told, but no failure of this one.
    mine = results.failures.keys() & {task.key for task in tasks} if tasks else results.failures
    return 1 if mine else 0


def complete(tasks: Sequence[Task], engine: Engine, dataset: Dataset, console: Console) -> None:
    """Run the tasks that a dataset does not have."""
    before = dataset.read()
    for path, reason in before.unreadable.items():
        console.print(f"no result, its task is to be run again: {path}: {reason}", markup=False, soft_wrap=True)
    missing = [task for task in tasks if task.key not in before.files]
    again = sum(task.key in before.failures for task in missing)
    retried = f", {again:,} of them failed before" if again else ""
    console.print(
        f"{len(tasks):,} tasks, {len(missing):,} to run{retried}: {dataset.folder}", markup=False, soft_wrap=True
    )
    if not missing:
        return
    done = failed = 0
    try:
        with (
            closing(engine.run(missing, partial(perform, runs=dataset.runs.resolve()))) as outcomes,
            progress.shown(len(missing), console) as advance,
        ):
            for outcome in outcomes:
                error = dataset.add(outcome)
                done, failed = done + 1, failed + bool(error)
                if error and failed <= _TOLD:
                    console.print(f"failed: {dict(outcome.task.values)}: {error}", markup=False, soft_wrap=True)
                advance(failed)
    except KeyboardInterrupt:
        text = f"{done:,} of {len(missing):,} tasks are done and kept; the same command goes on with the others"
        raise KeyboardInterrupt(text) from None


def summarise(results: Results, dataset: Dataset, metric: str | None) -> None:
    """Print and write what a dataset says."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160  # a file or a pipe has no width of its own
    if results.table.is_empty():
        console.print(f"{dataset.folder} has no results", markup=False, soft_wrap=True)
    for summary in summaries(results, metric):
        console.print(printed(summary))
        if summary.overlapping:
            console.print("no intervals: tasks of different seeds share episodes (give seed a step of `episodes`)")
        summary.table.write_csv(table := dataset.folder / f"summary_{summary.kind}.csv")
        console.print(f"written: {table}", style="dim", markup=False, soft_wrap=True)
        if (figure := picture(summary)) is not None:
            drawn = plots.save(figure, table.with_suffix(".png"))
            console.print(f"written: {drawn}", style="dim", markup=False, soft_wrap=True)
    if results.failures:
        count, example = len(results.failures), next(iter(results.failures.values()))
        console.print(f"{count:,} failed, see {dataset.failures}; one of them: {example}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
