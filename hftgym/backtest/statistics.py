"""Statistics of one path as functions of plain arrays. Everything is per tick; nothing is annualised."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STRETCHES = 20
# 97.5 % quantile of Student's t with STRETCHES - 1 degrees of freedom.
_T_975 = 2.0930


@dataclass(frozen=True, kw_only=True, slots=True)
class Sharpe:
    """Mean over standard deviation of the PnL per tick, at the tick's own frequency.

    Attributes:
        ratio: Per square root of a tick; NaN where the PnL never varies.
        se: Its standard error if ticks are independent and normal: sqrt((1 + ratio^2 / 2) / n), A. W. Lo, "The
            statistics of Sharpe ratios", Financial Analysts Journal 58(4), 36-52 (2002), eq. 9.
        se_lagged: The same without both assumptions: the delta method with a long-run variance (Lo's section on
            non-IID returns) over n^(1/3) lags. Where the two differ much, believe this one.
    """

    ratio: float
    se: float
    se_lagged: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawdown:
    """The deepest fall of the equity: quote currency, and the rows of its peak and of its bottom."""

    value: float
    start: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A sum over the path with its 95 % interval, quote currency."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


def sharpe(pnl: Floats) -> Sharpe:
    """Return the Sharpe ratio of PnL per tick (n,) with its standard errors; all NaN if n < 2 or nothing varies."""
    n = len(pnl)
    deviation = float(pnl.std()) if n > 1 else 0.0
    if not deviation > 1e-12 * float(np.abs(pnl).max(initial=0.0)):
        return Sharpe(ratio=math.nan, se=math.nan, se_lagged=math.nan)
    score = (pnl - pnl.mean()) / deviation
    ratio = float(pnl.mean()) / deviation
    influence = score - 0.5 * ratio * (score**2 - 1.0)
    lagged = math.sqrt(long_run_variance(influence, math.ceil(n ** (1 / 3)))) / n
    return Sharpe(ratio=ratio, se=math.sqrt((1.0 + 0.5 * ratio**2) / n), se_lagged=lagged)


def max_drawdown(equity: Floats) -> Drawdown:
    """Return the deepest fall of equity (n + 1,) below its running maximum; value 0 where it never falls."""
    fall = np.maximum.accumulate(equity) - equity
    end = int(fall.argmax())
    start = end - int(equity[end::-1].argmax())  # the last row at the peak
    return Drawdown(value=float(fall[end]), start=start, end=end)


def sum_with_interval(pnl: Floats) -> Interval:
    """Return the sum of PnL per tick (n,) with the 95 % interval of batch means.

    The path is cut into 20 equal stretches of time, and Student's t is taken over their sums: what is correlated
    within a stretch does no harm. A path of fewer than 20 ticks has no interval: NaN.
    """
    total = float(pnl.sum())
    if len(pnl) < STRETCHES:
        return Interval(value=total, low=math.nan, high=math.nan)
    edges = np.linspace(0, len(pnl), STRETCHES + 1).astype(np.int64)
    sums = np.add.reduceat(pnl, edges[:-1])
    half = _T_975 * float(sums.std(ddof=1)) * math.sqrt(STRETCHES)
    return Interval(value=total, low=total - half, high=total + half)


def long_run_variance(deviations: Floats, lags: int) -> float:
    """Return the variance of the sum of a correlated series (n,) of mean 0, with Bartlett weights (Newey, West 1987).

    Written as squares of all sums over `lags` neighbours, the ones over the edges included: the same number in one
    pass, and it shows that it is never negative.

    Args:
        deviations: The series less its mean.
        lags: Where the weights reach 0, at least 1; 1 takes the values as uncorrelated.
    """
    padded = np.concatenate([np.zeros(lags), np.cumsum(deviations)])
    padded = np.append(padded, np.full(lags - 1, padded[-1]))
    return float(np.sum((padded[lags:] - padded[:-lags]) ** 2) / lags)


def student_975(degrees: float) -> float:
    """Return the 97.5 % quantile of Student's t, within 1 % from 2 degrees of freedom on.

    Source: Abramowitz & Stegun, Handbook of Mathematical Functions (1964), 26.7.5.
    """
    z = 1.959964
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1_482 * z**5 - 1_920 * z**3 - 945 * z) / 92_160,
    )
    return z + sum(term / degrees**power for power, term in enumerate(terms, start=1))


def summed_by_tick(tick: NDArray[np.int64], values: Floats, ticks: int) -> Floats:
    """Return the sum of `values` in every tick, float64 (ticks,)."""
    sums = np.zeros(ticks)
    np.add.at(sums, tick, values)
    return sums
