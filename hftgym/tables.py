"""The summary as people read it: one row per policy, on the terminal or in Markdown."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hftgym.live.latency import LatencyMonitor
from hftgym.tape.report import TapeReport

_WIDTH = 100  # characters; wider tables break in an ordinary terminal
_MINUS = "\N{MINUS SIGN}"

_LEAST_IMPORTANT = ("fills", "fees", "spread", "penalty", "std")

_Row = dict[str, Any]

# Heading, and how a row of `summarize` fills it.
_COLUMNS: tuple[tuple[str, Callable[[_Row], str]], ...] = (
    ("policy", lambda row: str(row["policy"])),
    ("J", lambda row: plus_minus(row["j_mean"], row["j_low"], row["j_high"])),
    ("gap closed", lambda row: _percent(row["gap_closed"], row["gap_closed_low"], row["gap_closed_high"])),
    ("PnL", lambda row: plus_minus(row["pnl_mean"], row["pnl_low"], row["pnl_high"])),
    ("std", lambda row: number(row["pnl_std"])),
    ("spread", lambda row: number(row["spread_capture_mean"])),
    ("fees", lambda row: number(row["fees_mean"])),
    ("penalty", lambda row: number(row["penalty_mean"])),
    ("RMS q", lambda row: number(row["inventory_rms_mean"])),
    ("fills", lambda row: f"{row['fills_mean']:.0f}"),
)


def print_table(summary: pl.DataFrame, *, console: Console | None = None) -> None:
    """Print `summarize`'s result as a table of at most 100 characters, and say below it how to read it.

    On a narrow terminal the least important columns are left out.

    Args:
        summary: From `hftgym.evaluation.summarize`.
        console: Where to; the standard output if None.
    """
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)  # a file or a pipe has no width of its own
    width = min(console.width, _WIDTH)
    heads, rows = cells(summary)
    columns = {head: [head, *(row[i] for row in rows)] for i, head in enumerate(heads)}
    for head in _LEAST_IMPORTANT:
        if sum(max(map(len, column)) + 1 for column in columns.values()) > width:
            del columns[head]
    rows = list(zip(*columns.values(), strict=True))[1:]
    console.print(terminal_table(list(columns), rows, gap=1), width=width, crop=False)
    console.print(Text(legend(summary), style="dim"), width=width, crop=False)


def print_oddities(report: TapeReport, console: Console) -> None:
    """Print what was odd about a recording, one line each, and what makes a replay of it doubtful."""
    for line in report.oddities:
        console.print(Text(f"  {line}", style="dim"), soft_wrap=True)
    if report.warning:
        console.print(Text(f"warning: {report.warning}", style="bold yellow"), soft_wrap=True)


def terminal_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, gap: int = 3) -> Table:
    """Return a plain table for `rich`, the first column to the left and the others to the right."""
    table = Table(box=None, padding=(0, gap, 0, 0), header_style="bold")
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def cells(summary: pl.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of text; the column of the gap is left out where nothing is known of it."""
    known = summary["gap_closed"].is_not_null().any()
    columns = [(head, fill) for head, fill in _COLUMNS if known or head != "gap closed"]
    rows = [[fill(row) for _, fill in columns] for row in summary.iter_rows(named=True)]
    return [head for head, _ in columns], rows


def legend(summary: pl.DataFrame) -> str:
    """Return the sentences that explain the table."""
    episodes = sorted(set(summary["episodes"].to_list()))
    text = (
        f"Means over {' or '.join(f'{n:,}' for n in episodes)} episodes ± half the 95 % interval, in quote currency. "
        "J = sum of the rewards: PnL less the inventory penalty, unless the market rewards something else; std is that "
        "of the PnL of one episode; RMS q in units."
    )
    optimum, constant = summary["j_optimal"][0], summary["j_constant"][0]
    if optimum is None:
        return f"{text} The distance to the optimum is not known: {summary['unknown_because'][0]}."
    return text + (
        f" Exact: J* = {optimum:.3f} at best, {constant:.3f} for the best constant quote; gap closed = how much of the "
        "way between them, from J without the price term where the price is a martingale."
    )


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, the first column to the left and the others to the right."""
    lines = [heads, [":--", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def difference_cells(differences: pl.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of text for `compare`'s result."""
    rows = [
        [
            f"{row['policy']} {_MINUS} {row['baseline']}",
            row["figure"],
            plus_minus(row["difference"], row["low"], row["high"]),
            number(row["se"], 3),
            "" if row["z"] is None else number(row["z"], 1),
        ]
        for row in differences.iter_rows(named=True)
    ]
    return ["difference", "figure", "mean", "standard error", "z"], rows


def latency_cells(times: Mapping[str, LatencyMonitor]) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of text: what decides, and the percentiles of its time in microseconds."""
    percents = (50, 90, 99, 99.9)
    rows = [
        [name, *(duration(value) for value in (*monitor.percentiles(percents), monitor.max_ns)), f"{monitor.count:,}"]
        for name, monitor in times.items()
    ]
    return ["one decision, µs", *(f"p{percent:g}" for percent in percents), "max", "calls"], rows


def duration(duration_ns: float) -> str:
    """Return a duration in microseconds, with the digits that a monitor resolves."""
    value = duration_ns / 1e3
    return number(value, 2 if value < 10 else 1 if value < 100 else 0)


def number(value: float | None, digits: int | None = None) -> str:
    """Return a number that stays short, with a true minus sign; by default the larger, the fewer decimals."""
    if value is None:
        return "-"
    if abs(value) >= 1e9:
        return f"{value:.1e}".replace("-", _MINUS)
    if digits is None:
        digits = 2 if abs(value) < 100 else 1 if abs(value) < 1_000 else 0
    text = f"{value:,.{digits}f}"
    return text.lstrip("-") if not text.strip("-0.,") else text.replace("-", _MINUS)


def plus_minus(mean: float, low: float, high: float) -> str:
    """Return mean and half the interval, to the two digits of it that mean something."""
    half = (high - low) / 2
    digits = 2 if half < 1 else 1 if half < 10 else 0
    return f"{number(mean, digits)} ±{number(half, digits)}"


def _percent(mean: float | None, low: float | None, high: float | None) -> str:
    if mean is None or low is None or high is None:
        return "-"
    return f"{plus_minus(100 * mean, 100 * low, 100 * high)} %"
