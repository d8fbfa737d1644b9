"""The steps of the export command: write the files, measure them, print and draw what came out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
from rich.console import Console

from agents.checkpoint import load_model
from agents.export import export
from agents.ppo import one_thread
from agents.quantize import Scheme, candidate
from agents.return_memory import playable
from agents.run_folder import write_atomic
from hftgym import EnvParams, plots
from hftgym.evaluation import compare, evaluate, summarize
from hftgym.live import LatencyMonitor
from hftgym.policies import OnnxPolicy
from hftgym.report import machine
from hftgym.tables import latency_cells, number, plus_minus, terminal_table
from scripts.benchmarks.decision import COMPILED_ACT, SOURCE, latencies, policy_jobs, predicting

Variant = Literal["float32", "int8", "int8-dynamic", "int8-static"]
_SCHEMES: dict[str, Scheme] = {"int8": "weight-only", "int8-dynamic": "dynamic", "int8-static": "static"}
_FIRST_SEED = 1_000_000
_MODEL = "the model"


@dataclass(frozen=True, kw_only=True)
class Written:
    """One variant of an agent.

    Attributes:
        data: The file's bytes.
        path: Where they were written; None if they were not.
        error: Largest difference of an action, to the model (float32) or to float32 (int8).
        refusal: Why it was not written; empty if it was.
    """

    data: bytes
    path: Path | None
    error: float
    refusal: str = ""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the variants are worth: J of each, its difference to the model's, and the times of a decision."""

    summary: pl.DataFrame
    differences: pl.DataFrame
    times: Mapping[str, LatencyMonitor]


def files(model: Path, out: Path, *, variants: Sequence[Variant], episodes: int) -> dict[str, Written]:
    """Write the variants, float32 always and first, and return them by name."""
    if episodes < 2:
        raise ValueError(f"episodes must be at least 2, got {episodes}")
    manifest = export(model, out)
    written = {"float32": Written(data=out.read_bytes(), path=out, error=manifest["parity"]["max_abs"])}
    for variant in variants:
        if variant in written:
            continue
        made = candidate(out, scheme=_SCHEMES[variant], episodes=episodes)
        path = None if made.refusal else out.with_suffix(f".{variant}.onnx")
        if path is not None:
            write_atomic(path, made.data)
        written[variant] = Written(data=made.data, path=path, error=made.found.action, refusal=made.refusal)
    return written


def measure(model: Path, written: Mapping[str, Written], *, episodes: int, calls: int) -> Measured:
    """Play the model and its files on the same episodes, and time their decisions in turn."""
    source = playable(load_model(model))
    policies = {name: OnnxPolicy.from_bytes(one.data, name=name) for name, one in written.items()}
    manifest = policies["float32"].manifest
    with one_thread(), Console(stderr=True).status("timing decisions"):
        jobs = {f"{name}, {job}": call for name, one in written.items() for job, call in policy_jobs(one.data).items()}
        times = latencies({SOURCE: predicting(source)} | jobs, calls=calls)
    with one_thread():
        players: dict[str, Any] = {_MODEL: source} | policies
        params = EnvParams.from_dict(manifest["params"])
        table = evaluate(players, manifest["env_id"], episodes=episodes, seed=_FIRST_SEED, params=params)
    return Measured(summary=summarize(table), differences=compare(table, _MODEL, figures=("j",)), times=times)


def print_tables(written: Mapping[str, Written], found: Measured) -> None:
    """Print size, parity and J of every variant, then the times of a decision."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 100)  # a file or a pipe has no width of its own
    full = len(written["float32"].data)
    values = {
        row["policy"]: plus_minus(row["j_mean"], row["j_low"], row["j_high"]) for row in found.summary.rows(named=True)
    }
    change = {row["policy"]: row for row in found.differences.rows(named=True)}
    rows = [[_MODEL, "", "", "", values[_MODEL], ""]]
    for name, one in written.items():
        row, size = change[name], len(one.data)
        delta = f"{number(row['difference'], 4)} ±{number((row['high'] - row['low']) / 2, 4)}"
        rows.append([name, f"{size:,}", f"{full / size:.2f} x", f"{one.error:.1e}", values[name], delta])
    heads = ["", "bytes", "smaller", "error", "J", "J less the model's"]
    console.print(terminal_table(heads, rows))
    episodes = found.summary["episodes"][0]
    console.print(
        f"Error: the largest of an action (-1 to 1), of float32 to the model, of int8 to float32. J over {episodes:,} "
        "episodes, the same for all; ± is half the 95 % interval, in the last column of the paired difference.\n",
        style="dim",
    )
    console.print(terminal_table(*latency_cells(found.times)))
    console.print(f"One call at a time, in turn, one thread, {machine()}.", style="dim")
    for name, one in written.items():
        if f"{name}, {COMPILED_ACT}" not in found.times:
            console.print(f"{name} cannot be compiled here.", style="dim")
        if one.refusal:
            console.print(f"not written: {name}: {one.refusal}", style="yellow", soft_wrap=True)


def draw(written: Mapping[str, Written], found: Measured, out: Path) -> list[Path]:
    """Draw the times beside the float32 file, and return all files that were written."""
    title = f"Time of one decision: {out.name} and its variants"
    figure = plots.latency(
        found.times, title=title, caption=f"{machine()}   ·   one call at a time, in turn, one thread"
    )
    picture = plots.save(figure, out.with_name("latency.png"))
    return [*(one.path for one in written.values() if one.path is not None), picture]
