"""The bars: how fast a decision is, and how near the optimum a quarter of a minute of training gets."""

import pytest

from hftgym import PRESETS, EnvParams
from hftgym.policies import FixedSpreadPolicy, OptimalPolicy
from hftgym.policies.recursion import best_constant, unseen
from scripts.benchmarks.alpha import Share, alpha_figure, share_of
from scripts.benchmarks.decision import ACT, PREDICT, decision_latency, speedup
from scripts.benchmarks.learning import ppo_fraction, value_of


def test_the_file_decides_ten_times_faster_than_the_model(model_zip, exported):
    times = decision_latency(model_zip, exported, calls=2_000)
    assert speedup(times, PREDICT) >= 10
    assert times[ACT].percentile(50) < 50_000


def test_values_are_those_of_the_exact_recursion():
    params = EnvParams(horizon=200)
    offset, exact = best_constant(params)
    value, error = value_of(FixedSpreadPolicy(offset, params=params), params)
    assert abs(value - exact) < 4 * error
    assert value_of(OptimalPolicy(params), params) == (OptimalPolicy(params).optimum, 0.0)


@pytest.mark.slow
def test_fifteen_cpu_seconds_go_nine_tenths_of_the_way_to_the_optimum():
    assert ppo_fraction(cpu_seconds=15.0, seed=0).fraction >= 0.9


@pytest.mark.slow
def test_the_optimum_has_all_of_its_gain_and_a_blind_policy_none():
    """A share of 0 is the best quote that ignores returns: the other market's optimum, played where returns predict."""
    best = OptimalPolicy(PRESETS["alpha"])
    assert share_of(best, episodes=50) == Share(share=1.0, standard_error=0.0, value=best.optimum)
    blind = share_of(OptimalPolicy(unseen(PRESETS["alpha"])), episodes=4_000)
    assert abs(blind.share) < 4 * blind.standard_error < 0.2


@pytest.mark.slow
def test_averages_of_returns_are_worth_four_fifths_of_the_gain_after_half_a_minute():
    assert alpha_figure("alpha_ppo", cpu_seconds=30.0, seed=0, bar=0.8).reached
