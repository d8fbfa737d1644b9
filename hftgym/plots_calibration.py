"""A calibrated market beside the tape that it was calibrated on: what fits, and what does not."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

import hftgym
from hftgym.params import EnvParams
from hftgym.tape.calibration import Calibration
from hftgym.tape.flow import MarketOrders, market_orders
from hftgym.tape.measure import quotes_at, tick_times
from hftgym.tape.parquet import TapeFile
from hftgym.tape.types import Tape
from hftgym.theme import DARK, Theme, font, plain_numbers, style_axes, style_legend

RECORDED, SIMULATED = "recorded", "simulated"

_FEWEST_MOVES = 12  # of a sampling interval, for its volatility to be drawn
_LAGS = 20  # of the autocorrelation
_DISTANCES = 8  # how many times as far as distances were told apart the picture goes
_MOST_ORDERS = 15  # per tick and side, all above together
_WIDEST = 10  # half of the range of moves, in standard deviations
_LEFT, _BOTTOM, _WIDTH, _HEIGHT, _ACROSS, _UP = 0.058, 0.090, 0.255, 0.305, 0.328, 0.432


class _Look(NamedTuple):
    """What is drawn of a tape."""

    times: np.ndarray  # int64 (ticks + 1,)
    bid: np.ndarray
    ask: np.ndarray
    orders: MarketOrders

    @property
    def mid(self) -> np.ndarray:
        return (self.bid + self.ask) / 2

    def relative(self, ticks: int = 1) -> np.ndarray:
        """Return the relative moves over so many ticks."""
        mid = self.mid[::ticks]
        return np.diff(mid) / mid[:-1]


def _look(tape: Tape | TapeFile, tick_s: float) -> _Look:
    times = tick_times(tape, tick_s)
    return _Look(times, *quotes_at(tape, times), market_orders(tape))


def calibration(recorded: Tape | TapeFile, simulated: Tape, found: Calibration, *, theme: Theme = DARK) -> Figure:
    """Return six panes: volatility by sampling interval, autocorrelation, moves, spread, reach and number of orders.

    Args:
        recorded: The tape.
        simulated: A tape of the calibrated market, from `hftgym.tape.simulate.simulate_tape`.
        found: The calibration.
        theme: `hftgym.theme.DARK` or `LIGHT`.
    """
    figure = Figure(figsize=(13.5, 8.6), facecolor=theme.background)
    FigureCanvasAgg(figure)
    tapes = {name: _look(tape, found.params.tick_s) for name, tape in ((RECORDED, recorded), (SIMULATED, simulated))}
    panes = (
        (_signature, "Volatility", "basis points per root second, by seconds from look to look"),
        (
            _autocorrelation,
            "Autocorrelation of the moves",
            f"by lag in ticks;  band: 95 % of {found.ticks:,} free moves",
        ),
        (_moves, "Moves of one tick", "density, by standard deviations of the calibrated market"),
        (_spreads, "Spread", _spread_unit(found)),
        (_reach, "How far market orders go", "past a quote, per tick and side, by its half-spreads from the mid"),
        (_counts, "Market orders in one tick", "share of ticks and sides, by number of orders"),
    )
    for i, (draw, name, explained) in enumerate(panes):
        x, y = _LEFT + _ACROSS * (i % 3), _BOTTOM + _UP * (1 - i // 3)
        axes = figure.add_axes((x, y, _WIDTH, _HEIGHT))
        style_axes(axes, theme)
        draw(axes, tapes, found, theme)
        figure.text(x - 0.036, y + _HEIGHT + 0.045, name, color=theme.ink, va="center", **font(12, bold=True))
        figure.text(x - 0.036, y + _HEIGHT + 0.019, explained, color=theme.muted, va="center", **font(8.5))
    title = f"{recorded.venue} {recorded.symbol}: {recorded.duration_s:,.0f} s recorded, and simulated as measured"
    figure.text(0.022, 0.960, title, color=theme.ink, va="center", **font(16, bold=True))
    caption = (
        f"one tick is {found.params.tick_s:g} s   ·   {found.orders:,} market orders   ·   simulated as long   ·   "
        f"dashed: the fitted law   ·   hftgym {hftgym.__version__}"
    )
    figure.text(0.022, 0.022, caption, color=theme.muted, va="center", **font(8.5))
    _legend(figure, theme)
    return figure


def _color(name: str, theme: Theme) -> str:
    return theme.price if name == RECORDED else theme.equity


def _line(axes: Axes, x: np.ndarray, y: np.ndarray, name: str, theme: Theme, **more: Any) -> None:
    style = {"linewidth": 2.2 if name == RECORDED else 1.6, "zorder": 4 if name == RECORDED else 3} | more
    axes.plot(x, y, color=_color(name, theme), **style)


def _law(axes: Axes, x: np.ndarray, y: np.ndarray, theme: Theme) -> None:
    axes.plot(x, y, color=theme.ink, linewidth=1.2, linestyle=(0, (5, 3)), zorder=5)


def _signature(axes: Axes, tapes: Mapping[str, _Look], found: Calibration, theme: Theme) -> None:
    tick_s = found.params.tick_s
    longest = found.ticks * tick_s / _FEWEST_MOVES
    ticks = np.unique(np.round(np.geomspace(1, max(longest / tick_s, 2), 24)).astype(np.int64))
    seconds = tick_s * ticks
    for name, tape in tapes.items():
        moves = [tape.relative(k) for k in ticks.tolist()]
        level = np.array([1e4 * math.sqrt(np.mean(m**2) / s) for m, s in zip(moves, seconds, strict=True)])
        _line(axes, seconds, level, name, theme)
        if name == RECORDED:  # of independent moves
            half = 1.96 * level / np.sqrt(2 * np.array([len(m) for m in moves]))
            axes.fill_between(seconds, level - half, level + half, color=_color(name, theme), alpha=0.14, linewidth=0)
    _law(axes, seconds, np.full(len(seconds), 1e4 * found.params.nominal_volatility / math.sqrt(tick_s)), theme)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    _plain(axes, "x")


def _autocorrelation(axes: Axes, tapes: Mapping[str, _Look], found: Calibration, theme: Theme) -> None:
    lags = np.arange(1, min(_LAGS, found.ticks - 2) + 1)
    axes.axhspan(*(sign * 1.96 / math.sqrt(found.ticks) for sign in (-1, 1)), color=theme.grid, linewidth=0)
    for name, tape in tapes.items():
        moves = tape.relative()
        values = [np.mean(moves[h:] * moves[:-h]) / np.mean(moves**2) for h in lags]
        x = lags + (-0.14 if name == RECORDED else 0.14)
        axes.vlines(x, 0, values, color=_color(name, theme), linewidth=1.6)
        axes.plot(x, values, "o", color=_color(name, theme), markersize=3.6)
    axes.axhline(0, color=theme.muted, linewidth=0.8)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -0.1), max(high, 0.1))
    plain_numbers(axes.xaxis)
    plain_numbers(axes.yaxis)


def _moves(axes: Axes, tapes: Mapping[str, _Look], found: Calibration, theme: Theme) -> None:
    edges = np.linspace(-_WIDEST, _WIDEST, 81)
    for name, tape in tapes.items():
        moves = tape.relative() / found.params.nominal_volatility
        inside = np.clip(moves, edges[0], edges[-1])  # the outermost bars hold all that lies beyond
        density = np.histogram(inside, edges)[0] / len(moves) / (edges[1] - edges[0])
        axes.stairs(np.where(density > 0, density, np.nan), edges, color=_color(name, theme), linewidth=1.8)
    x = np.linspace(-_WIDEST, _WIDEST, 400)
    _law(axes, x, np.exp(-x * x / 2) / math.sqrt(2 * math.pi), theme)
    axes.set_yscale("log")
    axes.set_ylim(0.2 / found.ticks, None)
    axes.set_xlim(-_WIDEST, _WIDEST)
    plain_numbers(axes.xaxis)


def _spreads(axes: Axes, tapes: Mapping[str, _Look], found: Calibration, theme: Theme) -> None:
    edges = np.array([0.5, 1.5, 2.5, 3.5, 4.5, 9.5, 19.5, 49.5, 99.5, 1e9])
    centers = np.arange(len(edges) - 1)
    for name, tape in tapes.items():
        value = (tape.ask - tape.bid) / (found.price_step or found.params.spread * tape.mid)
        share = np.histogram(np.clip(value, 0.51, 9e8), edges)[0] / len(value)
        x = centers + (-0.2 if name == RECORDED else 0.2)
        axes.bar(x, share, width=0.4, color=_color(name, theme), linewidth=0)
    axes.set_yscale("log")
    axes.set_ylim(0.5 / found.ticks, 1.5)
    axes.set_xticks(centers, ["1", "2", "3", "4", "5+", "10+", "20+", "50+", "100+"])
    _plain(axes, "y", percent=True)


def _spread_unit(found: Calibration) -> str:
    unit = "the median" if found.price_step is None else f"the price step, {found.price_step:g}"
    return f"share of ticks, by multiples of {unit}"


def _reach(axes: Axes, tapes: Mapping[str, _Look], found: Calibration, theme: Theme) -> None:
    params = found.params
    told = max(params.offset_high, 2.0)
    distance = np.linspace(1, told * _DISTANCES, 600)
    for name, tape in tapes.items():
        orders = tape.orders
        reached = np.sort(1 + orders.beyond / (orders.mid * params.spread / 2))
        # Of prices on a grid, those half a step short are meant.
        rate = (len(reached) - np.searchsorted(reached, distance - 1e-3)) / (2 * found.ticks)
        _line(axes, distance, np.where(rate > 0, rate, np.nan), name, theme)
    _law(axes, distance, _intensity(params, distance), theme)
    axes.axvspan(1, told, color=theme.grid, alpha=0.6, linewidth=0)
    axes.set_yscale("log")
    axes.set_xlim(0, distance[-1])
    axes.set_ylim(0.4 / found.ticks, 2 * max(params.arrival_intensity, 0.5 / found.ticks))
    note = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points", "va": "top"}
    axes.annotate("fitted here", (told, 1.0), (6, -5), color=theme.muted, **note, **font(8.5))
    text = rf"A = {params.arrival_intensity:.3g} per tick,  $\kappa$ = {params.fill_decay:.3g}"
    axes.annotate(text, (0.985, 0.94), xycoords="axes fraction", ha="right", va="top", color=theme.ink, **font(9))


def _intensity(params: EnvParams, distance: np.ndarray) -> np.ndarray:
    return params.arrival_intensity * np.exp(-params.fill_decay * distance)


def _counts(axes: Axes, tapes: Mapping[str, _Look], found: Calibration, theme: Theme) -> None:
    numbers = np.arange(_MOST_ORDERS + 1)
    for name, tape in tapes.items():
        times, orders = tape.times, tape.orders
        tick, ticks = np.searchsorted(times, orders.time_ns, side="left") - 1, len(times) - 1
        inside = (tick >= 0) & (tick < ticks)
        place = tick[inside] + ticks * (orders.side[inside] > 0)
        count = np.minimum(np.bincount(place, minlength=2 * ticks), _MOST_ORDERS)
        x = numbers + (-0.2 if name == RECORDED else 0.2)
        share = np.bincount(count, minlength=len(numbers)) / (2 * ticks)
        axes.bar(x, share, width=0.4, color=_color(name, theme), linewidth=0)
    mean = float(_intensity(found.params, np.ones(1))[0])
    law = [math.exp(-mean) * mean**k / math.factorial(k) for k in numbers]
    _law(axes, numbers, np.array(law), theme)
    axes.set_yscale("log")
    axes.set_ylim(0.2 / found.ticks, 1.5)
    axes.set_xticks(numbers[::3], [*map(str, numbers[:-1:3]), f"{_MOST_ORDERS}+"])
    _plain(axes, "y", percent=True)


def _plain(axes: Axes, which: str, *, percent: bool = False) -> None:
    """Write the numbers of a log axis in full."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g} %" if percent else f"{v:g}"))
    axis.set_minor_locator(NullLocator())


def _legend(figure: Figure, theme: Theme) -> None:
    lines = [Line2D([], [], color=_color(name, theme), linewidth=3, label=name) for name in (RECORDED, SIMULATED)]
    lines.append(Line2D([], [], color=theme.ink, linewidth=1.2, linestyle=(0, (5, 3)), label="fitted law"))
    legend = figure.legend(
        handles=lines, loc="center right", bbox_to_anchor=(0.985, 0.960), ncols=3, prop=font(10)["fontproperties"]
    )
    style_legend(legend, theme.ink)
