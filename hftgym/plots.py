"""Tables and paths to figures. Nothing here plays an environment, and nothing touches pyplot's global state.

Every function returns a `matplotlib.figure.Figure`; `save` writes it as a PNG.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

import hftgym
from hftgym.evaluation import summarize
from hftgym.rollout import Paths
from hftgym.theme import DARK, MAX_POLICIES, Theme, font, style_axes

_PIXELS_PER_INCH = 150
# A policy whose figures reach further than this many times the middle one's leaves the frame, and is said to.
_SQUASHES = 4.0


def comparison(
    table: pl.DataFrame,
    paths: Mapping[str, Paths],
    *,
    tick_s: float = 0.01,
    env_id: str = "MarketMaking-v0",
    theme: Theme = DARK,
) -> Figure:
    """Return four panels: equity and inventory over the episode, where the PnL comes from, how it is distributed.

    Args:
        table: From `hftgym.evaluation.evaluate`; at most 8 policies, in the order of the picture.
        paths: The paths of every policy in the table, from `hftgym.evaluation.play(..., paths=)`.
        tick_s: Seconds per tick.
        env_id: For the caption.
        theme: `hftgym.theme.DARK` or `LIGHT`.

    Raises:
        ValueError: There are too many policies, or a policy has no paths.
    """
    summary = summarize(table)
    names = summary["policy"].to_list()
    if len(names) > MAX_POLICIES:
        raise ValueError(f"a comparison shows at most {MAX_POLICIES} policies legibly, got {len(names)}")
    for name in names:
        if name not in paths or not len(paths[name].pnl):
            raise ValueError(f"paths must hold at least one episode of policy {name!r}")
    colors = dict(zip(names, theme.policies, strict=False))
    figure = _canvas(12.0, 8.6, theme)
    left, right, high, low = 0.062, 0.555, 0.545, 0.115
    label = 0.125  # room for the names of the policies
    equity = figure.add_axes((left, high, 0.425, 0.305))
    inventory = figure.add_axes((right, high, 0.425, 0.305))
    parts = figure.add_axes((left + label - 0.03, low, 0.425 - label + 0.03, 0.325))
    spread = figure.add_axes((right, low, 0.425, 0.325))
    _equity(equity, names, paths, colors, tick_s, theme)
    _inventory(inventory, names, paths, colors, tick_s, theme)
    _parts(parts, summary, colors, theme)
    _distribution(spread, table, names, colors, theme)
    episodes, first = int(summary["episodes"].max()), int(table["seed"].min())  # pyright: ignore[reportArgumentType]
    _heading(figure, f"{_count(len(names))} on the same {episodes:,} markets", names, colors, theme)
    _caption(
        figure,
        f"{episodes:,} episodes per policy, seeds {first:,} to {first + episodes - 1:,}, the same for all · {env_id} · "
        f"hftgym {hftgym.__version__} · simulated profits are not profits",
        theme,
    )
    return figure


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as a PNG and return its path."""
    path = Path(path)
    figure.savefig(path, dpi=_PIXELS_PER_INCH, facecolor=figure.get_facecolor())
    return path


def _canvas(width: float, height: float, theme: Theme) -> Figure:
    figure = Figure(figsize=(width, height), facecolor=theme.background)
    FigureCanvasAgg(figure)
    return figure


def _heading(figure: Figure, title: str, names: Sequence[str], colors: Mapping[str, str], theme: Theme) -> None:
    figure.text(0.022, 0.955, title, color=theme.ink, va="center", **font(15, bold=True))
    handles = [figure.add_artist(_swatch(colors[name])) for name in names]
    for handle in handles:
        handle.remove()
    legend = figure.legend(
        handles,
        names,
        loc="upper left",
        bbox_to_anchor=(0.014, 0.938),
        ncols=len(names),
        frameon=False,
        handlelength=1.1,
        handletextpad=0.6,
        columnspacing=1.8,
        prop=font(10)["fontproperties"],
    )
    for text in legend.get_texts():
        text.set_color(theme.ink)
