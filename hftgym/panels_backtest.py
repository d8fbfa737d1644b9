"""The single panels of a backtest's pictures: each draws into axes and returns nothing."""

from collections.abc import Mapping, Sequence

import matplotlib.patheffects as effects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle
from matplotlib.transforms import ScaledTranslation, blended_transform_factory
from numpy.typing import NDArray

from hftgym.backtest.markouts import Markouts
from hftgym.backtest.metrics import Metrics
from hftgym.backtest.record import Record
from hftgym.backtest.result import REASONS
from hftgym.tables import number
from hftgym.theme import Theme, font, pane_title, plain_numbers, style_axes, style_legend
from hftgym.trace import quote_currency

Floats = NDArray[np.float64]

# More fills than this are summed over short stretches of time, and longer paths are drawn by their extremes.
_MARKS, _STRETCHES = 400, 120
_COLUMNS = 1_500
_WHOLE = 20_000  # rows of inventory that can be told apart
_BESIDE = 4  # points between the price and the triangle of several fills
_CROSSES = 60  # more whipsaws than this are ticks at the bottom alone
_BANDS, _LABELLED = 40, 6  # trend failures that are shaded, and those whose loss is written: the deepest ones
_TWO_SIDED_95 = 1.96
_TIME_UNITS = ((2 * 86_400.0, 86_400.0, "days"), (2 * 3_600.0, 3_600.0, "h"), (600.0, 60.0, "min"))


def time_unit(seconds: float) -> tuple[float, str]:
    """Return (length in seconds, name) of the unit in which a time axis of so many seconds has readable numbers."""
    return next(((length, name) for least, length, name in _TIME_UNITS if seconds >= least), (1.0, "s"))


def prices(axes: Axes, record: Record, metrics: Metrics, *, theme: Theme) -> None:
    """Draw the mid with the fills, the whipsaws as crosses over ticks at the bottom, the trend failures as bands."""
    style_axes(axes, theme)
    fills, time = record.fills, _time(record)
    rows = envelope(record.mid)
    axes.plot(time[rows], record.mid[rows], color=theme.price, linewidth=1.1, zorder=2)
    stretch = record.ticks / _STRETCHES if len(fills) > _MARKS else 0.0
    summed = f"   ·   fills per {stretch * record.tick_s:,.3g} s" if stretch else ""
    pane_title(axes, f"price ({quote_currency(record.symbol)}){summed}", theme)
    for side, marker, color, name in ((1, "^", theme.buy, "buy"), (-1, "v", theme.sell, "sell")):
        chosen = fills.side == side
        tick, price, size = summed_fills(fills.tick[chosen], fills.price[chosen], fills.size[chosen], stretch)
        area = 12 + 48 * size / max(float(size.max(initial=0.0)), 1e-300) if stretch else 26
        at = time[np.round(tick).astype(np.int64)]
        # Sums of both sides have nearly one price: buys below it, sells above it.
        beside = ScaledTranslation(0, -side * (_BESIDE / 72 if stretch else 0), axes.figure.dpi_scale_trans)
        axes.scatter(
            at,
            price,
            s=area,
            marker=marker,
            color=color,
            edgecolors=theme.panel,
            linewidths=0.4,
            zorder=3,
            label=name,
            transform=axes.transData + beside,
        )
    _mark_whipsaws(axes, record, metrics, time, theme)
    shade_failures(axes, record, metrics, theme=theme, labelled=True)
    _legend(axes, theme)
    plain_numbers(axes.yaxis, intervals=7)
    axes.margins(x=0.01, y=0.10)
    axes.tick_params(labelbottom=False)


def positions(axes: Axes, record: Record, metrics: Metrics, *, theme: Theme) -> None:
    """Draw the inventory with its limit, and the trend failures as bands."""
    style_axes(axes, theme)
    time, limit = _time(record), record.inventory_limit
    whole = len(record.inventory) <= _WHOLE
    shown = "" if whole else ": mean and middle 90 %"
    at_limit = f"at the limit in {100 * metrics.at_limit:.0f} % of the ticks"
    pane_title(axes, f"inventory (units{shown})   ·   {at_limit}", theme)
    if whole:
        axes.fill_between(time, 0, record.inventory, step="post", color=theme.muted, alpha=0.30, linewidth=0)
        axes.step(time, record.inventory, where="post", color=theme.ink, linewidth=0.9)
    else:
        _band(axes, time, record.inventory, theme)
    for line in (-limit, limit):
        axes.axhline(line, color=theme.sell, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    axes.axhline(0, color=theme.muted, linewidth=0.8, zorder=1)
    shade_failures(axes, record, metrics, theme=theme)
    axes.set_ylim(-1.15 * limit, 1.15 * limit)
    plain_numbers(axes.yaxis, intervals=4)
    axes.tick_params(labelbottom=False)


def drawdowns(axes: Axes, record: Record, metrics: Metrics, *, theme: Theme) -> None:
    """Draw the PnL, what it would be without fees, and how far it is below its peak; the deepest fall is marked."""
    length, unit = time_unit(record.ticks * record.tick_s)
    style_axes(axes, theme, unit_x=f"time ({unit})")
    pane_title(axes, f"PnL ({quote_currency(record.symbol)})", theme)
    time, pnl = record.time_s / length, record.equity - record.equity[0]
    rows = envelope(pnl)
    peak = np.maximum.accumulate(pnl)
    axes.fill_between(
        time[rows], pnl[rows], peak[rows], color=theme.sell, alpha=0.16, linewidth=0, label="below its peak"
    )
    if metrics.fees:
        free = pnl + np.append(0.0, np.cumsum(record.fees))
        axes.plot(time[rows], free[rows], color=theme.muted, linewidth=1.2, label="before fees")
    axes.plot(time[rows], pnl[rows], color=theme.equity, linewidth=1.6, label="PnL")
    axes.axhline(0, color=theme.muted, linewidth=0.8, zorder=1)
    fall = metrics.drawdown
    if fall.value > 0:
        ends = [fall.start, fall.end]
        axes.plot(time[ends], pnl[ends], "o", color=theme.sell, markersize=5, markeredgecolor=theme.panel, zorder=4)
    _legend(axes, theme)
    plain_numbers(axes.yaxis, intervals=5)
    plain_numbers(axes.xaxis, intervals=9)
    axes.margins(x=0.01, y=0.10)


def shade_failures(axes: Axes, record: Record, metrics: Metrics, *, theme: Theme, labelled: bool = False) -> None:
    """Shade the deepest trend failures; the very deepest carry their loss if `labelled`."""
    time, failed = _time(record), metrics.trend_failures
    across = blended_transform_factory(axes.transData, axes.transAxes)
    deepest = np.argsort(-failed.loss)[:_BANDS]
    for i in deepest:
        shown = f", {_BANDS} shaded" if len(failed) > _BANDS else ""
        name = f"trend failure ({len(failed):,}{shown})" if i == deepest[0] else None
        start, end = float(time[failed.start[i]]), float(time[failed.end[i]])
        axes.axvspan(start, end, color=theme.sell, alpha=0.15, linewidth=1.2, zorder=0, label=name)
    middle = (time[failed.start] + time[failed.end]) / 2
    written: list[float] = []
    for i in deepest if labelled else ():
        if len(written) < _LABELLED and all(abs(middle[i] - x) > 0.06 * time[-1] for x in written):
            written.append(float(middle[i]))
            style = {"color": theme.ink, "ha": "center", "va": "top", "transform": across, "zorder": 6}
            text = axes.text(written[-1], 0.985, number(-float(failed.loss[i]), 0), **style, **font(8))
            text.set_path_effects([effects.withStroke(linewidth=2.5, foreground=theme.panel)])


def markouts(
    axes: Axes, found: Mapping[str, Markouts], colors: Mapping[str, str], *, theme: Theme, title: str = ""
) -> None:
    """Draw what a filled unit is worth some ticks later, several policies side by side.

    With 95 % intervals; a point whose error is not known is hollow.
    """
    style_axes(axes, theme, unit_x="ticks after the fill")
    pane_title(axes, title, theme)
    first = next(iter(found.values()))
    places = np.arange(len(first.ticks))
    axes.axhline(0, color=theme.muted, linewidth=0.9, zorder=1)
    for i, (name, one) in enumerate(found.items()):
        at = places + (i - (len(found) - 1) / 2) * min(0.16, 0.6 / len(found))
        error = _TWO_SIDED_95 * np.nan_to_num(one.value_se)
        style = {"color": colors[name], "linewidth": 1.3, "capsize": 2.5, "elinewidth": 1.3, "markersize": 4.5}
        axes.errorbar(at, one.value, error, marker="o", zorder=3, **style)
        unknown = np.isnan(one.value_se)
        hollow = {"color": theme.panel, "markeredgecolor": colors[name], "markersize": 4.5}
        axes.plot(at[unknown], one.value[unknown], "o", zorder=4, **hollow)
    axes.set_xticks(places, [f"{ticks:,}" for ticks in first.ticks])
    axes.grid(visible=False, axis="x")
    axes.margins(x=0.08, y=0.12)
    plain_numbers(axes.yaxis, intervals=5)


def profits(axes: Axes, pnl: Mapping[str, Floats], colors: Mapping[str, str], *, tick_s: float, theme: Theme) -> None:
    """Draw the PnL of several policies over the same ticks."""
    ticks = max(map(len, pnl.values()))
    length, unit = time_unit(ticks * tick_s)
    style_axes(axes, theme, unit_x=f"time ({unit})")
    axes.axhline(0, color=theme.muted, linewidth=0.9, zorder=1)
    for name, path in pnl.items():
        rows = envelope(path)
        axes.plot(rows * (tick_s / length), path[rows], color=colors[name], linewidth=1.6, zorder=2)
    plain_numbers(axes.yaxis, intervals=7)
    plain_numbers(axes.xaxis, intervals=7)
    axes.margins(x=0.01)


def heat(
    axes: Axes,
    values: Floats,
    *,
    rows: Sequence[float],
    columns: Sequence[float],
    largest: float,
    theme: Theme,
) -> None:
    """Draw a table of PnL as colours around zero, with its numbers where there is room, and the best one framed.

    Args:
        axes: Where.
        values: (rows, columns), quote currency; NaN where nothing was traded.
        rows: What the rows are.
        columns: What the columns are.
        largest: The absolute value that has the full colour.
        theme: Look.
    """
    style_axes(axes, theme)
    shades = LinearSegmentedColormap.from_list("around zero", [theme.sell, theme.panel, theme.buy])
    axes.imshow(values, cmap=shades, vmin=-largest, vmax=largest, aspect="auto", interpolation="nearest")
    axes.grid(visible=False)
    for set_ticks, labels in ((axes.set_xticks, columns), (axes.set_yticks, rows)):
        shown = range(0, len(labels), -(-len(labels) // 12))
        set_ticks(list(shown), [f"{labels[i]:g}" for i in shown])
    if values.shape[0] <= 16 and values.shape[1] <= 8:
        digits = 0 if largest >= 10 else 1 if largest >= 1 else 2
        for (row, column), value in np.ndenumerate(values):
            text = {"color": theme.ink, "ha": "center", "va": "center"}
            axes.text(column, row, "–" if np.isnan(value) else number(float(value), digits), **text, **font(8))
    if not np.isnan(values).all():
        row, column = np.unravel_index(int(np.nanargmax(values)), values.shape)
        corner = (float(column) - 0.5, float(row) - 0.5)
        frame = Rectangle(corner, 1, 1, fill=False, edgecolor=theme.ink, linewidth=1.6, clip_on=False)
        axes.add_patch(frame)


def reasons(axes: Axes, metrics: Metrics, *, theme: Theme) -> None:
    """Draw how many fills had which reason."""
    style_axes(axes, theme)
    pane_title(axes, f"reasons of {metrics.fills:,} fill{'' if metrics.fills == 1 else 's'}", theme)
    counts = [metrics.reasons[reason] for reason in REASONS]
    axes.barh(range(len(counts)), counts, height=0.55, color=theme.parts[0])
    for place, count in enumerate(counts):
        label = {"textcoords": "offset points", "va": "center", "color": theme.ink}
        axes.annotate(f"{count:,}", (count, place), (4, 0), **label, **font(8.5))
    axes.set_yticks(range(len(REASONS)), list(REASONS))
    axes.set_ylim(len(REASONS) - 0.4, -0.6)
    axes.set_xlim(0, 1.25 * max(*counts, 1))
    axes.grid(visible=False)
    axes.tick_params(labelbottom=False)


def summed_fills(tick: NDArray[np.int64], price: Floats, size: Floats, stretch: float) -> tuple[Floats, Floats, Floats]:
    """Return (tick, mean price by size, units) of fills of one side, summed over stretches of so many ticks.

    With a stretch of 0 the fills are returned as they are.
    """
    if not stretch or not len(tick):
        return tick.astype(np.float64), price, size
    group, place = np.unique((tick / stretch).astype(np.int64), return_inverse=True)
    units = np.zeros(len(group))
    sums = np.zeros((2, len(group)))
    np.add.at(units, place, size)
    for row, values in zip(sums, (tick, price), strict=True):
        np.add.at(row, place, size * values)
    return sums[0] / units, sums[1] / units, units


def envelope(values: Floats) -> NDArray[np.int64]:
    """Return the rows of a long series that a picture can show: each column's lowest and highest, and both ends."""
    if len(values) <= 2 * _COLUMNS:
        return np.arange(len(values))
    width = len(values) // _COLUMNS
    blocks = values[: width * _COLUMNS].reshape(_COLUMNS, width)
    first = np.arange(_COLUMNS) * width
    rows = [[0, len(values) - 1], first + blocks.argmin(axis=1), first + blocks.argmax(axis=1)]
    return np.unique(np.concatenate([*rows, np.arange(width * _COLUMNS, len(values), width)]))


def _band(axes: Axes, time: Floats, values: Floats, theme: Theme) -> None:
    """Draw a long series as its mean over stretches of time, and the band that holds 90 % of each."""
    width = len(values) // _STRETCHES
    blocks = values[: width * _STRETCHES].reshape(_STRETCHES, width)
    middle = time[width // 2 :: width][:_STRETCHES]
    low, high = np.quantile(blocks, (0.05, 0.95), axis=1)
    axes.fill_between(middle, low, high, color=theme.muted, alpha=0.30, linewidth=0)
    axes.plot(middle, blocks.mean(axis=1), color=theme.ink, linewidth=1.2)


def _mark_whipsaws(axes: Axes, record: Record, metrics: Metrics, time: Floats, theme: Theme) -> None:
    closed = metrics.trips.closed[metrics.whipsaws]
    if not len(closed):
        return
    at, color = time[record.fills.tick[closed]], theme.policies[1]
    across = blended_transform_factory(axes.transData, axes.transAxes)
    alpha = 1.0 if len(closed) <= _MARKS else 0.3
    columns = np.unique(np.round(at / time[-1] * _COLUMNS)) * (time[-1] / _COLUMNS)  # no more than can be seen
    axes.vlines(columns, 0, 0.045, color=color, linewidth=0.9, alpha=alpha, transform=across, zorder=4)
    few = slice(None) if len(closed) <= _CROSSES else slice(0)
    style = {"marker": "x", "s": 26, "color": color, "linewidths": 1.3, "zorder": 5}
    axes.scatter(at[few], record.fills.price[closed][few], label=f"whipsaw ({len(closed):,})", **style)


def _time(record: Record) -> Floats:
    return record.time_s / time_unit(record.ticks * record.tick_s)[0]


def _legend(axes: Axes, theme: Theme) -> None:
    handles, _ = axes.get_legend_handles_labels()
    style = {"handlelength": 1.2, "columnspacing": 1.2, "handletextpad": 0.5, "prop": font(8.5)["fontproperties"]}
    legend = axes.legend(loc="lower right", bbox_to_anchor=(1.008, 0.985), ncols=max(len(handles), 1), **style)
    style_legend(legend, theme.muted)
