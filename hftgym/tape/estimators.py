"""What is estimated from the ticks of a tape: plain arrays in, a value and its standard error out."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

BLOCKS = 50  # parts that are left out in turn, for standard errors
NOISE_LAGS = 5  # ticks over which the noise of the recorded price may last


class Estimate(NamedTuple):
    """A value and its standard error; the error is NaN where there is too little to tell."""

    value: float
    error: float


def jackknife(sums: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> tuple[Estimate, ...]:
    """Return functions of sums over a time series, with standard errors from leaving blocks of it out.

    The block jackknife (Kuensch, "The jackknife and the bootstrap for general stationary observations", 1989) needs no
    law of the series: clusters of orders or of volatility widen the errors as they should, while they are shorter than
    a block.

    Args:
        sums: float64 (blocks, k), the sums over every block.
        statistic: From sums over many blocks, float64 (..., k), to the estimates, float64 (..., m).
    """
    total, count = sums.sum(axis=0), len(sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        values, parts = statistic(total), statistic(total - sums)
        errors = np.sqrt((count - 1) / count * ((parts - parts.mean(axis=0)) ** 2).sum(axis=0))
    return tuple(Estimate(float(v), float(e)) for v, e in zip(values, errors, strict=True))


def block_of(ticks: int) -> np.ndarray:
    """Return the block that every tick belongs to, int64 (ticks,): blocks of equal length, as many as are useful."""
    return np.arange(ticks) * min(BLOCKS, ticks) // ticks


def volatility(moves: np.ndarray) -> tuple[Estimate, Estimate]:
    """Return the volatility per tick and the variance of the transient noise as a share of the volatility's square.

    A recorded price is the price that matters plus what is gone some ticks later: bounces between bid and ask, the
    grid, quotes that come late. It adds to the variance of the moves and takes as much away through their
    autocovariances, which the realised kernel adds back with weights that fall to zero: here the flat-top Bartlett
    kernel over `NOISE_LAGS` lags (Barndorff-Nielsen, Hansen, Lunde & Shephard, "Designing realized kernels to measure
    the ex post variation of equity prices in the presence of noise", 2008), which behaves as the two-scale estimator of
    Zhang, Mykland & Ait-Sahalia (2005). Without noise its variance is 5.4 times that of the mean square.

    Args:
        moves: float64 (n,), relative moves of the mid from tick to tick.
    """
    lags = min(NOISE_LAGS, len(moves) - 1)
    block, products = block_of(len(moves)), [moves * moves]
    products += [np.concatenate([np.zeros(h), moves[h:] * moves[:-h]]) for h in range(1, lags + 1)]
    sums = np.stack([np.bincount(block, weights=p) for p in (*products, np.ones(len(moves)))], axis=1)
    weights = np.concatenate([[1.0], 2.0 * (1.0 - np.arange(lags) / max(lags, 1))])

    def statistic(s: np.ndarray) -> np.ndarray:
        variance = s[..., :-1] @ weights
        noise = (s[..., 0] - variance) / 2.0
        return np.stack([np.sqrt(np.maximum(variance, 0.0) / s[..., -1]), noise / variance], axis=-1)

    found = jackknife(sums, statistic)
    return found[0], found[1]


def order_flow(
    tick: np.ndarray, beyond: np.ndarray, *, ticks: int, grid: float, furthest: float
) -> tuple[Estimate, Estimate]:
    """Return the intensity A per tick and side, and its decay kappa per half-spread, by maximum likelihood.

    A market order that comes to the best price, one half-spread from the mid, goes x half-spreads beyond it with
    P(X > x) = exp(-kappa x). What lies beyond `furthest` counts as "further than that" (a censored observation): no
    quote stands there, and the few orders that sweep the book would otherwise decide the decay where quotes do stand.
    On a price grid an order that trades k steps beyond the best price would have gone less than k + 1 steps: with S
    steps survived and E orders that ended, kappa = ln(1 + E / S) / step, or E / sum of distances without a grid. The
    number of orders, A exp(-kappa) per tick and side in the mean, is independent of their distances.

    Args:
        tick: int64 (n,), the tick of every market order, of both sides.
        beyond: float64 (n,), how far it went past the best price, half-spreads.
        ticks: Ticks in all.
        grid: Step of the price grid in half-spreads, 0 for none.
        furthest: Half-spreads beyond the best price up to which distances are told apart; with a grid, so many steps.
    """
    survived, ended = np.minimum(beyond, furthest), (beyond < furthest * (1.0 - 1e-9)).astype(np.float64)
    block = block_of(ticks)
    columns = [np.bincount(block[tick], weights=w, minlength=block[-1] + 1) for w in (survived, ended)]
    orders = np.bincount(block[tick], minlength=block[-1] + 1)
    sums = np.stack([*columns, orders, np.bincount(block)], axis=1).astype(np.float64)

    def statistic(s: np.ndarray) -> np.ndarray:
        decay = s[..., 1] / s[..., 0] if grid == 0 else np.log1p(grid * s[..., 1] / s[..., 0]) / grid
        return np.stack([s[..., 2] / (2.0 * s[..., 3]) * np.exp(decay), decay], axis=-1)

    found = jackknife(sums, statistic)
    return found[0], found[1]


def median(values: np.ndarray) -> Estimate:
    """Return the median of a time series, float64 (n,), and its block jackknife error."""
    block = block_of(len(values))
    parts = np.array([np.median(values[block != b]) for b in range(block[-1] + 1)]) if block[-1] else np.full(1, np.nan)
    # Shifted by one of them, equal medians have the error 0 and not what rounding their mean leaves.
    parts -= parts[0]
    spread = np.sqrt((len(parts) - 1) / len(parts) * ((parts - parts.mean()) ** 2).sum())
    return Estimate(float(np.median(values)), float(spread))


class Reversion(NamedTuple):
    """The pull of the price to a level: the share of the distance per tick, the level, and its Dickey-Fuller ratio."""

    rate: Estimate
    level: float
    ratio: float


# Below, a random walk is rejected at 1 % (Dickey & Fuller 1979, with a constant, many observations).
UNIT_ROOT = -3.43


def mean_reversion(mid: np.ndarray) -> Reversion:
    """Return the pull of the mid, float64 (n + 1,), to a level.

    Regression of the move on the price before it, with the price one tick earlier as its instrument: noise of the
    recorded price makes a random walk look as if it came back, but does not reach two ticks far (Hall, "Testing for a
    unit root in the presence of moving average errors", 1989). The error allows for moves of changing size and for
    that noise (White 1980, one autocovariance); the bias of order 1/n (Kendall 1954) is taken off the rate, not off the
    ratio, for which Dickey and Fuller's table is made.
    """
    level = float(mid.mean())
    moves, before, instrument = np.diff(mid)[1:], mid[1:-1] - level, mid[:-2] - level
    instrument = instrument - instrument.mean()
    scale = float(instrument @ before)
    if scale <= 0:
        return Reversion(Estimate(0.0, np.nan), level, 0.0)
    rate = -float(instrument @ moves) / scale
    residuals = moves + rate * before
    scores = instrument * (residuals - residuals.mean())
    variance = float(scores @ scores)
    with_noise = variance + 2.0 * float(scores[1:] @ scores[:-1])
    error = np.sqrt(with_noise if with_noise > 0.1 * variance else variance) / scale
    ratio = -rate / error if error > 0 else 0.0
    return Reversion(Estimate(rate - (4.0 - 3.0 * rate) / len(moves), float(error)), level, float(ratio))
