"""The exact recursion against published figures, an enumeration of outcomes, a brute-force search and a simulation."""

import dataclasses
import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hftgym.params import EnvParams
from hftgym.policies.recursion import best_constant, best_linear_skew, solve, value_of, value_table

DEFAULT = EnvParams()


def variant(**changes):
    return dataclasses.replace(DEFAULT, **changes)


def inventories(params):
    return np.arange(-params.inventory_limit, params.inventory_limit + 1)


# Published figures: the default market, chosen by another implementation of this recursion.


def test_default_market():
    assert solve(DEFAULT).optimum == pytest.approx(29.799, abs=5e-4)
    assert best_constant(DEFAULT) == pytest.approx((2.33, 23.632), abs=5.1e-3)
    assert best_constant(DEFAULT)[1] == pytest.approx(23.632, abs=5e-4)
    base, skew, value = best_linear_skew(DEFAULT)
    assert (base, skew) == pytest.approx((2.414, 0.239), abs=2e-3)
    assert value == pytest.approx(29.794, abs=5e-4)


def test_quotes_of_the_default_market():
    solution = solve(DEFAULT)
    published = "0.15 0.44 0.65 0.84 1.05 1.26 1.47 1.70 1.93 2.16 2.40 2.65 2.90 3.16 3.42 3.68 3.96 4.23 4.52 4.92"
    assert solution.bid_offset[0, :-1] == pytest.approx([float(x) for x in published.split()], abs=5.1e-3)
    assert solution.bid_offset[0, -1] == math.inf
    assert solution.bid_offset[990, [6, 10]] == pytest.approx([1.90, 2.37], abs=5.1e-3)
    assert solution.bid_offset[999, [6, 10]] == pytest.approx([2.29, 2.35], abs=5.1e-3)


@pytest.mark.parametrize(
    ("changes", "optimum"),
    [
        ({"maker_fee_bps": 1.0}, 24.919),
        ({"maker_fee_bps": -0.5}, 32.523),
        ({"taker_fee_bps": 0.0}, 29.799),
        ({"taker_fee_bps": 5.0}, 29.799),
        ({"horizon": 200}, 5.974),
        ({"horizon": 500}, 14.908),
        ({"horizon": 2000}, 59.581),
        ({"offset_high": 2.0}, 28.026),
        ({"offset_high": 3.0}, 29.768),
        ({"offset_high": 15.0}, 29.799),
        ({"initial_price": 60_000.0, "initial_cash": 1e6}, 29.799 * 600),
    ],
)
def test_variants_of_the_default_market(changes, optimum):
    params = variant(**changes)
    assert solve(params).optimum == pytest.approx(optimum, abs=5.1e-4 * params.initial_price / 100)


@pytest.mark.parametrize(
    ("phi", "optimum", "ratio", "crosses_from"),
    [
        (2e-5, 30.77, 0.960, None),
        (5e-5, 30.52, 0.936, None),
        (1e-4, 30.22, 0.891, None),
        (2e-4, 29.80, 0.793, None),
        (2.5e-4, 29.63, 0.742, None),
        (4e-4, 29.19, 0.585, 10),
        (5e-4, 28.94, 0.476, 9),
        (1e-3, 27.96, -0.095, 6),
        (5e-3, 23.65, None, 3),
    ],
)
def test_penalties(phi, optimum, ratio, crosses_from):
    params = variant(inventory_penalty=phi / 0.025)
    solution = solve(params)
    assert solution.optimum == pytest.approx(optimum, abs=5.1e-3)
    if ratio is not None:
        assert best_constant(params)[1] / solution.optimum == pytest.approx(ratio, abs=5.1e-4)
    held = inventories(params)
    assert set(held[solution.ask_offset[0] == -1.0]) == set(held[held >= (crosses_from or 11)])
    assert set(held[solution.bid_offset[0] == -1.0]) == set(held[held <= -(crosses_from or 11)])


@pytest.mark.parametrize(
    ("phi", "optimum", "constant"),
    [(0.0, 60.680, 59.840), (0.2, 59.106, 55.335), (1.0, 56.456, 37.793), (5.0, 50.372, 1.571)],
)
def test_cartea_jaimungal_problem(phi, optimum, constant):
    # A = 140, k = 1.5 per currency, T = 1 in 200 steps, Q = 10, offsets of 0 to 3 currency; a half-spread is 1 here.
    params = EnvParams(
        spread=0.02,
        arrival_intensity=140 * 0.005,
        fill_decay=1.5,
        horizon=200,
        inventory_penalty=phi * 0.005,
        taker_fee_bps=1000.0,
        offset_low=0.0,
        offset_high=3.0,
    )
    assert solve(params).optimum == pytest.approx(optimum, abs=5.1e-4)
    assert best_constant(params)[1] == pytest.approx(constant, abs=5.1e-4)


# An independent reference: all outcomes of a tick enumerated, money in currency, prices and fees written out.

TINY = EnvParams(
    horizon=3,
    inventory_limit=2,
    initial_price=50.0,
    spread=0.01,
    arrival_intensity=1.3,
    fill_decay=0.7,
    maker_fee_bps=12.0,
    taker_fee_bps=31.0,
    inventory_penalty=0.3,
)
MARKETS = {
    "poisson": TINY,
    "linear": dataclasses.replace(TINY, fill_model="linear"),
    "rebates": dataclasses.replace(TINY, maker_fee_bps=-20.0, taker_fee_bps=-30.0),
    "heavy penalty": dataclasses.replace(TINY, inventory_penalty=4.0),
    "heavy penalty and rebate": dataclasses.replace(TINY, inventory_penalty=4.0, taker_fee_bps=-60.0),
    "too dear to cross": dataclasses.replace(TINY, inventory_penalty=4.0, taker_fee_bps=1000.0),
}


def probability(params, offset):
    if offset <= -1:
        return 1.0
    intensity = params.arrival_intensity * math.exp(-params.fill_decay * offset)
    return min(1.0, intensity) if params.fill_model == "linear" else 1 - math.exp(-intensity)


def expected(params, after, held, bid, ask):
    """Expected reward to go before a tick, from the values `after` it by inventory; the mid stays where it is."""
    mid, half = params.initial_price, params.half_spread
    total = 0.0
    for bought, sold in itertools.product((0, 1), repeat=2):
        p, cash = 1.0, 0.0
        for side, offset, filled in ((1, bid, bought), (-1, ask, sold)):
            q = probability(params, offset) if abs(held + side) <= params.inventory_limit else 0.0
            p *= q if filled else 1 - q
            if filled and q > 0:
                price = mid + side * half if offset <= -1 else mid - side * offset * half
                fee = (params.taker_fee_bps if offset <= -1 else params.maker_fee_bps) * 1e-4 * price
                cash += -side * price - fee
        now = held + bought - sold
        if p > 0:
            total += p * (cash + (bought - sold) * mid - params.phi * now**2 + after[now])
    return total


def enumerated(params, bid, ask):
    after = dict.fromkeys(inventories(params), 0.0)
    for t in reversed(range(params.horizon)):
        after = {q: expected(params, after, q, bid[t][j], ask[t][j]) for j, q in enumerate(inventories(params))}
    return list(after.values())


@pytest.mark.parametrize("market", MARKETS)
def test_value_is_the_sum_over_all_outcomes(market):
    params = MARKETS[market]
    rng = np.random.default_rng(0)
    for _ in range(20):
        bid, ask = rng.choice([-1.0, 0.3, 2.0, 4.1, np.inf], size=(2, 3, 5))
        assert value_table(params, bid, ask)[0] == pytest.approx(enumerated(params, bid, ask), abs=1e-12)


@pytest.mark.parametrize("market", MARKETS)
def test_optimum_is_what_a_joint_grid_search_finds(market):
    params = MARKETS[market]
    solution = solve(params)
    kink = math.log(params.arrival_intensity) / params.fill_decay  # where linear fills become certain
    grid = [-1.0, math.inf, kink, *np.linspace(-1 + 1e-9, 5.0, 41)]
    after = dict.fromkeys(inventories(params), 0.0)
    for t in reversed(range(params.horizon)):
        pairs = list(itertools.product(grid, repeat=2))
        after = {q: max(expected(params, after, q, *pair) for pair in pairs) for q in after}
        found = np.array(list(after.values()))
        # The grid is 0.15 half-spreads wide: it is never above the optimum, and its loss is of second order.
        assert (found <= solution.value[t] + 1e-12).all()
        assert found == pytest.approx(solution.value[t], abs=3e-3 * params.half_spread * (params.horizon - t))


# Identities


@pytest.mark.parametrize("market", [DEFAULT, variant(inventory_penalty=0.2), *MARKETS.values()])
def test_the_solutions_own_quotes_are_worth_the_optimum(market):
    solution = solve(market)
    table = value_table(market, solution.bid_offset, solution.ask_offset)
    assert table == pytest.approx(solution.value, abs=1e-9)
    assert value_of(market, solution.bid_offset, solution.ask_offset) == pytest.approx(solution.optimum, abs=1e-9)


QUOTE = st.one_of(st.just(-1.0), st.just(math.inf), st.floats(-1.0, 5.0))
RANDOM_MARKET = st.builds(
    EnvParams,
    horizon=st.just(4),
    inventory_limit=st.just(2),
    fill_model=st.sampled_from(["poisson", "linear"]),
    arrival_intensity=st.floats(0.0, 50.0),
    fill_decay=st.floats(0.05, 5.0),
    inventory_penalty=st.floats(0.0, 5.0),
    maker_fee_bps=st.floats(-3.0, 3.0),
    taker_fee_bps=st.floats(-6.0, 3.0),
)


# Without inventory, before the last tick, there are three pairs of mutual best answers: no quotes, quotes at 2.9 (the
# best pair, which neither no ask nor a sure one leads to), and crossing on both sides.
BETWEEN = variant(
    horizon=4,
    inventory_limit=2,
    spread=0.01,
    arrival_intensity=1.5,
    fill_decay=0.175,
    inventory_penalty=4.6,
    taker_fee_bps=-52.0,
    offset_high=2.9,
)
# Crossing on both sides is best by a little, and only an ask that is sure to fill leads there.
SURE = variant(
    horizon=4,
    inventory_limit=2,
    arrival_intensity=7.0,
    fill_decay=0.93,
    inventory_penalty=25.0,
    taker_fee_bps=-3.0,
    offset_high=2.3,
)


@settings(deadline=None)
@example(params=BETWEEN, quotes=[2.9] * 40)
@example(params=SURE, quotes=[-1.0] * 40)
@given(params=RANDOM_MARKET, quotes=st.lists(QUOTE, min_size=40, max_size=40))
def test_no_quotes_are_worth_more_than_the_optimum(params, quotes):
    bid, ask = np.array(quotes).reshape(2, 4, 5)
    solution = solve(params)
    best = solution.value / params.half_spread
    assert (value_table(params, bid, ask) / params.half_spread <= best + 1e-9 * (1 + abs(best))).all()


@pytest.mark.parametrize("low", [-1.0, 0.5])
def test_a_quote_that_rests_is_inside_the_range(low):
    # Both sides want nothing more than to be rid of the inventory, and crossing costs too much.
    params = variant(inventory_penalty=5.0, taker_fee_bps=1000.0, offset_low=low, horizon=3)
    solution = solve(params)
    for offsets in (solution.bid_offset, solution.ask_offset):
        resting = offsets[np.isfinite(offsets)]
        assert resting.min() == pytest.approx(low)
        assert resting.min() > -1.0
        assert resting.max() <= params.offset_high
    assert best_constant(params)[0] >= low


@pytest.mark.parametrize("penalty", [0.008, 0.2])
def test_bid_and_ask_mirror_each_other_without_fees(penalty):
    solution = solve(variant(inventory_penalty=penalty, taker_fee_bps=0.0, horizon=200))
    assert solution.value == pytest.approx(solution.value[:, ::-1], abs=1e-9)
    assert solution.bid_offset == pytest.approx(solution.ask_offset[:, ::-1], abs=1e-6)


def test_a_stationary_table_is_the_same_table_in_every_tick():
    params = variant(horizon=50)
    bid = np.linspace(1.0, 4.0, 21)
    every = np.tile(bid, (50, 1))
    assert np.array_equal(value_table(params, bid, every[:, ::-1]), value_table(params, every, bid[::-1]))


def test_nobody_trades_without_market_orders():
    params = variant(arrival_intensity=0.0, horizon=5)
    solution = solve(params)
    assert solution.optimum == 0.0
    assert np.isinf(solution.bid_offset[:, 10]).all()


def test_a_solution_is_read_only():
    with pytest.raises(ValueError, match="read-only"):
        solve(TINY).value[0, 0] = 1.0


# Refusals


def test_a_market_feature_that_is_not_covered_is_refused_by_name():
    @dataclass(frozen=True, kw_only=True)
    class Slow(EnvParams):
        delay: int = 0

    assert solve(Slow(horizon=5)).optimum == solve(variant(horizon=5)).optimum
    with pytest.raises(ValueError, match="the exact recursion does not cover delay: it must be 0, got 2"):
        solve(Slow(delay=2))


def test_a_table_too_large_for_memory_is_refused():
    with pytest.raises(ValueError, match=r"must be at most 5000000 .*horizon=10000000, inventory_limit=10"):
        solve(variant(horizon=10_000_000))


def test_tables_of_another_shape_or_with_nan_are_refused():
    with pytest.raises(ValueError, match=r"ask_offset must have the shape \(5,\) or \(3, 5\), got \(4,\)"):
        value_of(TINY, np.ones(5), np.ones(4))
    with pytest.raises(ValueError, match=r"bid_offset must hold offsets in half-spreads .* got a NaN"):
        value_of(TINY, np.full(5, np.nan), np.ones(5))
