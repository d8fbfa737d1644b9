"""The demonstration measures what it says, and its picture is drawn."""

import dataclasses
import io

import pytest
from matplotlib.image import imread
from rich.console import Console

from hftgym import EnvParams, plots
from hftgym.evaluation import exact
from hftgym.policies import FixedSpreadPolicy, OptimalPolicy, recursion
from scripts import retrain_demo
from scripts.retrain_demo import AFTER, BEFORE, shares
from scripts.retrain_picture import Bar, draw

SMALL = EnvParams(horizon=60, window=12)


def test_shares_of_what_is_known_exactly():
    offset, value = recursion.best_constant(SMALL)
    found = shares({"best": OptimalPolicy(SMALL), "constant": FixedSpreadPolicy(offset, params=SMALL)}, SMALL)
    truth = exact(SMALL)
    best, constant = found["best"], found["constant"]
    assert (best.share, best.gap) == pytest.approx((1.0, 1.0))
    assert best.se == pytest.approx(0.0, abs=1e-9)
    assert best.j_optimal == truth.optimum
    assert constant.constant == pytest.approx(value / truth.optimum)
    assert abs(constant.share - constant.constant) < 4 * constant.se
    assert abs(constant.gap) < 4 * constant.gap_se


def test_only_what_is_not_scaled_away_changes_the_optimums_share():
    # Volatility and spread alone change nothing: an agent sees and does the same in their units.
    scaled = dataclasses.replace(BEFORE, volatility=AFTER.volatility, spread=AFTER.spread)
    half_spreads = [exact(params).optimum / params.half_spread for params in (BEFORE, scaled, AFTER)]
    assert half_spreads[1] == pytest.approx(half_spreads[0], rel=1e-3)
    assert half_spreads[2] < 0.5 * half_spreads[0]


def test_the_picture_is_drawn(tmp_path):
    bars = [
        Bar(group=group, agent=agent, share=share, se=0.01, constant=0.5)
        for group, agent, share in (("A", "old", 1.0), ("A", "new", 0.7), ("B", "old", -0.2), ("B", "new", 0.99))
    ]
    path = plots.save(draw(bars, {"one change": bars[1]}, caption="a test"), tmp_path / "picture.png")
    assert imread(path).shape[:2] == (840, 1800)


@pytest.mark.slow
def test_the_demonstration_runs_and_may_be_repeated(tmp_path, monkeypatch):
    monkeypatch.setattr(retrain_demo, "_EPISODES", 100)
    for _ in range(2):
        console = Console(file=io.StringIO(), width=100)
        assert retrain_demo.demonstrate(out=tmp_path, timesteps=65_536, console=console) == 0
    text = console.file.getvalue()
    for word in ("Week 1", "volatility × 3", "retrained in market B", "z = ", "regime_change.png"):
        assert word in text
    assert "…" not in text
    assert (tmp_path / "regime_change.png").exists()
