"""Pictures of backtests: one policy in depth, several on one tape, and a grid of parameters."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from hftgym import panels_backtest as panels
from hftgym.backtest.metrics import Metrics
from hftgym.backtest.record import Record
from hftgym.backtest.statistics import Floats
from hftgym.panels import stacked
from hftgym.plots import canvas, heading, legend, parts_legend, policy_colors
from hftgym.tables import number
from hftgym.tables_backtest import figures, verdict
from hftgym.theme import DARK, Theme, font, pane_title, shortened
from hftgym.trace import quote_currency

__all__ = ["backtest", "compared", "grid"]

_EDGE, _MIDDLE = 0.022, 0.522  # where text starts, as a share of the width
_MAPS = 4


def backtest(record: Record, metrics: Metrics, *, name: str = "", caption: str = "", theme: Theme = DARK) -> Figure:
    """Return one policy's path in depth: price with fills, inventory, PnL; markouts, reasons and figures beside them.

    Whipsaws are crosses at their closing price and ticks at the bottom of the price; trend failures are bands with
    their loss. Thousands of fills are summed over short stretches of time.

    Args:
        record: The path.
        metrics: Its figures, from `hftgym.backtest.metrics.measure`.
        name: What the picture calls the policy.
        caption: Line below the picture.
        theme: `hftgym.theme.DARK` or `LIGHT`.
    """
    figure = canvas(12.0, 9.2, theme)
    left, wide = 0.068, 0.622
    price = figure.add_axes((left, 0.490, wide, 0.400))
    held = figure.add_axes((left, 0.318, wide, 0.130), sharex=price)
    money = figure.add_axes((left, 0.092, wide, 0.184), sharex=price)
    panels.prices(price, record, metrics, theme=theme)
    panels.positions(held, record, metrics, theme=theme)
    panels.drawdowns(money, record, metrics, theme=theme)
    beside, narrow = 0.775, 0.205
    after = figure.add_axes((beside, 0.310, narrow, 0.138))
    worth = f"profit per unit filled ({quote_currency(record.symbol)})"
    panels.markouts(after, {"": metrics.markouts}, {"": theme.equity}, title=worth, theme=theme)
    panels.reasons(figure.add_axes((beside, 0.092, narrow, 0.124)), metrics, theme=theme)
    _figures(figure, metrics, x=0.722, top=0.897, theme=theme)
    title = f"{shortened(name, length=40)} on {record.symbol}" if name else record.symbol
    figure.text(_EDGE, 0.965, title, **heading(theme))
    figure.text(_EDGE, 0.932, verdict(metrics), color=theme.ink, va="center", **font(9.5))
    figure.text(_EDGE, 0.020, caption, color=theme.muted, va="center", **font(8.5))
    return figure


def compared(
    records: Mapping[str, Record],
    metrics: Mapping[str, Metrics],
    *,
    title: str = "",
    caption: str = "",
    theme: Theme = DARK,
) -> Figure:
    """Return several policies on one tape: PnL after and before fees, what it is made of, and their markouts.

    Args:
        records: Name -> path over the same ticks; at most 8, drawn in their order.
        metrics: Name -> figures of the same paths.
        title: Heading.
        caption: Line below the picture.
        theme: `hftgym.theme.DARK` or `LIGHT`.

    Raises:
        ValueError: There are too many policies, or the names differ.
    """
    if not records or set(records) != set(metrics):
        raise ValueError(f"records and metrics must have the same names, got {list(records)} and {list(metrics)}")
    colors = policy_colors(list(records), theme=theme)
    figure = canvas(12.0, 9.0, theme)
    top, bottom, height, wide = 0.525, 0.100, 0.290, 0.42
    first = next(iter(records.values()))
    paid = {name: one.equity - one.equity[0] for name, one in records.items()}
    free = {name: paid[name] + np.append(0.0, np.cumsum(one.fees)) for name, one in records.items()}
    for x, paths in ((0.070, paid), (0.565, free)):
        axes = figure.add_axes((x, top, wide, height))
        panels.profits(axes, paths, colors, tick_s=first.tick_s, theme=theme)
    money = quote_currency(first.symbol)
    bars = "by ticks after the fill;  bars: 95 % intervals;  hollow: not known"
    rows = {
        name: ((m.spread_captured, m.price_moves, -m.fees), (m.pnl.value, m.pnl.low, m.pnl.high))
        for name, m in metrics.items()
    }
    stacked(figure.add_axes((0.142, bottom, 0.27, height)), rows, colors, theme=theme, unit_x=money)
    after = figure.add_axes((0.565, bottom, wide, height))
    panels.markouts(after, {name: m.markouts for name, m in metrics.items()}, colors, theme=theme)
    for x, y, name, explained in (
        (_EDGE, top, "PnL after fees", money),
        (_MIDDLE, top, "PnL before fees", money),
        (_EDGE, bottom, "What the PnL is made of", ""),
        (
            _MIDDLE,
            bottom,
            "Profit per unit filled",
            f"{money}, {bars}",
        ),
    ):
        figure.text(x, y + height + 0.040, name, color=theme.ink, va="center", **font(12, bold=True))
        figure.text(x, y + height + 0.016, explained, color=theme.muted, va="center", **font(9))
    parts_legend(figure, bottom + height + 0.016, theme, labels=("spread captured", "price moves", "fees"), total="PnL")
    figure.text(_EDGE, 0.960, title, **heading(theme))
    legend(figure, colors, theme)
    figure.text(_EDGE, 0.022, caption, color=theme.muted, va="center", **font(8.5))
    return figure


def grid(
    values: Mapping[str, Floats],
    *,
    rows: Sequence[float],
    columns: Sequence[float],
    axis_names: tuple[str, str] = ("window (ticks)", "entry (standard deviations)"),
    title: str = "",
    caption: str = "",
    theme: Theme = DARK,
) -> Figure:
    """Return heat maps of PnL over two parameters, side by side, each in colours around zero.

    Args:
        values: What a map shows -> float64 (len(rows), len(columns)), quote currency, NaN where nothing was
            traded; one to four.
        rows: Values of the parameter that runs down.
        columns: Values of the parameter that runs to the right.
        axis_names: Their names.
        title: Heading.
        caption: Line below the picture.
        theme: `hftgym.theme.DARK` or `LIGHT`.

    Raises:
        ValueError: There are none or too many maps, or one has another shape.
    """
    if not 1 <= len(values) <= _MAPS:
        raise ValueError(f"values must hold one to {_MAPS} maps, got {len(values)}")
    for name, one in values.items():
        if one.shape != (len(rows), len(columns)):
            raise ValueError(f"values[{name!r}] must have shape {(len(rows), len(columns))}, got {one.shape}")
    height = 2.2 + min(max(0.34 * len(rows), 2.2), 6.0)
    figure = canvas(12.0, height, theme)
    wide, left = 0.90 / len(values), 0.075
    for i, (name, one) in enumerate(values.items()):
        place = (
            left + i * wide,
            0.95 / height,
            wide - (0.022 if i + 1 < len(values) else 0.0),
            (height - 2.2) / height,
        )
        axes = figure.add_axes(place)
        largest = float(np.nan_to_num(np.abs(one)).max()) or 1.0
        panels.heat(axes, one, rows=rows, columns=columns, largest=largest, theme=theme)
        pane_title(axes, f"{name}   ·   full colour: {number(largest, 0 if largest >= 10 else 2)}", theme)
        axes.set_xlabel(axis_names[1], color=theme.muted, **font(9))
        if i:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel(axis_names[0], color=theme.muted, **font(9))
    figure.text(_EDGE, 1 - 0.42 / height, title, **heading(theme))
    explained = "PnL in quote currency;  green: a gain, red: a loss;  framed: the best of its map;  –: never traded"
    figure.text(_EDGE, 1 - 0.76 / height, explained, color=theme.muted, va="center", **font(9))
    figure.text(_EDGE, 0.2 / height, caption, color=theme.muted, va="center", **font(8.5))
    return figure


def _figures(figure: Figure, metrics: Metrics, *, x: float, top: float, theme: Theme) -> None:
    """Write the figures as two columns, names to the left and values to the right."""
    for i, (name, value) in enumerate(figures(metrics)):
        y = top - 0.0222 * i
        figure.text(x, y, name, color=theme.muted, va="center", **font(9))
        figure.text(0.98, y, value, color=theme.ink, va="center", ha="right", **font(9))
