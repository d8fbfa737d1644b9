"""What a policy sees: the features of the table in `hftgym.observation`, and the rolling window behind them."""

import math

from hftgym.market.compile import formula
from hftgym.observation import CLIP_SD

_PER_CLIP = 1.0 / CLIP_SD
# A variance below this share of the mean square is rounding, not movement.
_ROUNDING = 1e-13


@formula
def clip(x):
    """Return x limited to [-1, 1]."""
    x = x if x < 1.0 else 1.0
    return x if x > -1.0 else -1.0


@formula
def mean_std(total, squares, per_n):
    """Return mean and population standard deviation from sums of n and 1 / n; rounding noise counts as 0."""
    mean = total * per_n
    mean_square = squares * per_n
    variance = mean_square - mean * mean
    return mean, (math.sqrt(variance) if variance > _ROUNDING * mean_square else 0.0)


@formula
def slide(total, entering, leaving, full):
    """Return a rolling sum one step on; nothing leaves before the window is full."""
    return total + entering - (leaving if full else 0.0)


@formula
def simple_return(price, before):
    """Return the relative move from `before` to `price`."""
    return price / before - 1.0


@formula
def zscore(x, mean, std):
    """Return the distance from the mean in standard deviations, 0 if there is no deviation."""
    return (x - mean) / std if std > 0.0 else 0.0


@formula
def observe(s, p, last_return, oldest, fill_bid, fill_ask):
    """Return the features in the order of FEATURES, from the state at the end of a tick.

    Args:
        s: State after the tick.
        p: Parameters.
        last_return: Relative move of the mid in this tick.
        oldest: First price of the window; read only when the window is full.
        fill_bid: Units bought in this tick.
        fill_ask: Units sold in this tick.
    """
    full = s.age + 1.0 >= p.window
    mean, std = mean_std(s.sum_x, s.sum_xx, p.per_window)
    _, volatility = mean_std(s.sum_r, s.sum_rr, p.per_returns)
    z = zscore(s.mid - s.anchor, mean, std)
    return (
        s.inventory * p.per_limit,
        1.0 - s.tick * p.per_half_horizon,
        clip(z * _PER_CLIP) if full else 0.0,
        clip(volatility * p.per_volatility - 1.0) if full & (p.per_volatility > 0.0) else 0.0,
        clip(last_return * p.per_volatility * _PER_CLIP),
        clip(simple_return(s.mid, oldest) * p.per_momentum * _PER_CLIP) if full else 0.0,
        clip(fill_bid),
        clip(fill_ask),
    )
