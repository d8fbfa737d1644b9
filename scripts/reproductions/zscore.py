"""What the z-score rule loses on a geometric Brownian motion: the half-spread, and nothing else."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from hftgym import EnvParams
from hftgym.policies import ZScorePolicy
from hftgym.progress import slow_bar
from hftgym.rollout import rollout
from scripts.reproductions.figures import SURE, Row, Section, Target

# Found by other code, 20,000 paths with orders of int(2 |z|) units: -2.44 +/- 0.08 bp per unit.
_OTHER, _OTHER_ERROR = -2.444, 0.077
TICKS = 5_000
# At volatility 0.002 and a half-spread of 2.5 bp, interpolated from a finer grid.
_BREAK_EVEN = 0.00094
_REVERTING = EnvParams(
    horizon=TICKS,
    taker_fee_bps=0.0,
    price_model="arithmetic",
    microstructure_noise=0.0,
    sized_actions=True,
    order_size=10.0,
)


def sections(paths: int, seed: int) -> Iterator[Section]:
    """Yield what the rule earns per unit on a random walk, and how much mean reversion it needs."""
    yield _random_walk(paths, seed)
    yield _break_even(paths, seed)


def _break_even(paths: int, seed: int) -> Section:
    """Find the pull at which the rule earns nothing, from a line through profits on both sides of it."""
    episodes = max(paths // 20, 20)
    pulls = np.array([0.0005, 0.0015])
    earned = []
    with slow_bar(len(pulls)) as bar:
        for pull in pulls:
            params = dataclasses.replace(_REVERTING, mean_reversion=float(pull))
            policy = ZScorePolicy(sizing="deviation", params=params)
            on_tick = bar.part(f"pull {pull:g}")
            figures = rollout(policy, episodes=episodes, seed=seed, params=params, on_tick=on_tick).figures
            earned.append(1e4 * figures.pnl / figures.turnover.mean())
    below, above = (float(profit.mean()) for profit in earned)
    slope = (above - below) / (pulls[1] - pulls[0])
    noise = np.hypot(*(float(profit.std()) / np.sqrt(episodes) for profit in earned)) / 2
    ours, error = float(pulls[0] - below / slope), float(noise / slope)
    # The profit is not quite linear in the pull: a tenth of the target for that.
    target = Target(value=_BREAK_EVEN, band=SURE * error + 0.1 * _BREAK_EVEN, digits=5)
    row = Row(quantity="pull per tick at no profit", ours=ours, error=error, digits=5, targets={"other code": target})
    return Section(title=f"z-score rule on a mean-reverting price: 2 x {episodes:,} episodes", rows=[row])


def _random_walk(paths: int, seed: int) -> Section:
    episodes = max(paths // 5, 2)
    params = EnvParams(horizon=TICKS, taker_fee_bps=0.0)
    with slow_bar(1) as bar:
        figures = rollout(
            ZScorePolicy(), episodes=episodes, seed=seed, params=params, on_tick=bar.part("z-score")
        ).figures
    half_spread_bp = 1e4 * params.spread / 2
    parts = {"spread paid": figures.spread_capture, "price moves": figures.inventory_pnl, "profit": figures.pnl}
    expected = {"spread paid": -half_spread_bp, "price moves": 0.0, "profit": -half_spread_bp}
    rows: list[Row] = []
    for name, earned in parts.items():
        ratio = earned.sum() / figures.turnover.sum()
        # Of a ratio of two sums: what each episode's numerator is off, in units of the mean denominator.
        error = float(np.std(earned - ratio * figures.turnover) / np.sqrt(episodes) / figures.turnover.mean())
        targets = {"law": Target(value=expected[name], band=SURE * 1e4 * error + 1e-6, digits=1)}
        if name == "profit":
            band = SURE * float(np.hypot(_OTHER_ERROR, 1e4 * error))
            targets["other code"] = Target(value=_OTHER, band=band, digits=2)
        rows.append(Row(quantity=f"{name}, bp per unit", ours=1e4 * float(ratio), error=1e4 * error, targets=targets))
    rows.append(Row(quantity="units traded per episode", ours=float(figures.fills.mean()), digits=1))
    return Section(title=f"z-score rule on GBM, fees off: {episodes:,} episodes of {TICKS:,} ticks", rows=rows)
