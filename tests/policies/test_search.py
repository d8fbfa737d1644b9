"""The search for the best of a family of quotes."""

import dataclasses

import numpy as np
import pytest

from hftgym import EnvParams
from hftgym.policies import OptimalPolicy, recursion
from hftgym.policies.avellaneda_stoikov import best_risk_aversion
from hftgym.policies.search import maximise

# Fills die off within a fifth of a half-spread: the hump of a constant quote is narrower than a coarse grid.
STEEP = EnvParams(
    fill_model="linear",
    arrival_intensity=2.0,
    fill_decay=5.0,
    inventory_penalty=2.0,
    inventory_limit=3,
    horizon=100,
)


def test_the_higher_of_two_humps_is_found_beside_a_wide_low_one():
    def humps(x):
        return np.exp(-((x - 3.0) ** 2)) + 1.5 * np.exp(-40.0 * (x + 2.03) ** 2)

    (x,), top = maximise(humps, [(-10.0, 10.0)], points=41)
    assert x == pytest.approx(-2.03, abs=1e-4)
    assert top == pytest.approx(1.5, abs=1e-6)


def test_a_start_beyond_the_grid_counts():
    (x, y), _ = maximise(
        lambda x, y: -abs(x - 0.77) - abs(y) if abs(x - 0.77) < 0.01 else -9.0,
        [(0.0, 1.0), (0.0, 1.0)],
        points=3,
        also=[(0.771, 0.0)],
    )
    assert (x, y) == pytest.approx((0.77, 0.0), abs=1e-5)


def test_a_linear_skew_is_never_worse_than_a_constant_quote():
    constant = recursion.best_constant(STEEP)[1]
    assert constant - 1e-9 <= recursion.best_linear_skew(STEEP)[2] <= OptimalPolicy(STEEP).optimum


def test_a_wider_range_of_offsets_changes_no_best_constant():
    wide = dataclasses.replace(EnvParams(), offset_high=3_000.0)
    assert recursion.best_constant(wide) == pytest.approx(recursion.best_constant(), abs=1e-6)


def test_a_dear_inventory_has_a_large_best_risk_aversion():
    gamma, j = best_risk_aversion(EnvParams(inventory_penalty=5.0, arrival_intensity=3.0))
    assert gamma == pytest.approx(1.31, abs=0.02)
    assert j == pytest.approx(0.193, abs=0.001)
