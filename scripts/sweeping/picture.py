"""The picture of a summary: a figure against what varies first, a line per what varies second, panes for the third."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

import hftgym
from hftgym import panels, plots
from hftgym.theme import DARK, MAX_POLICIES, Theme, font, pane_title, plain_numbers, shortened, style_axes, style_legend
from scripts.sweeping.summary import Summary, told

_MOST_PANES, _COLUMNS = 6, 3
_LEFT, _RIGHT, _TOP, _BOTTOM, _ACROSS, _UP = 0.9, 0.3, 1.35, 1.05, 0.75, 0.95  # inches
_ASIDE = 3.0  # points from one line to the next
_WIDE = 30.0  # from the smallest to the largest value: from here on the axis is logarithmic


class _Roles(NamedTuple):
    """What is drawn how; empty for nothing."""

    x: str
    line: str
    pane: str


def roles(summary: Summary) -> _Roles:
    """Return what is drawn how: numbers lie along the axis, policies are lines where something else lies there."""
    names = list(summary.by)
    if "policy" in names and summary.rows["policy"].n_unique() == 1 and len(names) > 1:
        names.remove("policy")
    numeric = [name for name in names if summary.rows[name].dtype.is_numeric()]
    x = (numeric or names or [""])[0]
    others = [name for name in names if name != x]
    others.sort(key=lambda name: name != "policy")  # the sort is stable: the rest keeps its order
    return _Roles(x, *[*others, "", ""][:2])


def picture(summary: Summary, *, theme: Theme = DARK) -> Figure | None:
    """Return the picture of a summary; None where nothing varies."""
    chosen = roles(summary)
    if not chosen.x:
        return None
    used = [name for name in chosen if name]
    table = summary.grouped(used).filter(pl.col("mean").is_not_null())
    if table.is_empty():
        return None  # the figure is not known anywhere
    panes = _values(table, chosen.pane)
    lines = _values(table, chosen.line)
    colors = dict(zip(lines[:MAX_POLICIES], theme.policies, strict=False))
    figure, axes = _panes(min(len(panes), _MOST_PANES), theme)
    for one, value in zip(axes, panes, strict=False):
        part = table.filter(pl.col(chosen.pane).eq_missing(pl.lit(value))) if chosen.pane else table
        _draw(one, part, chosen, colors)
        if chosen.pane:
            pane_title(one, f"{chosen.pane} = {told(value)}", theme)
    for one in axes:
        _scale(one, table, chosen.x)
        style_axes(one, theme, unit_x=chosen.x, unit_y=summary.metric if one is axes[0] else "")
    _words(figure, summary, chosen, colors, theme)
    return figure


def _panes(count: int, theme: Theme) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure of panes that share their axes' ranges."""
    columns = min(count, _COLUMNS)
    rows = math.ceil(count / columns)
    pane = 8.0 if count == 1 else 4.6 if count == 2 else 3.6, 4.2 if count == 1 else 3.0
    width = _LEFT + columns * pane[0] + (columns - 1) * _ACROSS + _RIGHT
    height = _TOP + rows * pane[1] + (rows - 1) * _UP + _BOTTOM
    figure = plots.canvas(width, height, theme)
    axes: list[Axes] = []
    for i in range(count):
        row, column = divmod(i, columns)
        left = _LEFT + column * (pane[0] + _ACROSS)
        bottom = height - _TOP - (row + 1) * pane[1] - row * _UP
        place = (left / width, bottom / height, pane[0] / width, pane[1] / height)
        axes.append(figure.add_axes(place, sharey=axes[0] if axes else None))
    return figure, axes


def _draw(axes: Axes, table: pl.DataFrame, chosen: _Roles, colors: Mapping[Any, str]) -> None:
    places = {value: i for i, value in enumerate(_values(table, chosen.x))}
    for i, (value, color) in enumerate(colors.items()):
        part = table.filter(pl.col(chosen.line).eq_missing(pl.lit(value))) if chosen.line else table
        numeric = part[chosen.x].dtype.is_numeric()
        x = part[chosen.x].to_list() if numeric else [places[one] for one in part[chosen.x].to_list()]
        width = 1.6 if numeric else 0
        (line,) = axes.plot(x, part["mean"].to_list(), color=color, marker="o", markersize=4, linewidth=width)
        known = part.with_columns(pl.Series("x", x)).filter(pl.col("low").is_not_null())
        bars = axes.vlines(known["x"].to_list(), known["low"].to_list(), known["high"].to_list(), color, linewidth=1.2)
        # Side by side by a few points, so that no interval hides another one; drawn first, so that the axes know them.
        aside = ScaledTranslation((i - (len(colors) - 1) / 2) * _ASIDE / 72, 0, axes.figure.dpi_scale_trans)
        for one in (line, bars):
            one.set_transform(axes.transData + aside)
    if not table[chosen.x].dtype.is_numeric():
        axes.set_xticks(list(places.values()), [shortened(told(one)) for one in places])


def _scale(axes: Axes, table: pl.DataFrame, x: str) -> None:
    """Give the axes readable numbers, a logarithmic axis where the values span a wide range."""
    plain_numbers(axes.yaxis)
    if not table[x].dtype.is_numeric():
        axes.margins(x=0.15)
        return
    values = [float(value) for value in _values(table, x) if value is not None]
    if min(values) > 0 and max(values) / min(values) >= _WIDE:
        axes.set_xscale("log")
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()
    else:
        plain_numbers(axes.xaxis, intervals=5)


def _words(figure: Figure, summary: Summary, chosen: _Roles, colors: Mapping[Any, str], theme: Theme) -> None:
    """Write the heading, the legend and the caption."""
    width, height = figure.get_size_inches()
    edge = 0.28 / width
    title = f"{summary.metric} by {' and '.join(name for name in chosen[:2] if name)}"
    figure.text(edge, 1 - 0.35 / height, title, **plots.heading(theme))
    if chosen.line:
        figure.legend(
            handles=[panels.swatch(color, shortened(told(value))) for value, color in colors.items()],
            loc="upper left",
            bbox_to_anchor=(edge - 0.08 / width, 1 - 0.55 / height),
            ncols=len(colors),
            handlelength=1.2,
            prop=font(9)["fontproperties"],
        )
        style_legend(figure.legends[-1], theme.ink)
    pooled = [name for name in summary.by if name not in chosen and summary.rows[name].n_unique() > 1]
    tasks = f"{summary.rows['key'].n_unique():,} tasks of {summary.kind}"
    parts = [
        tasks,
        "mean" if summary.overlapping else "mean and 95 % interval",
        *([f"pooled: {', '.join(pooled)}"] if pooled else []),
        *_left_out(summary, chosen),
    ]
    text = "   ·   ".join([*parts, f"hftgym {hftgym.__version__}"])
    figure.text(edge, 0.2 / height, text, color=theme.muted, va="center", **font(8.5))


def _left_out(summary: Summary, chosen: _Roles) -> list[str]:
    """Return what is said of values that have no line or no pane."""
    shown = {chosen.line: MAX_POLICIES, chosen.pane: _MOST_PANES}
    counts = {name: summary.rows[name].n_unique() for name in shown if name}
    return [f"{shown[name]} of {count} values of {name}" for name, count in counts.items() if count > shown[name]]


def _values(table: pl.DataFrame, name: str) -> list[Any]:
    """Return the different values of a column, in order; one None where there is no such column."""
    return table[name].unique(maintain_order=True).sort(nulls_last=True).to_list() if name else [None]
