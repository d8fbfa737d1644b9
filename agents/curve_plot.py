"""Learning curves as a picture: how good, and how much of the gap to the optimum is left, over CPU seconds."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

import hftgym
from agents.curve import Point
from hftgym.evaluation import Exact
from hftgym.plots import save
from hftgym.theme import DARK, Theme, font, plain_numbers, style_axes

# Points that all curves are read off at.
_GRID = 400
_SMALLEST_GAP = 1e-4


def draw_curves(
    path: Path, curves: Mapping[str, Sequence[Point]], truth: Exact, *, title: str, theme: Theme = DARK
) -> Path:
    """Write a PNG of the learning curves of one recipe and return its path.

    Args:
        path: Where to.
        curves: Name of a seed -> its points; at least one curve, each with at least two points.
        truth: The lines to hold them against.
        title: Heading.
        theme: `hftgym.theme.DARK` or `LIGHT`.
    """
    figure = Figure(figsize=(12.0, 5.6), facecolor=theme.background)
    FigureCanvasAgg(figure)
    seconds, values = _on_one_axis(curves)
    left, right = figure.add_axes((0.065, 0.165, 0.415, 0.60)), figure.add_axes((0.570, 0.165, 0.415, 0.60))
    _values(left, seconds, values, truth, theme)
    _gaps(right, seconds, (truth.optimum - values) / (truth.optimum - truth.constant), truth, theme)
    for x, name, explained in (
        (0.022, "J of the greedy policy", "quote currency per episode, exact over the fills"),
        (0.527, "Gap left to the optimum", "share of the way from the best constant quote to the optimum"),
    ):
        figure.text(x, 0.845, name, color=theme.ink, va="center", **font(12, bold=True))
        figure.text(x, 0.803, explained, color=theme.muted, va="center", **font(9))
    figure.text(0.022, 0.940, title, color=theme.ink, va="center", **font(16, bold=True))
    ends = sorted(1.0 - (truth.optimum - values[:, -1]) / (truth.optimum - truth.constant))
    spread = f", {100 * ends[0]:.1f} to {100 * ends[-1]:.1f} %" if len(ends) > 1 else ""
    result = f"{100 * np.median(ends):.1f} % of the way to the optimum{spread}"
    figure.text(0.985, 0.940, result, color=theme.ink, va="center", ha="right", **font(10))
    several = f"thick: median of {len(curves)} seeds, band: all of them   ·   " if len(curves) > 1 else ""
    caption = f"{several}evaluations are not counted as training   ·   hftgym {hftgym.__version__}"
    figure.text(0.022, 0.030, caption, color=theme.muted, va="center", **font(8.5))
    return save(figure, path)


def _on_one_axis(curves: Mapping[str, Sequence[Point]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return CPU seconds (G,) that all curves have in common, and J (seeds, G) there."""
    start = max(points[0].cpu_s for points in curves.values())
    end = min(points[-1].cpu_s for points in curves.values())
    seconds = np.linspace(start, end, _GRID)
    lines = [np.interp(seconds, [p.cpu_s for p in points], [p.j for p in points]) for points in curves.values()]
    # Seeds differ a little in speed: each ends with its own last value.
    values = np.stack(lines)
    values[:, -1] = [points[-1].j for points in curves.values()]
    return seconds, values


def _band(axes: Axes, seconds: NDArray[np.float64], lines: NDArray[np.float64], theme: Theme) -> None:
    """Draw all curves thin, the band that they fill, and their median."""
    color = theme.price
    if len(lines) > 1:
        axes.fill_between(seconds, lines.min(axis=0), lines.max(axis=0), color=color, alpha=0.14, linewidth=0)
        for line in lines:
            axes.plot(seconds, line, color=color, linewidth=0.7, alpha=0.45)
    axes.plot(seconds, np.median(lines, axis=0), color=color, linewidth=2.2, zorder=4)
    axes.set_xlim(0.0, seconds[-1])


def _level(axes: Axes, y: float, text: str, color: str, *, above: bool) -> None:
    """Draw a named horizontal line."""
    axes.axhline(y, color=color, linewidth=1.4, linestyle=(0, (5, 3)), zorder=3)
    offset = (-4, 5 if above else -5)
    place = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "ha": "right"}
    axes.annotate(text, (1.0, y), offset, color=color, va="bottom" if above else "top", **place, **font(9))


def _values(axes: Axes, seconds: NDArray[np.float64], values: NDArray[np.float64], truth: Exact, theme: Theme) -> None:
    style_axes(axes, theme, unit_x="CPU seconds of training")
    _band(axes, seconds, values, theme)
    gap = truth.optimum - truth.constant
    _level(axes, truth.optimum, f"exact optimum {truth.optimum:.3f}", theme.equity, above=True)
    _level(axes, truth.constant, f"best constant quote {truth.constant:.3f}", theme.muted, above=False)
    axes.set_ylim(truth.constant - 0.35 * gap, truth.optimum + 0.15 * gap)
    plain_numbers(axes.yaxis)


def _gaps(axes: Axes, seconds: NDArray[np.float64], gaps: NDArray[np.float64], truth: Exact, theme: Theme) -> None:
    style_axes(axes, theme, unit_x="CPU seconds of training")
    axes.set_yscale("log")
    _band(axes, seconds, np.maximum(gaps, _SMALLEST_GAP), theme)
    share = 0.01 * truth.optimum / (truth.optimum - truth.constant)
    _level(axes, share, "99 % of J*", theme.equity, above=True)
    axes.set_ylim(max(gaps.min() / 1.5, _SMALLEST_GAP), 1.2)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
