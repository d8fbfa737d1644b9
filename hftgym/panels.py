"""The single panels that `hftgym.plots` puts together: each draws into axes and returns nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.patheffects as effects
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter
from matplotlib.transforms import blended_transform_factory
from numpy.typing import NDArray

from hftgym.live.latency import LatencyMonitor
from hftgym.rollout import Paths
from hftgym.tables import duration, number, plus_minus
from hftgym.theme import Theme, font, pane_title, plain_numbers, shortened, style_axes, style_legend
from hftgym.trace import Trace

# A policy that reaches further than this many times the middle one's reach leaves the frame, and is said to.
_SQUASHES = 4.0
_PARTS = ("spread_capture", "inventory_pnl", "fees", "penalty")
PART_LABELS = ("spread captured", "inventory PnL", "fees", "inventory penalty")


def equity(axes: Axes, paths: Mapping[str, Paths], colors: Mapping[str, str], *, tick_s: float, theme: Theme) -> None:
    """Draw every policy's mean equity with the band that holds 90 % of its episodes."""
    style_axes(axes, theme, unit_x="time (s)")
    ends: dict[str, tuple[float, float]] = {}
    for name, color in colors.items():
        low, high = np.quantile(paths[name].pnl, (0.05, 0.95), axis=0)
        mean = paths[name].pnl.mean(axis=0, dtype=np.float64)
        time = np.arange(mean.size) * tick_s
        axes.fill_between(time, low, high, color=color, alpha=0.07, linewidth=0)
        axes.plot(time, low, color=color, alpha=0.35, linewidth=0.7)
        axes.plot(time, high, color=color, alpha=0.35, linewidth=0.7)
        halo: Any = [effects.withStroke(linewidth=3.2, foreground=theme.panel)]
        axes.plot(time, mean, color=color, linewidth=2.0, zorder=3, path_effects=halo)
        ends[name] = (float(low.min()), float(high.max()))
    plain_numbers(axes.yaxis, intervals=8)
    _fit(axes, ends, {name: float(paths[name].pnl[:, -1].mean()) for name in colors}, colors)
    axes.margins(x=0.01)


def inventory(
    axes: Axes, paths: Mapping[str, Paths], colors: Mapping[str, str], *, tick_s: float, theme: Theme
) -> None:
    """Draw every policy's root mean square inventory along the episode."""
    style_axes(axes, theme, unit_x="time (s)")
    for name, color in colors.items():
        rms = np.sqrt(np.mean(np.square(paths[name].inventory, dtype=np.float64), axis=0))
        axes.plot(np.arange(rms.size) * tick_s, rms, color=color, linewidth=2.0, zorder=3)
    axes.set_ylim(bottom=0)
    axes.margins(x=0.01)


def parts(axes: Axes, summary: pl.DataFrame, colors: Mapping[str, str], *, theme: Theme) -> None:
    """Draw what J is made of: one stacked bar per policy, gains to the right, and J with its interval on top."""
    signs = [-1.0 if part in ("fees", "penalty") else 1.0 for part in _PARTS]
    rows = {
        row["policy"]: (
            [sign * row[f"{part}_mean"] for part, sign in zip(_PARTS, signs, strict=True)],
            (row["j_mean"], row["j_low"], row["j_high"]),
        )
        for row in summary.iter_rows(named=True)
    }
    stacked(axes, {name: rows[name] for name in colors}, colors, theme=theme, unit_x="quote currency per episode")


def stacked(
    axes: Axes,
    rows: Mapping[str, tuple[Sequence[float], tuple[float, float, float]]],
    colors: Mapping[str, str],
    *,
    theme: Theme,
    unit_x: str,
) -> None:
    """Draw one stacked bar per row, gains to the right and losses to the left, and the sum with its interval on top.

    A row that would squash the others runs off the frame, which a triangle at that edge says.

    Args:
        axes: Where.
        rows: Name -> parts, in the order of the theme's `parts`, and (sum, low, high).
        colors: The rows in their order.
        theme: Look.
        unit_x: Label of the x axis.
    """
    style_axes(axes, theme, unit_x=unit_x)
    beside = blended_transform_factory(axes.transAxes, axes.transData)
    reach: dict[str, tuple[float, float]] = {}
    for place, name in enumerate(colors):
        (widths, (mean, low, high)), right, left = rows[name], 0.0, 0.0
        for width, color in zip(widths, theme.parts, strict=False):
            axes.barh(place, width, left=right if width > 0 else left, height=0.56, color=color, zorder=2)
            right, left = right + max(width, 0.0), left + min(width, 0.0)
        outline: Any = [effects.withStroke(linewidth=3.4, foreground=theme.panel)]
        axes.plot([low, high], [place, place], color=theme.ink, linewidth=1.4, zorder=4, path_effects=outline)
        axes.plot(mean, place, "D", color=theme.ink, markersize=5, markeredgecolor=theme.panel, zorder=5)
        axes.text(1.04, place, plus_minus(mean, low, high), transform=beside, color=theme.ink, va="center", **font(9))
        reach[name] = (np.fmin(left, low), np.fmax(right, high))
    axes.axvline(0, color=theme.muted, linewidth=0.9, zorder=3)
    _rows(axes, colors, theme)
    low, high, outside = framed(reach)
    plain_numbers(axes.xaxis, intervals=6 if max(-low, high) < 10_000 else 3)  # long numbers need room
    axes.set_xlim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    for place, name in enumerate(colors):
        if name not in outside:
            continue
        style = {"transform": beside, "color": theme.ink, "va": "center", "zorder": 6}
        if reach[name][0] < low:
            axes.text(0.015, place, "◀", **style, **font(9))
        if reach[name][1] > high:
            axes.text(0.985, place, "▶", ha="right", **style, **font(9))


def distribution(axes: Axes, table: pl.DataFrame, colors: Mapping[str, str], *, theme: Theme) -> None:
    """Draw the distribution of an episode's PnL: one ridge per policy, its mean and the middle 90 % below it."""
    style_axes(axes, theme, unit_x="PnL (quote currency)")
    values = {name: table.filter(pl.col("policy") == name)["pnl"].to_numpy() for name in colors}
    low, high, outside = framed({name: tuple(np.quantile(v, (0.002, 0.998))) for name, v in values.items()})
    grid = np.linspace(low - 0.02 * (high - low), high + 0.02 * (high - low), 400)
    curves = {name: density(v, grid) for name, v in values.items()}
    # Equal areas would make a narrow ridge tall and the others flat: the square root keeps the order and the shapes.
    tallest = max(curve.max() for curve in curves.values()) or 1.0
    for place, (name, color) in enumerate(colors.items()):
        peak = curves[name].max()
        ridge = curves[name] / peak * 0.78 * (0.45 + 0.55 * np.sqrt(peak / tallest)) if peak > 0 else curves[name]
        base = place + 0.28
        axes.fill_between(grid, base, base - ridge, color=color, alpha=0.32, linewidth=0, zorder=2)
        axes.plot(grid, base - ridge, color=color, linewidth=1.5, zorder=3)
        five, ninety_five = np.quantile(values[name], (0.05, 0.95))
        axes.plot([five, ninety_five], [base + 0.09] * 2, color=color, linewidth=2.6, solid_capstyle="butt", zorder=3)
        axes.plot(values[name].mean(), base + 0.09, "o", color=theme.ink, markersize=4.5, zorder=4)
        if name in outside:
            mean = float(values[name].mean())
            text = f"◀ mean {number(mean, 0)}" if mean < low else f"mean {number(mean, 0)}"
            axes.annotate(text, (0.01, place), xycoords=("axes fraction", "data"), color=color, va="center", **font(9))
    axes.axvline(0, color=theme.muted, linewidth=0.9, zorder=1)
    _rows(axes, colors, theme, named=False)
    plain_numbers(axes.xaxis, intervals=8 if max(-low, high) < 10_000 else 4)
    axes.set_xlim(grid[0], grid[-1])


def latencies(axes: Axes, times: Mapping[str, LatencyMonitor], colors: Mapping[str, str], *, theme: Theme) -> None:
    """Draw how long decisions took: one ridge per kind over a logarithmic axis, its percentiles beside it."""
    style_axes(axes, theme, unit_x="time of one decision (µs, logarithmic)")
    ends = [monitor.percentiles((0, 99.9)) for monitor in times.values()]
    low, high = 0.7 * min(low for low, _ in ends) / 1e3, 1.6 * max(high for _, high in ends) / 1e3
    edges = np.geomspace(low, high, 241)
    beside = blended_transform_factory(axes.transAxes, axes.transData)
    for place, (name, color) in enumerate(colors.items()):
        taken, counts = np.array(times[name].distribution(), dtype=np.float64).T
        heights = np.histogram(taken / 1e3, edges, weights=counts)[0]
        ridge = np.repeat(0.7 * np.sqrt(heights / max(heights.max(), 1.0)), 2)  # the root shows the tail, too
        base, sides = place + 0.26, np.repeat(edges, 2)[1:-1]
        axes.fill_between(sides, base, base - ridge, color=color, alpha=0.85, linewidth=0, zorder=2)
        found = [value / 1e3 for value in times[name].percentiles((50, 99, 99.9))]
        axes.plot([found[0], found[2]], [base + 0.12] * 2, color=color, linewidth=1.6, zorder=3)
        for value, mark in zip(found, ("o", "D", "|"), strict=True):
            axes.plot(value, base + 0.12, mark, color=theme.ink, markersize=5, zorder=4)
        for column, value in enumerate(found):
            x = 1.075 + 0.075 * column
            axes.text(
                x, place, duration(value * 1e3), transform=beside, color=theme.ink, ha="right", va="center", **font(9)
            )
    for column, head in enumerate(("p50", "p99", "p99.9")):
        x = 1.07 + 0.075 * column
        axes.text(x, -0.78, head, transform=beside, color=theme.muted, ha="right", va="center", **font(9))
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="minor", length=0)
    _rows(axes, colors, theme, length=34)


def trades(axes: Axes, trace: Trace, *, theme: Theme, title: str = "", color: str = "", legend: bool = True) -> None:
    """Draw the mid with a triangle at the time and price of every buy (up) and sell (down)."""
    style_axes(axes, theme)
    what = f"price ({trace.currency})"
    pane_title(axes, f"{title}   ·   {trace.result}" if title else what, theme, color=color)
    axes.tick_params(labelbottom=False)
    axes.plot(trace.time_s, trace.mid, color=theme.price, linewidth=1.3, zorder=2, label="mid")
    size = float(np.clip(9_000 / max(len(trace.buy_time_s) + len(trace.sell_time_s), 1), 9, 60))
    mark = {"s": size, "edgecolors": theme.panel, "linewidths": 0.4, "zorder": 3}
    axes.scatter(trace.buy_time_s, trace.buy_price, marker="^", color=theme.buy, label="buy", **mark)
    axes.scatter(trace.sell_time_s, trace.sell_price, marker="v", color=theme.sell, label="sell", **mark)
    if legend:
        entries = axes.legend(
            loc="lower right",
            bbox_to_anchor=(1.005, 0.995),
            ncols=3,
            handlelength=1.2,
            columnspacing=1.4,
            prop=font(9)["fontproperties"],
        )
        style_legend(entries, theme.muted)
    plain_numbers(axes.yaxis, intervals=9)
    axes.margins(x=0.01, y=0.07)


def profits(axes: Axes, traces: Mapping[str, Trace], colors: Mapping[str, str], *, theme: Theme) -> None:
    """Draw the PnL of several paths over the same ticks."""
    style_axes(axes, theme, unit_x="time (s)")
    currency = next(iter(traces.values())).currency
    pane_title(axes, f"PnL ({currency})", theme)
    axes.axhline(0, color=theme.muted, linewidth=0.9, zorder=1)
    for name, trace in traces.items():
        axes.plot(trace.time_s, trace.equity - trace.equity[0], color=colors[name], linewidth=1.6, label=name)
    style_legend(
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1.005, 0.995),
            ncols=len(traces),
            handlelength=1.2,
            columnspacing=1.4,
            prop=font(9)["fontproperties"],
        ),
        theme.ink,
    )
    plain_numbers(axes.yaxis)
    axes.margins(x=0.01)


def account(axes: Axes, trace: Trace, *, theme: Theme) -> None:
    """Draw the equity of one path."""
    style_axes(axes, theme, unit_x="time (s)")
    pane_title(axes, f"equity ({trace.currency})", theme)
    start = trace.equity[0]
    axes.axhline(start, color=theme.muted, linewidth=0.9, zorder=1)
    axes.fill_between(trace.time_s, start, trace.equity, color=theme.equity, alpha=0.10, linewidth=0)
    axes.plot(trace.time_s, trace.equity, color=theme.equity, linewidth=1.5, zorder=2)
    plain_numbers(axes.yaxis)
    axes.margins(x=0.01)


def framed(reach: Mapping[str, tuple[float, float]]) -> tuple[float, float, list[str]]:
    """Return (low, high, who is outside): a frame for all but those who would squash the rest.

    The reach of a policy is its largest absolute value; who has more than four times the median reach is outside.

    Args:
        reach: Name -> (lowest, highest) value to show.
    """
    sizes = {name: max(abs(low), abs(high)) for name, (low, high) in reach.items()}
    middle = sorted(sizes.values())[(len(sizes) - 1) // 2]
    outside = [name for name, size in sizes.items() if middle > 0 and size > _SQUASHES * middle]
    inside = [interval for name, interval in reach.items() if name not in outside]
    low, high = min(0.0, *(x for x, _ in inside)), max(0.0, *(x for _, x in inside))
    return (low, high, outside) if high > low else (low - 1.0, high + 1.0, outside)


def density(values: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a Gaussian kernel density estimate on an even grid, with Silverman's width, by a smoothed histogram."""
    step = grid[1] - grid[0]
    spread = min(values.std(), np.subtract(*np.quantile(values, (0.75, 0.25))) / 1.34) or values.std()
    width = max(0.9 * spread * values.size**-0.2, step)
    edges = np.append(grid - step / 2, grid[-1] + step / 2)
    counts = np.histogram(values, edges)[0].astype(np.float64)
    reach = np.arange(-(len(grid) // 2), len(grid) // 2 + 1) * step
    kernel = np.exp(-0.5 * (reach / width) ** 2)
    # "same" keeps the longer one's length, which is the kernel's when the grid is even.
    smooth = np.convolve(counts, kernel / kernel.sum(), mode="full")[len(grid) // 2 :][: len(grid)]
    return smooth / (values.size * step)


def swatch(color: str, label: str) -> Line2D:
    """Return a legend entry: a filled square."""
    return Line2D([], [], linestyle="", marker="s", markersize=8, color=color, label=label)


def _fit(
    axes: Axes, reach: Mapping[str, tuple[float, float]], at: Mapping[str, float], colors: Mapping[str, str]
) -> None:
    """Set the frame of y, and write into it who is not in it."""
    low, high, outside = framed(reach)
    axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    for i, name in enumerate(outside):
        text = f"{shortened(name)}: ends at {number(at[name], 0)} on average"
        halo: Any = [effects.withStroke(linewidth=3, foreground=axes.get_facecolor())]
        y = 0.05 + 0.07 * i
        axes.text(0.02, y, text, transform=axes.transAxes, color=colors[name], path_effects=halo, zorder=6, **font(9))


def _rows(axes: Axes, colors: Mapping[str, str], theme: Theme, *, named: bool = True, length: int = 20) -> None:
    """Make one row per policy, the first on top."""
    axes.set_yticks(range(len(colors)), [shortened(name, length=length) if named else "" for name in colors])
    for label in axes.get_yticklabels():
        label.set_color(theme.ink)
    axes.set_ylim(len(colors) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
