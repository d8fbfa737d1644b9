"""Round trips, first in first out, and the two ways in which a rule of mean reversion fails."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hftgym.backtest.result import Fills
from hftgym.backtest.statistics import Floats, max_drawdown

Int64s = NDArray[np.int64]

PINNED = 0.95
"""From this share of the inventory limit on, a position is at the limit: partial fills may leave it a crumb short."""

# Sizes are sums of decimals: two fills that meet within this share of all units meet exactly.
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RoundTrips:
    """Units bought and sold again (or sold and bought back); columns of equal length m, in the order of time.

    Attributes:
        opened: int64 (m,), index of the fill that opened it.
        closed: int64 (m,), index of the fill that closed it.
        open_tick: int64 (m,).
        close_tick: int64 (m,).
        side: int8 (m,), +1 bought first, -1 sold first.
        size: float64 (m,), units.
        fees: float64 (m,), of both fills, in proportion to the size.
        pnl: float64 (m,), quote currency, after fees.
    """

    opened: Int64s
    closed: Int64s
    open_tick: Int64s
    close_tick: Int64s
    side: NDArray[np.int8]
    size: Floats
    fees: Floats
    pnl: Floats

    def __len__(self) -> int:
        return len(self.size)

    @property
    def ticks(self) -> Int64s:
        """How long each was held."""
        return self.close_tick - self.open_tick


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrendFailures:
    """Drawdowns while the position was at its limit; columns of equal length m, in the order of time.

    Attributes:
        start: int64 (m,), row at which the position had reached the limit.
        end: int64 (m,), last row at the limit.
        side: int8 (m,), +1 at the long limit, -1 at the short one.
        loss: float64 (m,), deepest fall of the equity between the two, quote currency (> 0).
    """

    start: Int64s
    end: Int64s
    side: NDArray[np.int8]
    loss: Floats

    def __len__(self) -> int:
        return len(self.start)


def round_trips(fills: Fills) -> RoundTrips:
    """Match fills first in first out, from a position of zero.

    The u-th unit bought always belongs to the u-th unit sold, whichever came first: so the trips are the pieces into
    which both sequences cut the units. A fill that several others close becomes several trips.
    """
    bought, sold = np.flatnonzero(fills.side > 0), np.flatnonzero(fills.side < 0)
    up_to = [np.cumsum(fills.size[side]) for side in (bought, sold)]
    matched = min(float(ends[-1]) if len(ends) else 0.0 for ends in up_to)
    ends = np.unique(np.concatenate(up_to))
    ends = ends[ends <= matched * (1 + _ROUNDING)]
    size = np.diff(ends, prepend=0.0)
    ends, size = (column[size > _ROUNDING * matched] for column in (ends, size))
    middle = ends - 0.5 * size
    buy, sell = (side[np.searchsorted(e, middle)] for side, e in zip((bought, sold), up_to, strict=True))
    opened, closed = np.minimum(buy, sell), np.maximum(buy, sell)
    per_unit = fills.fee / fills.size
    fees = size * (per_unit[buy] + per_unit[sell])
    return RoundTrips(
        opened=opened,
        closed=closed,
        open_tick=fills.tick[opened],
        close_tick=fills.tick[closed],
        side=np.where(buy < sell, 1, -1).astype(np.int8),
        size=size,
        fees=fees,
        pnl=size * (fills.price[sell] - fills.price[buy]) - fees,
    )


def open_pnl(fills: Fills, trips: RoundTrips, mid: float) -> float:
    """Return the profit of what no trip has closed, marked at a mid, after its share of fees: quote currency.

    With the sum over all trips it is the PnL of the whole path.
    """
    left = fills.size - sum(np.bincount(ends, trips.size, len(fills)) for ends in (trips.opened, trips.closed))
    return float((left * (fills.side * (mid - fills.price) - fills.fee / fills.size)).sum())


def whipsaws(
    trips: RoundTrips, half_spread: Floats, *, ticks: int = 10, losing: tuple[float, float] = (0.5, 2.0)
) -> NDArray[np.bool_]:
    """Return which round trips are whipsaws, bool (m,): closed within a few ticks, at a loss of about what it cost.

    The price went nowhere and the costs of going in and out were lost. The costs are the spread when it was opened
    and the fees of both fills: with no fees, a loss of about the spread.

    Args:
        trips: Round trips.
        half_spread: (n + 1,), quote currency.
        ticks: Held for at most so many ticks.
        losing: What "about" means: at least and at most so many times the costs.
    """
    costs = 2.0 * half_spread[trips.open_tick] * trips.size + trips.fees
    least, most = losing
    return (trips.ticks <= ticks) & (costs > 0) & (-trips.pnl >= least * costs) & (-trips.pnl <= most * costs)


def at_limit(inventory: Floats, limit: float) -> NDArray[np.int8]:
    """Return +1 where the position is at its long limit, -1 at the short one and 0 elsewhere: int8 (n + 1,)."""
    return (np.sign(inventory) * (np.abs(inventory) >= PINNED * limit)).astype(np.int8)


def trend_failures(
    inventory: Floats, equity: Floats, mid: Floats, *, limit: float, gap: int = 10, window: int = 50
) -> TrendFailures:
    """Return the stretches at the inventory limit in which the price ran on against the position.

    A stretch goes on if the position leaves the limit for at most `gap` ticks. It counts if the equity falls in it by
    more than the limit times the standard deviation of the price over `window` ticks: more than the noise of the
    rule's own window would take.

    Args:
        inventory: (n + 1,), units.
        equity: (n + 1,), quote currency.
        mid: (n + 1,), quote currency.
        limit: The largest position, units.
        gap: Ticks.
        window: Ticks.
    """
    pinned = at_limit(inventory, limit)
    rows = np.flatnonzero(pinned)
    new = np.ones(len(rows), dtype=bool)
    new[1:] = (np.diff(rows) > gap + 1) | (np.diff(pinned[rows]) != 0)
    first = rows[new]
    last = rows[np.append(np.flatnonzero(new)[1:] - 1, len(rows) - 1)] if len(rows) else rows
    falls = [max_drawdown(equity[a : b + 1]).value for a, b in zip(first, last, strict=True)]
    loss = np.array(falls, dtype=np.float64)
    noise = math.sqrt(window * float(np.mean((np.diff(mid) / mid[:-1]) ** 2))) * mid[first] * limit
    failed = (loss > noise) & (loss > 0)
    return TrendFailures(start=first[failed], end=last[failed], side=pinned[first[failed]], loss=loss[failed])
