"""The colours and the type of every picture: one dark and one light look of the same design.

The policy colours were searched for in OKLab so that every pair stays apart in normal vision and under simulated
protanopia, deuteranopia and tritanopia (Machado et al. 2009), with a contrast of at least 3 against the background.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

# The colours serve pages without matplotlib too: it is imported where something is drawn with it.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.legend import Legend


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours as "#rrggbb".

    Attributes:
        background: Of the figure.
        panel: Of the axes.
        ink: Titles and values.
        muted: Axis labels and captions.
        grid: Grid lines.
        price: The mid.
        equity: Equity of one episode.
        buy: Buys, gains.
        sell: Sells, losses.
        policies: One per policy, in the order of the policies; the first suits a reference.
        parts: Parts of J: spread captured, inventory PnL, fees, penalty.
    """

    background: str
    panel: str
    ink: str
    muted: str
    grid: str
    price: str
    equity: str
    buy: str
    sell: str
    policies: tuple[str, ...]
    parts: tuple[str, str, str, str]


DARK = Theme(
    background="#0e1420",
    panel="#121a29",
    ink="#e8edf5",
    muted="#93a0b4",
    grid="#222d40",
    price="#2fd6f3",
    equity="#ffd23f",
    buy="#35d07f",
    sell="#ff5a52",
    policies=("#8b95a7", "#da98fe", "#cc473f", "#fc8a1a", "#51ca90", "#c6e570", "#45f3f1", "#536fe0"),
    parts=("#5f7fa8", "#3b4a63", "#b58a3c", "#a8505a"),
)

LIGHT = Theme(
    background="#ffffff",
    panel="#ffffff",
    ink="#1b2330",
    muted="#5c6778",
    grid="#e6eaf0",
    price="#0a8fb5",
    equity="#b07a00",
    buy="#178a4c",
    sell="#cf2f2f",
    policies=("#8b93a1", "#955995", "#812d34", "#cb811f", "#1a9bf2", "#612a98", "#c83625", "#2f5fd0"),
    parts=("#7d9cc4", "#c9d3e0", "#d9b15f", "#d58a91"),
)

MAX_POLICIES = len(DARK.policies)


def font(size: float, *, bold: bool = False) -> dict[str, Any]:
    """Return text properties: the sans serif that matplotlib ships, so that a picture is the same everywhere."""
    from matplotlib import font_manager

    properties = font_manager.FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")
    return {"fontproperties": properties}


def style_axes(axes: "Axes", theme: Theme, *, unit_x: str = "", unit_y: str = "") -> None:
    """Give axes the look of the theme: a quiet grid, no frame."""
    axes.set_facecolor(theme.panel)
    axes.set_axisbelow(True)
    axes.grid(visible=True, color=theme.grid, linewidth=0.8)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(colors=theme.muted, length=0, labelsize=9, pad=5)
    axes.set_xlabel(unit_x, color=theme.muted, labelpad=6, **font(9))
    axes.set_ylabel(unit_y, color=theme.muted, labelpad=6, **font(9))


def pane_title(axes: "Axes", text: str, theme: Theme, *, color: str = "") -> None:
    """Write what a pane shows above its left end, where numbers of any length leave it room."""
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(text, (0, 1), (0, 5), color=color or theme.muted, **place, **font(9))


def plain_numbers(axis: "Axis", *, intervals: int = 6) -> None:
    """Write numbers in full, with separators and round steps: no offset to add up in the head.

    Args:
        axis: The axis.
        intervals: At most so many between its ticks.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}".replace("-", "\N{MINUS SIGN}")))
    axis.set_major_locator(MaxNLocator(intervals, steps=[1, 2, 2.5, 5, 10]))


def shortened(name: str, *, length: int = 20) -> str:
    """Return a name of at most so many characters; the middle goes first, because ends tell names apart."""
    if len(name) <= length:
        return name
    head = (length - 1) // 2
    return f"{name[:head]}…{name[len(name) - (length - 1 - head) :]}"


def style_legend(legend: "Legend", color: str) -> None:
    """Give a legend's text a colour and take its frame away."""
    legend.set_frame_on(False)
    for text in legend.get_texts():
        text.set_color(color)
