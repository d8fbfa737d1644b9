"""What each rule does, and what it refuses."""

import dataclasses
import math

import numpy as np
import pytest

from hftgym.observation import FEATURE_NAMES, N_FEATURES
from hftgym.params import EnvParams
from hftgym.policies import (
    AvellanedaStoikovPolicy,
    FixedSpreadPolicy,
    LinearSkewPolicy,
    OptimalPolicy,
    RandomPolicy,
    ZScorePolicy,
)
from hftgym.policies.avellaneda_stoikov import best_risk_aversion
from hftgym.policies.base import CROSS, WITHDRAW, quote_of_action
from hftgym.policies.recursion import quotes_of, value_of

DEFAULT = EnvParams()


def observation(**features):
    values = np.zeros(N_FEATURES, dtype=np.float32)
    for name, value in features.items():
        values[FEATURE_NAMES.index(name)] = value
    return values


def offsets(policy, *, inventory=0.0, time_left=1.0):
    """Bid and ask offsets that a policy asks for, inventory in limits."""
    action, _ = policy.predict(observation(inventory=inventory, time_left=time_left))
    return quote_of_action(action, policy.params)


# z-score


@pytest.mark.parametrize(
    ("z", "inventory", "action"),
    [
        (-1.6, 0.0, (CROSS, WITHDRAW)),
        (1.6, 0.0, (WITHDRAW, CROSS)),
        (-1.4, 0.0, (WITHDRAW, WITHDRAW)),
        (1.4, 0.0, (WITHDRAW, WITHDRAW)),
        (0.0, 0.9, (WITHDRAW, WITHDRAW)),
        (-5.0, 0.9, (CROSS, WITHDRAW)),
        (-5.0, 1.0, (WITHDRAW, WITHDRAW)),
        (5.0, -1.0, (WITHDRAW, WITHDRAW)),
        (5.0, 1.0, (WITHDRAW, CROSS)),
    ],
)
def test_zscore_takes_against_the_deviation_and_within_the_limit(z, inventory, action):
    got, _ = ZScorePolicy().predict(observation(zscore=z / 5, inventory=inventory))
    assert tuple(got) == action


def test_zscore_threshold_is_the_entry():
    assert ZScorePolicy(entry=4.9).predict(observation(zscore=1.0))[0][1] == CROSS
    assert ZScorePolicy(entry=2.0).predict(observation(zscore=1.9 / 5))[0][1] == WITHDRAW


@pytest.mark.parametrize("entry", [0.0, -1.0, 5.0, math.nan, math.inf, "1.5", None, True])
def test_zscore_entry_beyond_what_the_feature_shows_is_refused(entry):
    with pytest.raises(ValueError, match=r"entry must be a number greater than 0 and below 5, .* got "):
        ZScorePolicy(entry=entry)


# fixed spread, linear skew, random


def test_fixed_spread_ignores_the_state():
    policy = FixedSpreadPolicy(1.5)
    assert offsets(policy, inventory=-0.7, time_left=0.2) == pytest.approx([1.5, 1.5], abs=1e-6)


def test_linear_skew_moves_both_quotes_by_the_inventory():
    policy = LinearSkewPolicy(2.0, 0.25)
    assert offsets(policy, inventory=0.4) == pytest.approx([3.0, 1.0], abs=1e-6)
    # Limited to the offset range, without crossing or withdrawing.
    bid, ask = offsets(LinearSkewPolicy(2.0, 1.0), inventory=1.0)
    assert 4.99 < bid < math.inf
    assert -1.0 < ask < -0.99


@pytest.mark.parametrize("offset", [-1.01, 5.01, math.nan, "2"])
def test_an_offset_outside_the_range_is_refused(offset):
    with pytest.raises(ValueError, match=r"offset must be a number from offset_low = -1 to offset_high = 5 .*got "):
        FixedSpreadPolicy(offset)
    with pytest.raises(ValueError, match="base must be a number from offset_low"):
        LinearSkewPolicy(offset)


def test_a_skew_that_adds_to_the_inventory_is_refused():
    with pytest.raises(ValueError, match=r"skew must be a finite number of at least 0, got -0\.1"):
        LinearSkewPolicy(2.0, -0.1)


def test_random_is_uniform_and_repeats_with_its_seed():
    observations = np.zeros((20_000, N_FEATURES), dtype=np.float32)
    actions, _ = RandomPolicy(seed=1).predict(observations)
    assert np.array_equal(actions, RandomPolicy(seed=1).predict(observations)[0])
    assert not np.array_equal(actions, RandomPolicy(seed=2).predict(observations)[0])
    # 40,000 draws of variance 1/3: four standard errors are 0.012.
    assert abs(actions.mean()) < 0.012
    assert actions.var() == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.parametrize("seed", [-1, 1.5, None, True])
def test_a_seed_that_is_no_count_is_refused(seed):
    with pytest.raises(ValueError, match="seed must be an integer of at least 0, got"):
        RandomPolicy(seed=seed)


# Avellaneda-Stoikov

# The paper's section 3.3: s = 100, T = 1, sigma = 2, dt = 0.005, k = 1.5, A = 140; here a half-spread is 1 currency.
PAPER = EnvParams(
    spread=0.02,
    price_model="arithmetic",
    volatility=2 * math.sqrt(0.005) / 100,
    microstructure_noise=0.0,
    arrival_intensity=0.7,
    fill_decay=1.5,
    horizon=200,
    offset_high=20.0,
)


@pytest.mark.parametrize(("gamma", "spread"), [(0.1, 1.29), (0.01, 1.33), (0.5, 1.15)])
def test_avellaneda_stoikov_spreads_are_those_of_the_papers_tables(gamma, spread):
    bid, ask = offsets(AvellanedaStoikovPolicy(PAPER, risk_aversion=gamma, time_term=False))
    assert bid + ask == pytest.approx(spread, abs=0.005)
    bid, ask = offsets(AvellanedaStoikovPolicy(PAPER, risk_aversion=gamma))
    # gamma sigma^2 (T - t) with sigma = 2 and T - t = 1
    assert bid + ask == pytest.approx(2 / gamma * math.log(1 + gamma / 1.5) + 4 * gamma, abs=1e-5)


def test_avellaneda_stoikov_quotes_around_the_reservation_price():
    policy = AvellanedaStoikovPolicy(PAPER, risk_aversion=0.1)
    bid, ask = offsets(policy, inventory=0.2, time_left=0.0)
    # mid of the quotes: r - s = -q gamma sigma^2 (T - t) = -2 * 0.1 * 4 * 0.5
    assert (ask - bid) / 2 == pytest.approx(-0.4, abs=1e-5)
    bid, ask = offsets(policy, inventory=0.2, time_left=-1.0)
    assert bid == pytest.approx(ask, abs=1e-5)


@pytest.mark.parametrize(("time_term", "gamma", "best"), [(True, 3.73e-4, 29.081), (False, 2.93e-4, 28.728)])
def test_avellaneda_stoikov_default_is_the_best_risk_aversion_of_the_default_market(time_term, gamma, best):
    policy = AvellanedaStoikovPolicy(time_term=time_term)
    exact = value_of(DEFAULT, *quotes_of(policy, DEFAULT))
    assert policy.risk_aversion == pytest.approx(gamma, abs=0.005e-4)
    assert exact == pytest.approx(best, abs=5e-4)
    assert exact == pytest.approx(best_risk_aversion(DEFAULT, time_term=time_term)[1], abs=1e-5)


def test_avellaneda_stoikov_default_is_as_good_at_every_price_and_volatility():
    for change in ({"initial_price": 60_000.0, "initial_cash": 1e6}, {"volatility": 2e-4}):
        params = dataclasses.replace(DEFAULT, **change)
        value = value_of(params, *quotes_of(AvellanedaStoikovPolicy(params), params))
        assert value / params.half_spread == pytest.approx(29.081 / DEFAULT.half_spread, rel=2e-4)


def test_avellaneda_stoikov_without_volatility_is_risk_neutral():
    policy = AvellanedaStoikovPolicy(EnvParams(volatility=0.0))
    assert offsets(policy, inventory=1.0) == pytest.approx([2.0, 2.0], abs=1e-5)  # 1 / kappa
    with pytest.raises(ValueError, match="volatility must be greater than 0"):
        best_risk_aversion(EnvParams(volatility=0.0))


@pytest.mark.parametrize("gamma", [0.0, -1.0, math.nan, math.inf])
def test_a_risk_aversion_that_is_not_positive_is_refused(gamma):
    with pytest.raises(ValueError, match="risk_aversion must be a finite number greater than 0"):
        AvellanedaStoikovPolicy(risk_aversion=gamma)


# optimal


def test_optimal_plays_its_solution():
    params = EnvParams(horizon=30, inventory_limit=4, inventory_penalty=0.5)
    policy = OptimalPolicy(params)
    bid, ask = quotes_of(policy, params)
    assert bid == pytest.approx(policy.solution.bid_offset, abs=1e-6)
    assert ask == pytest.approx(policy.solution.ask_offset, abs=1e-6)
    # The market has states in which the optimum crosses, quotes and withdraws.
    assert {-1.0, math.inf} < set(bid.ravel())
    assert value_of(params, bid, ask) == pytest.approx(policy.optimum, abs=1e-9)


def test_optimal_quotes_past_the_end_as_in_the_last_tick():
    policy = OptimalPolicy(EnvParams(horizon=30))
    assert np.array_equal(offsets(policy, time_left=-1.0), offsets(policy, time_left=1 - 2 * 29 / 30))


def test_deviation_sizing_trades_twice_the_zscore_in_units():
    market = EnvParams(sized_actions=True, order_size=8.0)
    observations = np.zeros((5, N_FEATURES), dtype=np.float32)
    observations[:, FEATURE_NAMES.index("zscore")] = np.array([-1.6, 1.8, 2.6, 4.9, 0.2]) / 5
    actions, _ = ZScorePolicy(sizing="deviation", params=market).predict(observations)
    units = (actions[:, 2] + 1) / 2 * market.order_size
    np.testing.assert_allclose(units[:4], [3, 3, 5, 8], atol=1e-5)
    assert (actions[:, :2] == ZScorePolicy().predict(observations)[0]).all()
    with pytest.raises(ValueError, match="needs a market with sized_actions"):
        ZScorePolicy(sizing="deviation")
    with pytest.raises(ValueError, match="sizing must be unit or deviation, got 'kelly'"):
        ZScorePolicy(sizing="kelly")  # pyright: ignore[reportArgumentType]


def test_policies_that_look_at_the_price_have_no_exact_value():
    with pytest.raises(ValueError, match="ZScorePolicy must look at inventory and time alone"):
        quotes_of(ZScorePolicy())
