"""The figures of backtests as people read them: pairs beside a picture, tables, and one honest sentence per policy."""

import math
from collections.abc import Mapping

from hftgym.backtest.metrics import Metrics
from hftgym.backtest.statistics import Interval
from hftgym.tables import number, plus_minus


def figures(metrics: Metrics) -> list[tuple[str, str]]:
    """Return (name, value) of what one path was worth, in the order of importance."""
    trips, failed, after = metrics.trips, metrics.trend_failures, metrics.markouts
    whipsawed = -float(trips.pnl[metrics.whipsaws].sum())
    return [
        ("PnL, ± 95 %", interval_text(metrics.pnl)),
        ("before fees", interval_text(metrics.before_fees)),
        ("spread captured", number(metrics.spread_captured)),
        ("price moves", number(metrics.price_moves)),
        ("fees", number(metrics.fees)),
        ("return", f"{number(100 * metrics.total_return, 3)} %"),
        ("Sharpe/tick, ± s.e.", _with_error(metrics.sharpe.ratio, metrics.sharpe.se_lagged, 4)),
        ("drawdown", number(metrics.drawdown.value)),
        ("turnover", number(metrics.turnover, 0)),
        ("bought, sold (units)", ", ".join(number(units) for units in metrics.units)),
        ("filled of posted", ", ".join(_percent(share) for share in metrics.fill_ratio)),
        ("RMS inventory", number(metrics.inventory_rms)),
        ("round trips", f"{len(trips):,}"),
        ("whipsaws, lost", f"{int(metrics.whipsaws.sum()):,}, {number(whipsawed)}"),
        ("trend failures, lost", f"{len(failed):,}, {number(float(failed.loss.sum()))}"),
        *(
            (f"markout, {ticks:,} tick{'' if ticks == 1 else 's'}", _with_error(value, 1.96 * error, 2))
            for ticks, value, error in zip(after.ticks, after.half_spreads, after.half_spreads_se, strict=True)
        ),
    ]


def cells(
    metrics: Mapping[str, Metrics], less: Mapping[str, Mapping[str, Interval]] | None = None
) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of text: one row per figure, one column per policy.

    Args:
        metrics: Name -> figures.
        less: Baseline -> name -> paired difference of the PnL: a row each, below the PnL.
    """
    columns = [figures(one) for one in metrics.values()]
    rows = [[row[0][0], *(value for _, value in row)] for row in zip(*columns, strict=True)]
    pairs = [
        [f"less {baseline}", *(interval_text(found[name]) if name in found else "-" for name in metrics)]
        for baseline, found in (less or {}).items()
    ]
    return ["", *metrics], [rows[0], *pairs, *rows[1:]]


LEGEND = (
    "Money in quote currency. PnL = spread captured + price moves - fees; ± is half the 95 % interval, from 20 equal "
    "stretches of the tape. Less z-score: the PnL minus that of the rule, tick by tick on the same tape, with the "
    "interval of the difference. Sharpe: mean over standard deviation of the PnL per tick, not annualised. Markout: "
    "profit per unit so many ticks after the fill, in half-spreads of the market; what it loses against 0 ticks is "
    "adverse selection; without ± there are too few fills, or fewer than 20 such times in the tape, to tell how sure "
    "it is. Whipsaws: round trips of at most 10 ticks that lost 0.5 to 2 times their costs. Trend "
    "failures: drawdowns at the inventory limit beyond the noise of 50 ticks."
)


def verdict(metrics: Metrics) -> str:
    """Return what the path shows, in one sentence that promises nothing."""
    if not metrics.fills:
        return "It never traded."
    if math.isnan(metrics.pnl.low):
        return f"PnL {number(metrics.pnl.value)} in {metrics.ticks} ticks: too short to judge."
    after, before = metrics.pnl, metrics.before_fees
    if after.low > 0:
        ending = "a gain on this tape, which is no evidence for any other"
    elif after.high >= 0:
        ending = "no evidence of profit"
    elif before.high < 0:
        ending = "a loss, even before fees"
    elif before.low > 0:
        ending = "fees took more than it earned"
    else:
        ending = "a loss to fees, and no evidence of profit without them"
    return f"PnL {interval_text(after)} after fees, {interval_text(before)} before: {ending}."


def interval_text(found: Interval) -> str:
    """Return a value with half its interval, or alone where there is none."""
    return number(found.value) if math.isnan(found.low) else plus_minus(found.value, found.low, found.high)


def _with_error(value: float, error: float, digits: int) -> str:
    """Return a value with what follows its ±, without either where it is not known."""
    if math.isnan(value):
        return "-"
    return number(value, digits) + ("" if math.isnan(error) else f" ±{number(error, digits)}")


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"
