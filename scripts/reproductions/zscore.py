"""What the z-score rule loses on a geometric Brownian motion: the half-spread, and nothing else."""

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


def sections(paths: int, seed: int) -> Iterator[Section]:
    """Yield what the rule earns per unit traded."""
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
    yield Section(title=f"z-score rule on GBM, fees off: {episodes:,} episodes of {TICKS:,} ticks", rows=rows)
