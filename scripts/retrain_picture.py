"""The picture of a change of regime: what two agents get of two markets, and what the old one gets of others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hftgym.tables import number
from hftgym.theme import DARK, Theme, font, style_axes


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One agent in one market.

    Attributes:
        group: The market.
        agent: Its name.
        share: J / J*; se: its standard error.
        constant: J / J* of the best constant quote there.
    """

    group: str
    agent: str
    share: float
    se: float
    constant: float


class HasShare(Protocol):
    """What one row of the right panel needs."""

    @property
    def share(self) -> float:
        """J / J*."""
        ...

    @property
    def se(self) -> float:
        """Its standard error."""
        ...


def draw(bars: Sequence[Bar], alone: Mapping[str, HasShare], *, caption: str, theme: Theme = DARK) -> Figure:
    """Return two panels: agents by market with the optimum as a line, and the old agent after single changes.

    Args:
        bars: Grouped by market, the same agents in each.
        alone: Name of a change -> what the old agent gets then.
        caption: Line below the picture.
        theme: `hftgym.theme.DARK` or `LIGHT`.
    """
    figure = Figure(figsize=(12.0, 5.6), facecolor=theme.background)
    FigureCanvasAgg(figure)
    agents = list(dict.fromkeys(bar.agent for bar in bars))
    colors = dict(zip(agents, (theme.policies[3], theme.policies[4]), strict=True))
    _markets(figure.add_axes((0.070, 0.135, 0.42, 0.63)), bars, colors, theme)
    _changes(figure.add_axes((0.700, 0.135, 0.270, 0.63)), alone, colors[agents[0]], theme)
    heading = "The market changes, the champion is retrained"
    figure.text(0.022, 0.945, heading, color=theme.ink, va="center", **font(16, bold=True))
    for x, title, explained in (
        (0.022, "Both agents, before and after", "J / J*, the share of the exact optimum"),
        (0.535, "The old champion, one change at a time", "J / J* in market A with one thing changed"),
    ):
        figure.text(x, 0.865, title, color=theme.ink, va="center", **font(12, bold=True))
        figure.text(x, 0.822, explained, color=theme.muted, va="center", **font(9))
    figure.text(0.022, 0.03, caption, color=theme.muted, va="center", **font(8.5))
    return figure


def _markets(axes: Axes, bars: Sequence[Bar], colors: Mapping[str, str], theme: Theme) -> None:
    style_axes(axes, theme)
    axes.grid(visible=False, axis="x")
    groups = list(dict.fromkeys(bar.group for bar in bars))
    low = min(0.0, *(bar.share for bar in bars))
    for bar in bars:
        centre = groups.index(bar.group) + (-0.19 if bar.agent == next(iter(colors)) else 0.19)
        axes.bar(centre, bar.share, width=0.34, color=colors[bar.agent], zorder=2)
        axes.errorbar(centre, bar.share, yerr=2 * bar.se, color=theme.ink, linewidth=1.4, zorder=4)
        _label(axes, centre, bar, theme)
    for i, group in enumerate(groups):
        constant = next(bar.constant for bar in bars if bar.group == group)
        dashed: Any = {"color": theme.muted, "linewidth": 1.3, "linestyle": (0, (4, 3)), "zorder": 3}
        axes.plot([i - 0.42, i + 0.42], [constant] * 2, **dashed)
        axes.text(i + 0.43, constant, "best\nconstant", color=theme.muted, va="center", ha="left", **font(8.5))
    axes.axhline(1.0, color=theme.equity, linewidth=1.8, zorder=3)
    axes.text(-0.47, 1.015, "exact optimum", color=theme.equity, va="bottom", **font(9))
    axes.set_xticks(range(len(groups)), groups, color=theme.ink, **font(10))
    axes.set_xlim(-0.5, len(groups) - 0.3)
    axes.set_ylim(low * 1.05, 1.12)


def _label(axes: Axes, centre: float, bar: Bar, theme: Theme) -> None:
    """Write who it is and how much into the foot of a bar, or above one that is too low."""
    fits = bar.share > 0.3
    text = "\n".join([*bar.agent.split(), number(bar.share, 3)])
    color, foot = (theme.background, 0.03) if fits else (theme.ink, max(bar.share, 0.0) + 0.03)
    axes.text(centre, foot, text, color=color, ha="center", va="bottom", zorder=5, **font(9))


def _changes(axes: Axes, alone: Mapping[str, HasShare], color: str, theme: Theme) -> None:
    style_axes(axes, theme)
    axes.grid(visible=False, axis="y")
    for place, found in enumerate(alone.values()):
        axes.plot([found.share, 1.0], [place] * 2, color=theme.grid, linewidth=5, solid_capstyle="butt", zorder=2)
        axes.errorbar(found.share, place, xerr=2 * found.se, color=theme.ink, linewidth=1.4, zorder=4)
        axes.plot(found.share, place, "o", color=color, markersize=8, zorder=5)
        axes.text(
            found.share - 0.025,
            place,
            number(found.share, 3),
            color=theme.ink,
            va="center",
            ha="right",
            zorder=6,
            **font(9),
        )
    axes.axvline(1.0, color=theme.equity, linewidth=1.8, zorder=3)
    axes.set_yticks(range(len(alone)), list(alone), color=theme.ink, **font(9))
    axes.set_ylim(len(alone) - 0.5, -0.5)
    axes.set_xlim(min(found.share for found in alone.values()) - 0.2, 1.05)
