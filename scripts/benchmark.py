"""Print every speed and quality bar of the project: what was measured here, and what it has to be.

Absolute rates hold for this machine alone; ratios come from one interleaved run and are worth more. Run it on an
otherwise idle machine.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

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
    ray_sweep,
    replay,
    safety,
    sweep,
    tape,
    zscore,
)
from scripts.benchmarks.figure import Figure

PARTS = {
    "batch": environment.batch_figures,
    "full": environment.full_figures,
    "single": environment.single_figures,
    "process": environment.process_figures,
    "replay": replay.replay_figures,
    "zscore": zscore.zscore_figures,
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


def main(parts: list[str]) -> Iterator[Figure]:
    """Measure the named parts, or all of them."""
    unknown = set(parts) - set(PARTS)
    if unknown:
        sys.exit(f"usage: benchmark.py [{' '.join(PARTS)}]; there is no part {', '.join(sorted(unknown))}")
    for name in parts or PARTS:
        yield from PARTS[name]()


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(f"{__doc__}\nusage: benchmark.py [{'] ['.join(PARTS)}]   (all parts if none is named)")
        sys.exit(0)
    console = Console()
    console.print(f"{machine()}\n{versions()}")
    table = Table("figure", "measured", "bar", "", "note", box=None, pad_edge=False)
    with console.status("measuring") as status:
        for figure in main(sys.argv[1:]):
            sign = "<=" if figure.lower_is_better else ">="
            bar = f"{sign} {figure.bar:g} {figure.unit}" if figure.bar is not None else ""
            verdict = {True: "[green]reached", False: "[red]missed", None: ""}[figure.reached]
            table.add_row(figure.name, f"{figure.value:.4g} {figure.unit}", bar, verdict, figure.note)
            status.update(f"measured {figure.name}")
    console.print(table)
