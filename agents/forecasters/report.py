"""A study as people read it: two tables and one picture."""

import math
from typing import Any

import polars as pl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.text import Text

import hftgym
from agents.forecasters.study import SURE
from hftgym.tables import number, plus_minus, terminal_table
from hftgym.theme import DARK, Theme, font, plain_numbers, style_axes

_Z = 1.96
_WIDTH = 100
_HEADS = ("forecaster", "accuracy %", "± s.e.", "s.e. above 50", "log-loss", "of Bayes", "train CPU-s", "µs/forecast")


def print_study(table: pl.DataFrame, *, moving: float, console: Console) -> None:
    """Print `study.summary`'s table, and below it how to read it.

    Args:
        table: The summary.
        moving: Share of the ticks that have a label.
        console: Where to.
    """
    rows = [_row(row) for row in table.iter_rows(named=True)]
    console.print(terminal_table(_HEADS, rows, gap=2))
    text = (
        f"Direction of the next move, given that the price moves ({100 * moving:.1f} % of the ticks): "
        f"{table['ticks'].max():,} ticks tested, ln 2 = {math.log(2):.5f} is the log-loss of knowing nothing. The "
        "z-score row bets on a return to the mean at every tick; the constant one is the training's share of up moves."
    )
    console.print(Text(text, style="dim"), width=_WIDTH)


def print_trading(table: pl.DataFrame, *, console: Console) -> None:
    """Print `trading.trade`'s table."""
    rows = []
    for row in table.iter_rows(named=True):
        other = row["policy"] != table["policy"][0]
        rows.append(
            [
                row["policy"],
                _interval(row["pnl"], row["pnl_error"]),
                number(row["fills"], 1),
                number(row["pnl"] / row["fills"], 3) if row["fills"] else "-",
                _interval(row["gain"], row["gain_error"]) if other else "",
            ]
        )
    console.print(terminal_table(("traded", "PnL", "fills", "PnL per fill", "against the z-score"), rows, gap=2))


def accuracy_picture(table: pl.DataFrame, *, title: str, caption: str = "", theme: Theme = DARK) -> Figure:
    """Return accuracies with their 95 % intervals against 50 % and the Bayes filter.

    Args:
        table: From `study.summary`.
        title: Heading.
        caption: Line below the picture; the version is added.
        theme: `hftgym.theme.DARK` or `LIGHT`.
    """
    height = 2.1 + 0.46 * table.height
    figure = Figure(figsize=(10.0, height), facecolor=theme.background)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.135, 0.98 / height, 0.735, 1 - 1.98 / height))
    style_axes(axes, theme, unit_x="accuracy (%)")
    band = 100 * SURE * float(table["error"].median())  # pyright: ignore[reportArgumentType]
    axes.axvspan(50 - band, 50 + band, color=theme.muted, alpha=0.13, linewidth=0, zorder=0)
    axes.axvline(50, color=theme.muted, linewidth=1.2, zorder=1)
    bayes = table.filter((pl.col("forecaster") == "Bayes filter") & pl.col("edge").is_not_null())
    if bayes.height:
        axes.axvline(100 * bayes["accuracy"][0], color=theme.equity, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
    for place, row in enumerate(table.iter_rows(named=True)):
        mean, half = 100 * row["accuracy"], 100 * _Z * row["error"]
        color = theme.price if row["train_cpu_s"] is not None else theme.equity
        axes.plot([mean - half, mean + half], [place, place], color=color, linewidth=2.2, zorder=3)
        axes.plot(mean, place, "o", color=color, markersize=5, zorder=4)
        place_right: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
        axes.text(1.02, place, plus_minus(mean, mean - half, mean + half), color=theme.ink, **place_right, **font(9))
    axes.set_yticks(range(table.height), table["forecaster"].to_list())
    for label in axes.get_yticklabels():
        label.set_color(theme.ink)
    axes.set_ylim(table.height - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    plain_numbers(axes.xaxis, intervals=8)
    axes.margins(x=0.06)
    figure.text(0.022, 1 - 0.32 / height, title, color=theme.ink, va="center", **font(14, bold=True))
    explained = f"grey: {SURE:g} standard errors around 50 %, where an accuracy shows nothing"
    explained += ";  dashed: the Bayes filter, which nothing can beat" if bayes.height else ""
    figure.text(0.022, 1 - 0.66 / height, explained, color=theme.muted, va="center", **font(9))
    line = f"{caption}   ·   hftgym {hftgym.__version__}" if caption else f"hftgym {hftgym.__version__}"
    figure.text(0.022, 0.17 / height, line, color=theme.muted, va="center", **font(8.5))
    return figure


def _row(row: dict[str, Any]) -> list[str]:
    return [
        row["forecaster"],
        number(100 * row["accuracy"], 2),
        number(100 * row["error"], 2),
        number(row["sigmas"], 1),
        number(row["log_loss"], 5),
        "-" if row["edge"] is None else f"{number(100 * row['edge'], 1)} %",
        number(row["train_cpu_s"], 2),
        number(row["inference_us"], 1),
    ]


def _interval(mean: float, error: float | None) -> str:
    return number(mean) if error is None else plus_minus(mean, mean - _Z * error, mean + _Z * error)
