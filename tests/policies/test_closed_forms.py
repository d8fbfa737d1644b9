"""The closed forms (Cartea & Jaimungal; Guéant, Lehalle & Fernandez-Tapia) against published and exact values."""

import dataclasses
import math

import numpy as np
import pytest

from hftgym import PRESETS
from hftgym.observation import FEATURE_NAMES, N_FEATURES
from hftgym.params import EnvParams
from hftgym.policies import CarteaJaimungalPolicy, GLFTPolicy
from hftgym.policies.base import WITHDRAW, quote_of_action
from hftgym.policies.recursion import quotes_of, solve, value_of

DEFAULT = EnvParams()
POLICIES = {"cartea-jaimungal": CarteaJaimungalPolicy, "glft": GLFTPolicy}


def paper(phi, *, fee=0.0, steps=200):
    """A = 140, k = 1.5 and sigma = 2 per currency, T = 1, Q = 10, offsets of 0 to 3; a half-spread is 1 here."""
    return EnvParams(
        spread=0.02,
        price_model="arithmetic",
        volatility=0.02 / math.sqrt(steps),
        microstructure_noise=0.0,
        arrival_intensity=140 / steps,
        fill_decay=1.5,
        horizon=steps,
        inventory_penalty=phi / steps,
        maker_fee_bps=100 * fee,
        taker_fee_bps=1000.0,
        offset_low=0.0,
        offset_high=3.0,
    )


def variant(**changes):
    return dataclasses.replace(DEFAULT, **changes)


def worth(policy):
    return value_of(policy.params, *quotes_of(policy, policy.params))


def offsets(policy, *, inventory=0.0, time_left=1.0):
    """Bid and ask offsets that a policy asks for, inventory in limits."""
    observation = np.zeros(N_FEATURES, dtype=np.float32)
    observation[FEATURE_NAMES.index("inventory")] = inventory
    observation[FEATURE_NAMES.index("time_left")] = time_left
    return quote_of_action(policy.predict(observation)[0], policy.params)


# Published figures


@pytest.mark.parametrize(
    ("phi", "fee", "continuous", "in_ticks"),
    [
        (0.0, 0.0, 68.132, 60.272),
        (0.2, 0.0, 66.289, 58.750),
        (1.0, 0.0, 63.107, 56.188),
        (5.0, 0.0, 56.124, 50.229),
        (1.0, 0.1, 53.966, 48.837),
    ],
)
def test_cartea_jaimungal_values(phi, fee, continuous, in_ticks):
    policy = CarteaJaimungalPolicy(paper(phi, fee=fee))
    # 56.12448 and 48.83646: one unit of the last digit is allowed.
    assert policy.value(0, 0) == pytest.approx(continuous, abs=1e-3)
    assert worth(policy) == pytest.approx(in_ticks, abs=1e-3)


@pytest.mark.parametrize(
    ("phi", "fee", "value"), [(0.2, 0.0, 58.470), (1.0, 0.0, 54.839), (5.0, 0.0, 44.342), (1.0, 0.1, 45.156)]
)
def test_glft_values(phi, fee, value):
    policy = GLFTPolicy(paper(phi, fee=fee))
    assert policy.risk_aversion == pytest.approx(phi / 2)  # 2 phi / sigma^2
    assert worth(policy) == pytest.approx(value, abs=5.1e-4)


def test_values_in_the_default_market():
    assert worth(CarteaJaimungalPolicy()) == pytest.approx(29.475, abs=5.1e-4)
    assert CarteaJaimungalPolicy().value(0, 0) == pytest.approx(34.900, abs=5.1e-4)
    assert worth(GLFTPolicy()) == pytest.approx(29.467, abs=5.1e-4)


# Cartea-Jaimungal: the equation it solves


def hjb(params, terminal_penalty, *, steps_per_tick):
    """h(0, .) in half-spreads, by Runge-Kutta on the Hamilton-Jacobi-Bellman equation itself, backwards in time.

    dh/dt = phi q^2 - sum over both sides of max over d of A exp(-k d) (d - f + h(q +/- 1) - h(q)).
    """
    k, limit = params.fill_decay, params.inventory_limit
    fee = params.maker_fee_bps * 1e-4 * params.initial_price / params.half_spread
    squares = np.arange(-limit, limit + 1.0) ** 2

    def rate(h):
        step = np.diff(h)
        gains = np.zeros(len(h))
        for where, moved in ((slice(None, -1), step), (slice(1, None), -step)):
            d = 1 / k + fee - moved
            gains[where] += params.arrival_intensity * np.exp(-k * d) * (d - fee + moved)
        return gains - params.inventory_penalty * squares

    h, dt = -terminal_penalty * squares, 1 / steps_per_tick
    for _ in range(params.horizon * steps_per_tick):
        a = rate(h)
        b = rate(h + dt / 2 * a)
        c = rate(h + dt / 2 * b)
        h = h + dt / 6 * (a + 2 * b + 2 * c + rate(h + dt * c))
    return h


@pytest.mark.parametrize(
    ("changes", "terminal_penalty"),
    [
        ({}, 0.0),
        ({"maker_fee_bps": 1.3}, 0.05),
        ({"maker_fee_bps": -0.5, "inventory_limit": 3}, 0.4),
        ({"inventory_limit": 50}, 0.0),  # where eigenvectors give the logarithm of a negative number
        ({"inventory_penalty": 0.3}, 0.0),
    ],
)
def test_h_solves_the_equation(changes, terminal_penalty):
    params = variant(horizon=40, **changes)
    h = CarteaJaimungalPolicy(params, terminal_penalty=terminal_penalty).h[0] / params.half_spread
    assert h == pytest.approx(hjb(params, terminal_penalty, steps_per_tick=100), rel=1e-6, abs=1e-6)


def test_h_is_the_textbook_formula():
    params = paper(1.0)
    squares = np.arange(-10, 11.0) ** 2
    beside = np.full(20, 0.7 / math.e)
    B = np.diag(-0.0075 * squares) + np.diag(beside, 1) + np.diag(beside, -1)
    values, vectors = np.linalg.eigh(B)
    for t in (0, 100, 199, 200):
        w = vectors @ (np.exp(values * (200 - t)) * vectors.sum(axis=0))
        assert CarteaJaimungalPolicy(params).h[t] == pytest.approx(np.log(w) / 1.5, abs=1e-9)


def test_h_begins_at_the_end_with_the_terminal_penalty():
    policy = CarteaJaimungalPolicy(variant(horizon=10), terminal_penalty=2.0)
    assert [policy.value(10, q) for q in (-3, 0, 10)] == pytest.approx([-18 * 0.025, 0.0, -200 * 0.025])


def test_a_terminal_penalty_skews_the_last_quotes():
    free, charged = (CarteaJaimungalPolicy(terminal_penalty=alpha) for alpha in (0.0, 0.5))
    # At the last tick q = 2 is worth about 0.5 (9 - 4) half-spreads more than q = 3, and 0.5 (4 - 1) less than q = 1.
    last = 1 - 2 * 999 / 1000
    before, after = (offsets(policy, inventory=0.2, time_left=last) for policy in (free, charged))
    assert after[0] - before[0] > 1.0
    assert after[1] - before[1] < -0.5
    assert offsets(free, inventory=0.2) == pytest.approx(offsets(charged, inventory=0.2), abs=1e-3)


# Cartea-Jaimungal: towards the optimum in ticks


def test_the_closed_form_becomes_the_optimum_as_ticks_shrink():
    gaps = []
    for steps in (200, 2_000, 20_000):
        params = paper(1.0, steps=steps)
        gaps.append(solve(params).optimum - worth(CarteaJaimungalPolicy(params)))
    assert gaps == pytest.approx([0.26770, 0.00324, 0.00004], abs=1e-5)


def test_the_quotes_become_the_best_ones_in_proportion_to_the_tick():
    apart = []
    for steps in (200, 2_000, 20_000):
        # Without limits on the offsets, which the closed form does not know of.
        params = dataclasses.replace(paper(1.0, steps=steps), offset_low=-1.0, offset_high=9.0)
        bid, _ = quotes_of(CarteaJaimungalPolicy(params), params)
        apart.append(np.abs(bid[:, 5:16] - solve(params).bid_offset[:, 5:16]).max())
    assert apart[0] < 0.2
    assert apart[0] > 8 * apart[1] > 64 * apart[2]


def test_no_market_in_ticks_is_worth_more_than_h():
    for params in (DEFAULT, paper(1.0), paper(5.0, steps=2_000)):
        assert solve(params).optimum < CarteaJaimungalPolicy(params).value(0, 0)


# Both


@pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("fee", [0.0, 1.0])
def test_bid_and_ask_mirror_each_other(make, fee):
    params = variant(maker_fee_bps=fee, horizon=100)
    bid, ask = quotes_of(make(params), params)
    assert bid == pytest.approx(ask[:, ::-1], abs=1e-6)


@pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES)
def test_inventory_moves_both_quotes_against_itself(make):
    bid, ask = quotes_of(make(), DEFAULT)
    assert (np.diff(bid[:, :-1], axis=1) >= 0).all()
    assert (np.diff(ask[:, 1:], axis=1) <= 0).all()
    assert bid[0, 15] > bid[0, 10] > bid[0, 5]


@pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES)
def test_a_batch_is_its_single_observations(make):
    observations = np.random.default_rng(0).uniform(-1, 1, (200, N_FEATURES)).astype(np.float32)
    policy = make(variant(horizon=20, inventory_limit=3))
    batch, _ = policy.predict(observations)
    assert batch.dtype == np.float32
    assert np.array_equal(batch, np.stack([policy.predict(one)[0] for one in observations]))
    assert policy.predict(observations[:0])[0].shape == (0, 2)


@pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES)
def test_offsets_are_limited_to_the_range(make):
    policy = make(variant(offset_low=1.9, offset_high=2.1))
    bid, ask = offsets(policy, inventory=0.5)
    assert (bid, ask) == (pytest.approx(2.1, abs=1e-6), pytest.approx(1.9, abs=1e-6))


@pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES)
def test_value_is_in_proportion_to_the_price(make):
    dear = variant(initial_price=60_000.0, initial_cash=1e6)
    assert worth(make(dear)) == pytest.approx(600 * worth(make()), rel=1e-6)


@pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize(
    "changes",
    [
        {"volatility": 0.0},
        {"volatility": 1e-170},
        {"volatility": 1e-155},
        {"inventory_penalty": 0.0},
        {"inventory_penalty": 1e9},
        {"arrival_intensity": 0.0},
        {"arrival_intensity": 1e6},
        {"fill_decay": 1e-6},
        {"fill_decay": 1e6},
        {"maker_fee_bps": 1000.0},
        {"fill_model": "linear", "inventory_limit": 1, "horizon": 1},
    ],
)
def test_no_market_is_too_odd_to_quote_in(make, changes):
    params = variant(**changes)
    observations = np.random.default_rng(0).uniform(-1, 1, (50, N_FEATURES)).astype(np.float32)
    observations[:, 0] = np.linspace(-1, 1, 50)
    assert np.isfinite(make(params).predict(observations)[0]).all()


def test_cartea_jaimungal_withdraws_at_the_limit():
    actions = CarteaJaimungalPolicy().predict(np.eye(N_FEATURES, dtype=np.float32)[[0]] * [[1.0], [-1.0]])[0]
    assert actions[0, 0] == actions[1, 1] == WITHDRAW
    assert (actions[[0, 1], [1, 0]] < WITHDRAW).all()


def test_cartea_jaimungal_quotes_past_the_end_as_in_the_last_tick():
    policy = CarteaJaimungalPolicy(variant(horizon=30))
    assert np.array_equal(offsets(policy, time_left=-1.0), offsets(policy, time_left=1 - 2 * 29 / 30))


def test_glft_is_the_papers_formula():
    gamma, k, sigma, A = 0.1, 1.5, 2.0, 140.0
    policy = GLFTPolicy(paper(1.0), risk_aversion=gamma)
    skew = math.sqrt(sigma**2 * gamma / (2 * k * A) * (1 + gamma / k) ** (1 + k / gamma))
    base = math.log(1 + gamma / k) / gamma
    for q in (-2, 0, 3):
        expected = base + (2 * q + 1) / 2 * skew, base - (2 * q - 1) / 2 * skew
        assert offsets(policy, inventory=q / 10, time_left=0.3) == pytest.approx(expected, abs=1e-6)


def test_glft_without_risk_is_risk_neutral():
    for params in (variant(volatility=0.0), variant(inventory_penalty=0.0)):
        policy = GLFTPolicy(params)
        assert (policy.base, policy.skew) == pytest.approx((2.0, 0.0), abs=0.01)  # 1 / kappa


# Refusals


@pytest.mark.parametrize("gamma", [0.0, -1.0, math.nan, math.inf, "1", True])
def test_a_risk_aversion_that_is_not_positive_is_refused(gamma):
    with pytest.raises(ValueError, match=r"risk_aversion must be a finite number greater than 0 .*got "):
        GLFTPolicy(risk_aversion=gamma)


@pytest.mark.parametrize("alpha", [-0.1, math.nan, math.inf, "0"])
def test_a_terminal_penalty_below_zero_is_refused(alpha):
    with pytest.raises(ValueError, match=r"terminal_penalty must be a finite number of at least 0 .*got "):
        CarteaJaimungalPolicy(terminal_penalty=alpha)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inventory_limit": 501}, r"inventory_limit must be at most 500 for the closed form, got 501"),
        ({"horizon": 10_000_000}, r"must be at most 20000000 for .*horizon=10000000, inventory_limit=10"),
        ({"inventory_limit": 200}, r"inventory_limit must be smaller for the closed form, .*inventory_limit=200"),
        ({"maker_fee_bps": -1000.0}, r"inventory_limit must be smaller for the closed form"),
    ],
)
def test_a_market_beyond_float64_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        CarteaJaimungalPolicy(variant(**changes))


@pytest.mark.parametrize(("t", "q"), [(-1, 0), (1001, 0), (0, 11), (0, -11), (0.5, 0), (0, True)])
def test_a_value_outside_the_table_is_refused(t, q):
    with pytest.raises(ValueError, match=r"must be an integer from (0 to 1000|-10 to 10), got"):
        CarteaJaimungalPolicy().value(t, q)


def test_the_table_is_read_only():
    with pytest.raises(ValueError, match="read-only"):
        CarteaJaimungalPolicy().h[0, 0] = 1.0


def test_the_terminal_penalty_is_the_markets_unless_another_is_given():
    market = dataclasses.replace(PRESETS["cartea-jaimungal"], terminal_penalty=0.3)
    told = CarteaJaimungalPolicy(PRESETS["cartea-jaimungal"], terminal_penalty=0.3)
    np.testing.assert_array_equal(CarteaJaimungalPolicy(market).h, told.h)
