"""Forecasters as traders, beside the z-score rule: on the same simulated episodes, or on the later half of a tape."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import polars as pl

from agents.forecasters.feeds import Feed
from agents.forecasters.models import Constant, Forecaster
from hftgym.backtest import backtest
from hftgym.evaluation import compare, evaluate
from hftgym.policies import Policy, SignalPolicy, ZScorePolicy
from hftgym.tape.measure import tick_times
from hftgym.tape.types import Quotes, Tape, Trades

BASELINE = "z-score"


def traders(fitted: Mapping[str, Forecaster], *, entry: float) -> dict[str, Policy]:
    """Return the z-score rule, and a `SignalPolicy` for every forecaster that looks at the market."""
    signals = {name: SignalPolicy(one, entry) for name, one in fitted.items() if not isinstance(one, Constant)}
    return {BASELINE: ZScorePolicy(), **signals}


def trade(fitted: Mapping[str, Forecaster], feed: Feed, *, entry: float, episodes: int, seed: int = 0) -> pl.DataFrame:
    """Trade forecasters in the market that their feed was simulated in, on episodes with equal seeds.

    Args:
        fitted: Name -> trained forecaster of windows of moves.
        feed: Where they come from.
        entry: Probability beyond which they trade.
        episodes: Episodes of `feed.params.horizon` ticks, at least 2.
        seed: Of the first episode; none that the feed was made of.

    Returns:
        One row per policy: policy, episodes, pnl and pnl_error (mean and standard error per episode), fills, fees,
        gain and gain_error (the paired difference to the z-score rule).
    """
    table = evaluate(traders(fitted, entry=entry), episodes=episodes, seed=seed, params=feed.params)
    error = pl.col("pnl").std() / pl.len().sqrt()
    rows = table.group_by("policy", maintain_order=True).agg(
        pl.len().alias("episodes"), pl.col("pnl").mean(), error.alias("pnl_error"), pl.col("fills", "fees").mean()
    )
    pairs = compare(table, BASELINE, figures=("pnl",)).select("policy", gain="difference", gain_error="se")
    return rows.join(pairs, on="policy", how="left", maintain_order="left")


def trade_tape(fitted: Mapping[str, Forecaster], feed: Feed, tape: Tape, *, entry: float) -> pl.DataFrame:
    """Trade forecasters on the half of a tape that they were not trained on; the columns are `trade`'s.

    One path has no standard error: `pnl_error` and `gain_error` are null.
    """
    later = later_half(tape, tick_s=feed.params.tick_s)
    rows = []
    for name, policy in traders(fitted, entry=entry).items():
        path = backtest(policy, later, feed.params)
        fills = float(np.count_nonzero(path.fill_bid) + np.count_nonzero(path.fill_ask))
        rows.append({"policy": name, "episodes": 1, "pnl": path.summary()["pnl"], "fills": fills})
        rows[-1] |= {"fees": path.summary()["fees"], "gain": rows[-1]["pnl"] - rows[0]["pnl"]}
    nothing = pl.lit(None, pl.Float64)
    return pl.DataFrame(rows).with_columns(nothing.alias("pnl_error"), nothing.alias("gain_error"))


def later_half(tape: Tape, *, tick_s: float) -> Tape:
    """Return the quotes and trades from the first tick that `walk_forward` tests on, and the quote that held then."""
    times = tick_times(tape, tick_s)
    start = times[(len(times) - 1) // 2]
    received = np.maximum.accumulate(tape.quotes.local_ns)
    held = max(int(np.searchsorted(received, start, side="right")) - 1, 0)
    quotes = {field.name: getattr(tape.quotes, field.name)[held:] for field in dataclasses.fields(Quotes)}
    after = np.maximum.accumulate(tape.trades.local_ns) >= start
    trades = {field.name: getattr(tape.trades, field.name)[after] for field in dataclasses.fields(Trades)}
    return dataclasses.replace(tape, quotes=Quotes(**quotes), trades=Trades(**trades))
