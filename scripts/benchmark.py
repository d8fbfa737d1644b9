"""Measure the speed and quality bars of the project, keep the figures, or say what got worse since they were kept.

python scripts/benchmark.py batch decision   (these parts, as a table)

python scripts/benchmark.py --keep   (all parts, into docs/benchmarks.json and BENCHMARKS.md; parts named: those alone)

python scripts/benchmark.py --compare batch zscore   (measure again; exit code 1 if something is 10 % worse than kept)

Absolute rates hold for one machine; ratios come from one interleaved run and are worth more. Run it on an otherwise
idle machine: all parts together take about half an hour. Every part has a process of its own, and what was measured is
kept as soon as its part is over.
"""

import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import tyro
from rich.console import Console
from rich.table import Table

from hftgym.report import machine, versions
from scripts.benchmarks import (
    agents,
    alpha,
    dashboard,
    environment,
    live,
    live_decision,
    parquet,
    peers,
    ray_sweep,
    replay,
    safety,
    sweep,
    tape,
    zscore,
)
from scripts.benchmarks.compare import WORSE, Change, compare
from scripts.benchmarks.figure import Figure
from scripts.benchmarks.record import PAGE, RECORD, Part, RecordError, bar_of, load_now, read_record, write_record

PARTS = {
    "batch": environment.batch_figures,
    "full": environment.full_figures,
    "single": environment.single_figures,
    "process": environment.process_figures,
    "replay": replay.replay_figures,
    "zscore": zscore.zscore_figures,
    "peers": peers.peer_figures,
    "reading": tape.reading_figures,
    "parquet": parquet.parquet_figures,
    "memory": parquet.memory_figures,
    "safety": safety.safety_figures,
    "decision": agents.decision_figures,
    "learning": agents.learning_figures,
    "alpha": alpha.alpha_figures,
    "live_feed": live.feed_figures,
    "live_decision": live_decision.decision_figures,
    "dashboard": dashboard.dashboard_figures,
    "ray_sweep": ray_sweep.ray_figures,
    "sweep": sweep.sweep_figures,
}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to measure.

    Attributes:
        parts: Which parts; all if none is named.
        keep: Keep what is measured, in place of what was kept of these parts.
        compare: Compare with what was kept; what looks worse is measured again, and the median of three counts.
    """

    parts: tyro.conf.Positional[tuple[str, ...]] = ()
    keep: bool = False
    compare: bool = False


def main() -> int:
    arguments = tyro.cli(Arguments, description=f"{__doc__}\nParts: {', '.join(PARTS)}.")
    if unknown := [name for name in arguments.parts if name not in PARTS]:
        print(f"error: there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 1
    if arguments.keep and arguments.compare:
        print("error: --keep and --compare exclude each other: compare first, then keep", file=sys.stderr)
        return 1
    console, names = Console(), arguments.parts or tuple(PARTS)
    console.print(f"{machine()}\n{versions()}", highlight=False)
    try:
        if arguments.compare:
            return compare_all(names, console)
        show_all(names, console, keep=arguments.keep)
    except KeyboardInterrupt:
        print("interrupted: with --keep, the parts that were over have been kept", file=sys.stderr)
        return 130
    except RecordError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def measure(name: str) -> list[Figure]:
    """Measure one part in a process of its own, which has no past."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(_figures_of, name).result()


def _figures_of(name: str) -> list[Figure]:
    return list(PARTS[name]())


def measured(names: Sequence[str], console: Console) -> Iterator[tuple[str, list[Figure], Part]]:
    """Measure part after part, and say how long each took the last time."""
    kept = read_record()
    for name in names:
        before = f" (about {kept[name].seconds:.0f} s)" if name in kept else ""
        with console.status(f"measuring {name}{before}"):
            began, load = datetime.now(UTC), load_now()
            figures = measure(name)
        yield name, figures, Part.of(name, figures, began=began, load=load)


def show_all(names: Sequence[str], console: Console, *, keep: bool) -> None:
    """Print every part as it comes, and keep it."""
    start = time.perf_counter()
    for name, figures, part in measured(names, console):
        console.print(_table(name, figures))
        if keep:
            record = read_record() | {name: part}
            write_record({known: record[known] for known in PARTS if known in record})
    kept = f"; kept in {RECORD.name}, {PAGE.name}" if keep else ""
    console.print(f"{time.perf_counter() - start:.0f} s{kept}", style="dim")


def compare_all(names: Sequence[str], console: Console) -> int:
    """Print what changed, and return 1 if something got worse."""
    with console.status("measuring") as status:

        def watched(name: str) -> list[Figure]:
            status.update(f"measuring {name}")
            return measure(name)

        changes, remarks = compare(read_record(), names, watched)
    worse = sorted((change for change in changes if change.factor >= WORSE), key=lambda change: -change.factor)
    table = Table("part", "figure", "kept", "now", "", box=None, pad_edge=False)
    for change in sorted(changes, key=lambda change: -change.factor):
        table.add_row(change.part, change.kept.name, f"{change.kept.value:.4g}", *_change_cells(change))
    console.print(table)
    for remark in remarks:
        console.print(remark, style="dim")
    console.print(f"{len(changes)} compared, {len(worse)} at least {WORSE - 1:.0%} worse")
    return 1 if worse else 0


def _change_cells(change: Change) -> tuple[str, str]:
    factor = change.factor
    style = "red" if factor >= WORSE else "green" if factor <= 1 / WORSE else "dim"
    told = f"{factor:.2f} x worse" if factor >= 1 else f"{1 / max(factor, 1e-9):.2f} x better"
    return f"{change.now:.4g} {change.kept.unit}", f"[{style}]{told}"


def _table(name: str, figures: Sequence[Figure]) -> Table:
    table = Table(name, "measured", "bar", "", "note", box=None, pad_edge=False)
    verdicts = {True: "[green]reached", False: "[red]missed", None: ""}
    for figure in figures:
        measured = f"{figure.value:.4g} {figure.unit}"
        table.add_row(figure.name, measured, bar_of(figure), verdicts[figure.reached], figure.note)
    return table


if __name__ == "__main__":
    sys.exit(main())
