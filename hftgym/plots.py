"""Tables and paths to figures. Nothing here plays an environment, and nothing touches pyplot's global state."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import hftgym
from hftgym import panels
from hftgym.evaluation import summarize
from hftgym.live.latency import LatencyMonitor
from hftgym.rollout import Paths
from hftgym.theme import DARK, MAX_POLICIES, Theme, font, shortened, style_legend
from hftgym.trace import Trace

__all__ = ["comparison", "episode", "latency", "policy_colors", "recorded", "save"]

_PIXELS_PER_INCH = 150
_ROW = 130  # characters in one row of the legend
_EDGE, _MIDDLE = 0.022, 0.522  # where text starts, as a share of the width


def comparison(
    table: pl.DataFrame,
    paths: Mapping[str, Paths],
    *,
    tick_s: float = 0.01,
    env_id: str = "MarketMaking-v0",
    theme: Theme = DARK,
) -> Figure:
    """Return four panels: equity and inventory along the episode, what J is made of, how the PnL is distributed.

    Args:
        table: From `hftgym.evaluation.evaluate` or `tabulate`; at most 8 policies, drawn in their order.
        paths: The paths of every policy in the table, from `hftgym.evaluation.play(..., paths=)`.
        tick_s: Seconds per tick.
        env_id: For the caption.
        theme: `hftgym.theme.DARK` or `LIGHT`.

    Raises:
        ValueError: There are too many policies, or a policy has no paths.
    """
    summary = summarize(table)
    names = summary["policy"].to_list()
    for name in names:
        if name not in paths or not len(paths[name].pnl):
            raise ValueError(f"paths must hold at least one episode of policy {name!r}")
    colors = policy_colors(names, theme=theme)
    figure = canvas(12.0, 9.0, theme)
    # Left panels start at the heading's edge with their titles, right ones at 0.52.
    top, bottom, height, wide = 0.525, 0.100, 0.290, 0.42
    panels.equity(figure.add_axes((0.070, top, wide, height)), paths, colors, tick_s=tick_s, theme=theme)
    panels.inventory(figure.add_axes((0.565, top, wide, height)), paths, colors, tick_s=tick_s, theme=theme)
    panels.parts(figure.add_axes((0.142, bottom, 0.27, height)), summary, colors, theme=theme)
    panels.distribution(figure.add_axes((0.565, bottom, wide, height)), table, colors, theme=theme)
    shown = min(len(paths[name].pnl) for name in names)
    for x, y, name, explained in (
        (_EDGE, top, "Equity", f"PnL in quote currency: mean, and the band that holds 90 % of {shown:,} episodes"),
        (_MIDDLE, top, "Inventory carried", f"units: root mean square of {shown:,} episodes"),
        (_EDGE, bottom, "What J is made of", ""),
        (_MIDDLE, bottom, "PnL of one episode", "distribution;  bar: middle 90 %,  dot: mean"),
    ):
        figure.text(x, y + height + 0.040, name, color=theme.ink, va="center", **font(12, bold=True))
        figure.text(x, y + height + 0.016, explained, color=theme.muted, va="center", **font(9))
    parts_legend(figure, bottom + height + 0.016, theme)
    episodes, first = summary["episodes"][0], table["seed"][0]
    title = f"{len(names)} policies, the same {episodes:,} episodes" if len(names) > 1 else f"{episodes:,} episodes"
    figure.text(_EDGE, 0.960, title, **heading(theme))
    legend(figure, colors, theme)
    _caption(
        figure,
        f"{episodes:,} episodes per policy, seeds {first:,} to {first + episodes - 1:,} for each   ·   {env_id}   ·   "
        f"hftgym {hftgym.__version__}   ·   simulated profits are not profits",
        theme,
    )
    return figure


def episode(trace: Trace, *, title: str = "", caption: str = "", theme: Theme = DARK) -> Figure:
    """Return two panes: the price with every buy and sell at its price, and the equity below.

    Args:
        trace: From `hftgym.trace.trace_episode` or `trace_backtest`.
        title: Heading; what the trace says of itself if empty.
        caption: Line below the picture.
        theme: `hftgym.theme.DARK` or `LIGHT`.
    """
    figure = canvas(12.0, 6.8, theme)
    price = figure.add_axes((0.075, 0.395, 0.905, 0.465))
    equity = figure.add_axes((0.075, 0.110, 0.905, 0.230), sharex=price)
    panels.trades(price, trace, theme=theme)
    panels.account(equity, trace, theme=theme)
    figure.text(_EDGE, 0.945, title or trace.label, **heading(theme))
    figure.text(0.98, 0.945, trace.result, color=theme.ink, va="center", ha="right", **font(10))
    _caption(figure, caption, theme)
    return figure


def recorded(
    traces: Mapping[str, Trace],
    *,
    colors: Mapping[str, str] | None = None,
    title: str = "",
    caption: str = "",
    theme: Theme = DARK,
) -> Figure:
    """Return one price pane per policy, each with its buys and sells, and the PnL of all of them below.

    Args:
        traces: Name -> path over the same ticks, from `hftgym.trace.trace_backtest`; one to four of them.
        colors: Of the policies, as `policy_colors` gives them to a comparison; their own if None.
        title: Heading.
        caption: Line below the picture.
        theme: `hftgym.theme.DARK` or `LIGHT`.

    Raises:
        ValueError: There are none, or too many of them to see.
    """
    if not 1 <= len(traces) <= 4:
        raise ValueError(f"traces must hold one to four paths, got {len(traces)}")
    colors = colors or policy_colors(list(traces), theme=theme)
    pane, gap, below = 2.5, 0.55, 2.0  # inches
    height = 1.15 + len(traces) * (pane + gap) + below + 0.85
    figure = canvas(12.0, height, theme)
    top = height - 1.15
    shared: Axes | None = None
    for name, trace in traces.items():
        axes = figure.add_axes((0.075, (top - pane) / height, 0.905, pane / height), sharex=shared)
        shared = shared or axes
        panels.trades(axes, trace, theme=theme, title=name, color=colors[name], legend=shared is axes)
        top -= pane + gap
    account = figure.add_axes((0.075, (top - below) / height, 0.905, below / height), sharex=shared)
    panels.profits(account, traces, colors, theme=theme)
    figure.text(_EDGE, 1 - 0.42 / height, title, **heading(theme))
    figure.text(_EDGE, 0.2 / height, caption, color=theme.muted, va="center", **font(8.5))
    return figure


def latency(times: Mapping[str, LatencyMonitor], *, title: str = "", caption: str = "", theme: Theme = DARK) -> Figure:
    """Return how long decisions took, one row per kind of decision.

    Args:
        times: Name -> what was counted; 1 to 16 of them. Names that end alike after a comma have one colour.
        title: Heading.
        caption: Line below the picture.
        theme: `hftgym.theme.DARK` or `LIGHT`.

    Raises:
        ValueError: There are none, or too many of them to see.
    """
    if not 1 <= len(times) <= 2 * MAX_POLICIES:
        raise ValueError(f"times must hold 1 to {2 * MAX_POLICIES} monitors, got {len(times)}")
    height = 2.2 + 0.52 * len(times)
    figure = canvas(12.0, height, theme)
    axes = figure.add_axes((0.215, 1.0 / height, 0.60, (height - 2.2) / height))
    kinds = list(dict.fromkeys(name.rpartition(", ")[2] for name in times))
    colors = {name: theme.policies[kinds.index(name.rpartition(", ")[2]) % MAX_POLICIES] for name in times}
    panels.latencies(axes, times, colors, theme=theme)
    figure.text(_EDGE, 1 - 0.42 / height, title or "Time of one decision", **heading(theme))
    explained = "distribution (height: root of the frequency);  dot: median,  diamond: 99 %,  bar: 99.9 %"
    figure.text(_EDGE, 1 - 0.74 / height, explained, color=theme.muted, va="center", **font(9))
    figure.text(_EDGE, 0.2 / height, caption, color=theme.muted, va="center", **font(8.5))
    return figure


def policy_colors(names: Sequence[str], *, theme: Theme = DARK) -> dict[str, str]:
    """Return the colour of every policy of a comparison.

    Raises:
        ValueError: There are more than 8.
    """
    if len(names) > MAX_POLICIES:
        raise ValueError(f"a picture shows at most {MAX_POLICIES} policies legibly, got {len(names)}")
    return dict(zip(names, theme.policies, strict=False))


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as a PNG of 150 pixels per inch and return its path."""
    path = Path(path)
    figure.savefig(path, dpi=_PIXELS_PER_INCH, facecolor=figure.get_facecolor())
    return path


def canvas(width: float, height: float, theme: Theme) -> Figure:
    """Return an empty figure of so many inches."""
    figure = Figure(figsize=(width, height), facecolor=theme.background)
    FigureCanvasAgg(figure)
    return figure


def heading(theme: Theme) -> dict[str, Any]:
    """Return the text properties of a picture's heading."""
    return {"color": theme.ink, "va": "center", **font(16, bold=True)}


def legend(figure: Figure, colors: Mapping[str, str], theme: Theme) -> None:
    """Write the policies with their colours below the heading."""
    names = [shortened(name) for name in colors]
    one_row = sum(len(name) + 5 for name in names) <= _ROW
    style_legend(
        figure.legend(
            handles=[panels.swatch(color, name) for name, color in zip(names, colors.values(), strict=True)],
            loc="upper left",
            bbox_to_anchor=(_EDGE - 0.009, 0.943),
            ncols=len(names) if one_row else -(-len(names) // 2),
            handlelength=1.2,
            handletextpad=0.6,
            columnspacing=1.7,
            prop=font(10)["fontproperties"],
        ),
        theme.ink,
    )


def parts_legend(
    figure: Figure, y: float, theme: Theme, *, labels: Sequence[str] = panels.PART_LABELS, total: str = "J"
) -> None:
    """Write what the parts of a stacked bar are."""
    parts = [panels.swatch(color, label) for color, label in zip(theme.parts, labels, strict=False)]
    style_legend(
        figure.legend(
            handles=[*parts, Line2D([], [], linestyle="", marker="D", markersize=5, color=theme.ink, label=total)],
            loc="center left",
            bbox_to_anchor=(_EDGE - 0.009, y),
            ncols=len(parts) + 1,
            handlelength=0.9,
            handletextpad=0.5,
            columnspacing=1.2,
            prop=font(9)["fontproperties"],
        ),
        theme.muted,
    )


def _caption(figure: Figure, text: str, theme: Theme) -> None:
    figure.text(_EDGE, 0.022, text, color=theme.muted, va="center", **font(8.5))
