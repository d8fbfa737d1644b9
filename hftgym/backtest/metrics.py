"""The figures of a backtest, and where on the path its failures lie."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hftgym.backtest.markouts import Markouts, markouts
from hftgym.backtest.record import Record
from hftgym.backtest.result import REASONS
from hftgym.backtest.statistics import Drawdown, Interval, Sharpe, max_drawdown, sharpe, sum_with_interval
from hftgym.backtest.trips import RoundTrips, TrendFailures, at_limit, round_trips, trend_failures, whipsaws


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Metrics:
    """What a path was worth, and how it came about. Money in quote currency, everything else per tick or in units.

    PnL = spread captured + price moves - fees, exactly.

    Attributes:
        ticks: Length of the path.
        pnl: Change of the equity, with its 95 % interval.
        before_fees: The same without fees.
        total_return: PnL over the equity at the start.
        sharpe: At the frequency of the ticks, never annualised.
        drawdown: The deepest fall, with its rows.
        turnover: Value traded, both sides.
        fees: Paid; negative if rebates were larger.
        spread_captured: Sum of side * (mid just before the fill - price) * size: negative for a taker.
        price_moves: What the inventory earned on the mid.
        units: Units filled, (bought, sold).
        fill_ratio: Units filled over units posted, (bid, ask); NaN where nothing was posted.
        fills: Number of fills.
        reasons: Reason -> number of fills.
        markouts: Profit per unit some ticks after the fill.
        inventory_rms: Root mean square of the inventory after each tick.
        at_limit: Share of the ticks after which the inventory was at its limit.
        trips: Round trips, first in first out.
        whipsaws: bool (m,), which of them are whipsaws.
        trend_failures: Drawdowns at the inventory limit.
    """

    ticks: int
    pnl: Interval
    before_fees: Interval
    total_return: float
    sharpe: Sharpe
    drawdown: Drawdown
    turnover: float
    fees: float
    spread_captured: float
    price_moves: float
    units: tuple[float, float]
    fill_ratio: tuple[float, float]
    fills: int
    reasons: dict[str, int]
    markouts: Markouts
    inventory_rms: float
    at_limit: float
    trips: RoundTrips
    whipsaws: NDArray[np.bool_]
    trend_failures: TrendFailures

    def row(self) -> dict[str, float]:
        """Return the figures as one flat row; names as the attributes, lost to failures as positive numbers."""
        figures: dict[str, float] = {
            "ticks": self.ticks,
            "pnl": self.pnl.value,
            "pnl_low": self.pnl.low,
            "pnl_high": self.pnl.high,
            "before_fees": self.before_fees.value,
            "before_fees_low": self.before_fees.low,
            "before_fees_high": self.before_fees.high,
            "total_return": self.total_return,
            "sharpe_per_tick": self.sharpe.ratio,
            "sharpe_se": self.sharpe.se,
            "sharpe_se_lagged": self.sharpe.se_lagged,
            "drawdown": self.drawdown.value,
            "drawdown_start": self.drawdown.start,
            "drawdown_end": self.drawdown.end,
            "turnover": self.turnover,
            "fees": self.fees,
            "spread_captured": self.spread_captured,
            "price_moves": self.price_moves,
            "bought": self.units[0],
            "sold": self.units[1],
            "fill_ratio_bid": self.fill_ratio[0],
            "fill_ratio_ask": self.fill_ratio[1],
            "fills": self.fills,
            **{f"fills_{reason}": count for reason, count in self.reasons.items()},
            "inventory_rms": self.inventory_rms,
            "at_limit": self.at_limit,
            "round_trips": len(self.trips),
            "whipsaws": int(self.whipsaws.sum()),
            "whipsaw_loss": float(np.abs(self.trips.pnl[self.whipsaws]).sum()),
            "trend_failures": len(self.trend_failures),
            "trend_failure_loss": float(self.trend_failures.loss.sum()),
        }
        after = self.markouts
        for i, ticks in enumerate(after.ticks):
            figures[f"markout_{ticks}"] = float(after.value[i])
            figures[f"markout_{ticks}_se"] = float(after.value_se[i])
            figures[f"markout_{ticks}_half_spreads"] = float(after.half_spreads[i])
            figures[f"markout_{ticks}_half_spreads_se"] = float(after.half_spreads_se[i])
        return figures


def measure(record: Record) -> Metrics:
    """Return the figures of a path. What a whipsaw and a trend failure are is said in `hftgym.backtest.trips`."""
    fills, pnl, fees = record.fills, np.diff(record.equity), record.fees
    spread = float((fills.side * (fills.mid - fills.price) * fills.size).sum())
    bought, sold = (float(fills.size[fills.side == side].sum()) for side in (1, -1))
    trips = round_trips(fills)
    total = sum_with_interval(pnl)
    paid = float(fees.sum())
    return Metrics(
        ticks=record.ticks,
        pnl=total,
        before_fees=sum_with_interval(pnl + fees),
        total_return=total.value / float(record.equity[0]) if record.equity[0] else math.nan,
        sharpe=sharpe(pnl),
        drawdown=max_drawdown(record.equity),
        turnover=float((fills.price * fills.size).sum()),
        fees=paid,
        spread_captured=spread,
        price_moves=total.value + paid - spread,
        units=(bought, sold),
        fill_ratio=(_ratio(bought, record.quoted_bid), _ratio(sold, record.quoted_ask)),
        fills=len(fills),
        reasons=dict(zip(REASONS, np.bincount(fills.reason, minlength=len(REASONS)).tolist(), strict=True)),
        markouts=markouts(fills, record.mid, record.half_spread),
        inventory_rms=float(np.sqrt(np.mean(record.inventory[1:] ** 2))),
        at_limit=float(np.mean(at_limit(record.inventory[1:], record.inventory_limit) != 0)),
        trips=trips,
        whipsaws=whipsaws(trips, record.half_spread),
        trend_failures=trend_failures(record.inventory, record.equity, record.mid, limit=record.inventory_limit),
    )


def difference(record: Record, baseline: Record) -> Interval:
    """Return the PnL of a path less that of another one over the same ticks, tick by tick, with its 95 % interval.

    What moves both paths drops out. A path that ruin has ended earns nothing from there on.
    """
    profits = np.zeros((2, max(record.ticks, baseline.ticks)))
    for row, one in zip(profits, (record, baseline), strict=True):
        row[: one.ticks] = np.diff(one.equity)
    return sum_with_interval(profits[0] - profits[1])


def _ratio(filled: float, posted: float) -> float:
    return filled / posted if posted > 0 else math.nan
