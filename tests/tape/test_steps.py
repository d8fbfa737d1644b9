import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hftgym.tape.steps import Grid, Steps, step_of

RNG = np.random.default_rng(0)


@given(
    decimals=st.integers(0, 8),
    divisor=st.sampled_from([1, 2, 5, 25, 3]),
    whole=st.lists(st.integers(1, 10**6), min_size=30, max_size=30, unique=True),
    cuts=st.lists(st.integers(0, 30), max_size=3),
)
def test_the_step_is_the_greatest_common_divisor_of_the_decimals_however_they_arrive(decimals, divisor, whole, cuts):
    values = np.array([k * divisor / 10**decimals for k in whole])
    grid = Grid()
    for piece in np.split(values, sorted(cuts)):
        grid.add(piece)
    assert grid.step == math.gcd(*whole) * divisor / 10**decimals
    assert grid.step == step_of([values])


@pytest.mark.parametrize("step", [0.1, 0.01, 0.5, 0.25, 1e-8, 1.0, 1000.0])
def test_the_grids_of_venues_are_found(step):
    exact = Fraction(repr(step))
    assert step_of([np.array([float(k * exact) for k in range(50_000, 50_100)])]) == step


def test_a_product_of_decimals_lies_on_its_grid_within_rounding():
    prices = np.arange(617_000, 619_000) / 10 * 0.001
    assert any(price != round(price * 1e4) / 1e4 for price in prices.tolist())
    assert step_of([prices]) == 1e-4


@pytest.mark.parametrize("n", [1, 2, 3, 1_000])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 61_800.0])
def test_values_off_any_grid_have_no_step(n, scale):
    assert step_of([scale * np.exp(RNG.normal(0, 0.1, n))]) is None
    assert step_of([np.append(scale * np.exp(RNG.normal(0, 0.1, n)), np.arange(1, 100) / 8)]) is None


@pytest.mark.parametrize(
    ("values", "step"), [([61800.3], 0.1), ([100.0], 1.0), ([3000.0, 6000.0], 1.0), ([0.25], 0.01)]
)
def test_few_values_give_their_decimals_and_no_common_divisor(values, step):
    assert step_of([np.array(values)]) == step


def test_without_a_value_there_is_no_step():
    assert Grid().step is None
    assert step_of([np.empty(0)]) is None


def test_once_off_the_grid_stays_off():
    grid = Grid()
    for values in ([0.1, 0.2], [math.pi], [0.3] * 100):
        grid.add(np.array(values))
    assert grid.step is None


def test_very_large_values_before_very_small_ones():
    grid = Grid()
    for values in (np.array([2.0**40]), np.arange(1, 50) / 1e10):
        grid.add(values)
    assert grid.step == 1e-10


def test_steps_in_units_of_coins_stay_decimals():
    assert Steps(price=0.1, size=0.001).in_units_of(0.001) == Steps(price=0.0001, size=1.0)
    assert Steps(price=0.7, size=0.3).in_units_of(0.1) == Steps(price=0.07, size=3.0)
    assert Steps(price=None, size=None).in_units_of(5) == Steps(price=None, size=None)


@pytest.mark.parametrize("step", [0.0, -0.1, math.nan, math.inf])
def test_a_step_must_be_positive(step):
    with pytest.raises(ValueError, match=r"Steps\.price must be finite and above 0"):
        Steps(price=step, size=None)
