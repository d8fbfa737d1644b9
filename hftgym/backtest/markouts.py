"""What a fill is worth a while later: the cost of trading with those who know more."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hftgym.backtest.result import Fills
from hftgym.backtest.statistics import Floats, long_run_variance, student_975, summed_by_tick

HORIZONS: tuple[int, ...] = (0, 1, 10, 100)
_SHORTEST = 20  # horizons in a path that has standard errors
_LAGS, _APART = 3, 2  # horizons: where Bartlett's weights reach 0; stretches that are taken as independent
_FEWEST = 3.0  # of such stretches
_NORMAL_975 = 1.96


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Markouts:
    """Mean profit per unit filled, marked at the mid `ticks` later; columns of equal length k, one row per horizon.

    The sign is that of our profit: side * (mid later - price paid). At 0 ticks it is marked at the mid just before the
    fill, so that the first row is the spread captured: negative for a taker, and for a quote that the mid had run past
    before the fill came. What later rows lose against it is adverse selection.

    Attributes:
        ticks: int64 (k,), horizons; the mid at the h-th row after the fill, so up to one tick less than h ticks later.
        fills: int64 (k,), how many were used: those whose horizon lies within the path.
        value: Quote currency per unit, weighted by size; NaN without fills.
        value_se: Standard error for fills whose horizons overlap, widened for small samples: the value ± 1.96 of it
            covers the truth in about 95 % of paths. NaN where nobody can tell: a path of fewer than 20 horizons, or
            fills that all come from nearly the same time.
        half_spreads: The same in half-spreads of the market at the start of the fill's tick.
        half_spreads_se: Its standard error.
    """

    ticks: NDArray[np.int64]
    fills: NDArray[np.int64]
    value: Floats
    value_se: Floats
    half_spreads: Floats
    half_spreads_se: Floats


def markouts(fills: Fills, mid: Floats, half_spread: Floats, *, horizons: Sequence[int] = HORIZONS) -> Markouts:
    """Return the markouts of a fill log on a path.

    Args:
        fills: The log.
        mid: (n + 1,), quote currency.
        half_spread: (n + 1,), quote currency; fills where it is not above 0 do not count in half-spreads.
        horizons: Ticks, each at least 0.
    """
    rows = []
    for ticks in horizons:
        inside = fills.tick + ticks < len(mid)
        at, side = fills.tick[inside], fills.side[inside]
        later = mid[at + ticks] if ticks else fills.mid[inside]
        profit, size = side * (later - fills.price[inside]), fills.size[inside]
        half = half_spread[at]
        open_market = half > 0
        length = max(ticks, 1) if len(mid) - 1 >= _SHORTEST * ticks else None
        value = _mean(profit, size, at, length)
        per_half = (profit / np.where(open_market, half, 1.0))[open_market]
        unit = _mean(per_half, size[open_market], at[open_market], length)
        rows.append((ticks, len(at), *value, *unit))
    columns = list(zip(*rows, strict=True))
    counts = [np.array(column, dtype=np.int64) for column in columns[:2]]
    means = [np.array(column, dtype=np.float64) for column in columns[2:]]
    return Markouts(
        ticks=counts[0],
        fills=counts[1],
        value=means[0],
        value_se=means[1],
        half_spreads=means[2],
        half_spreads_se=means[3],
    )


def _mean(values: Floats, weights: Floats, tick: NDArray[np.int64], length: int | None) -> tuple[float, float]:
    """Return the weighted mean and its standard error, for values that share the moves of up to `length` ticks.

    The long-run variance by Bartlett's weights is too small where few independent stretches of time carry the fills. It
    is corrected as the variance of so many independent values would be (by m / (m - 1), and Student's t in the place of
    the normal distribution), where m is their effective number: (sum of weights)^2 / sum of (weights per stretch)^2.
    How often the intervals cover the truth is tested by simulation.
    """
    if not len(values):
        return math.nan, math.nan
    mean = float(np.average(values, weights=weights))
    if length is None:
        return mean, math.nan
    since, total = tick - tick[0], float(weights.sum())
    stretch = since // (_APART * length)
    effective = total**2 / float((summed_by_tick(stretch, weights, int(stretch[-1]) + 1) ** 2).sum())
    if effective < _FEWEST:
        return mean, math.nan
    per_tick = summed_by_tick(since, weights * (values - mean), int(since[-1]) + 1)
    wider = student_975(effective - 1.0) / _NORMAL_975 * math.sqrt(effective / (effective - 1.0))
    return mean, wider * math.sqrt(long_run_variance(per_tick, _LAGS * length)) / total
