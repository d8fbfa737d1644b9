"""The replay against its slow twin, and worked examples of the queue."""

import dataclasses
import math

import numpy as np
import pytest

from hftgym.backtest import REASONS, backtest
from hftgym.params import EnvParams
from tests.reference.replayed import ReplayTwin
from tests.tapes import START_NS, on_grid, random_tape, rows_of, tape_of

MS = 1_000_000
PARAMS = EnvParams(
    tick_s=0.1,
    horizon=190,
    spread=0.001,
    volatility=1e-3,
    inventory_limit=2,
    maker_fee_bps=1.0,
    taker_fee_bps=5.0,
    initial_cash=1e6,
)


class Played:
    """Plays given actions."""

    def __init__(self, actions):
        self.actions = iter(actions)

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return next(self.actions), state


def decided(action, tape, time, params, step):
    """The absolute (bid, ask, size) that an action means at a time, on the grid; None withdraws."""
    row = np.flatnonzero(tape.quotes.local_ns <= time)[-1]
    bid, ask = tape.quotes.bid[row], tape.quotes.ask[row]
    mid, half = (bid + ask) / 2, max((ask - bid) / 2, step / 2)
    prices = []
    for side, a in ((1, action[0]), (-1, action[1])):
        offset = params.offset_low + (a + 1) / 2 * (params.offset_high - params.offset_low)
        steps = side * math.floor(side * (mid - side * offset * half) / step + 1e-6)
        prices.append(None if a == 1 else side * 1e9 if a == -1 else on_grid(steps, step))
    return (*prices, params.order_size)


@pytest.mark.parametrize("latency_s", [0.0, 0.004, 0.1, 0.237])
@pytest.mark.parametrize("seed", range(6))
def test_the_replay_is_its_slow_twin(seed, latency_s):
    tape, ticks, step = random_tape(seed), 190, 0.1
    rng = np.random.default_rng(seed)
    # Whole half-spreads from the mid, so that quotes stand at the touch, inside, behind, cross and withdraw; held for
    # some ticks, so that they get somewhere in their queues.
    choices = rng.choice([-1.0, -2 / 3, -1 / 3, -1 / 3, -1 / 3, 0.0, 1.0], (ticks // 5 + 1, 2))
    actions = np.repeat(choices, 5, axis=0)[:ticks]
    result = backtest(Played(actions), tape, PARAMS, latency_s=latency_s, price_step=step)
    times = [START_NS + k * 100 * MS for k in range(ticks)]
    decisions = [decided(a, tape, time, PARAMS, step) for a, time in zip(actions, times, strict=True)]
    twin = ReplayTwin(rows_of(tape), limit=2, maker_fee=1e-4, taker_fee=5e-4)
    path = twin.run(decisions, 100 * MS, round(latency_s * 1e9))
    assert len(twin.fills) > 20
    np.testing.assert_allclose(result.inventory[1:], [q for q, _ in path], atol=1e-9)
    np.testing.assert_allclose(result.cash[1:] - PARAMS.initial_cash, [c for _, c in path], atol=1e-6)
    log = result.fills
    found = list(
        zip(log.time_ns, log.side, log.price, np.round(log.size, 9), [REASONS[r] for r in log.reason], strict=True)
    )
    assert found == [(t, s, p, round(q, 9), why) for t, s, p, q, why in twin.fills]


def played(trades=(), later=(), *, action=(-1 / 3, 1.0), ticks=3, latency_s=0.0, size=1.0):
    """Fills of a bid that joins the best price, 99.9 x 2.0, in a market at 99.9 / 100.1."""
    quotes = [(0, 99.9, 2.0, 100.1, 2.0), *later, (ticks * 100 * MS, 99.9, 2.0, 100.1, 2.0)]
    params = EnvParams(tick_s=0.1, spread=0.002, volatility=1e-3, order_size=size, initial_cash=1e6)
    result = backtest(Played([action] * ticks), tape_of(quotes, trades), params, latency_s=latency_s, price_step=0.1)
    log = result.fills
    return [
        (REASONS[r], round(float(s), 9), round((t - START_NS) / MS, 6))
        for r, s, t in zip(log.reason, log.size, log.time_ns, strict=True)
    ]


def sell(ms, price, size):
    return (int(ms * MS), price, size, -1)


@pytest.mark.parametrize(
    ("trades", "later", "fills"),
    [
        ([], [], []),
        ([sell(10, 99.9, 2.0)], [], []),  # all of it went to those ahead
        ([sell(10, 99.9, 2.5)], [], [("queue", 0.5, 10)]),  # and half a unit more
        ([sell(10, 99.9, 2.5), sell(20, 99.9, 9.0)], [], [("queue", 0.5, 10), ("queue", 0.5, 20)]),
        ([sell(10, 99.9, 1.0), sell(110, 99.9, 1.5)], [], [("queue", 0.5, 110)]),  # kept over a tick at the same price
        ([sell(10, 100.0, 9.0)], [], []),  # a trade inside the spread is not ours
        ([sell(10, 99.8, 0.4)], [], [("through", 0.4, 10)]),  # no more than what went through
        ([(10 * MS, 99.9, 9.0, +1)], [], []),  # a buyer meets no bid
        (
            [sell(20, 99.9, 0.7)],
            [(10 * MS, 99.9, 0.5, 100.1, 2.0)],
            [("queue", 0.2, 20)],
        ),  # the queue has shrunk to 0.5
        ([sell(20, 99.9, 0.7)], [(10 * MS, 99.9, 5.0, 100.1, 2.0)], []),  # who comes later stands behind
        ([sell(20, 99.9, 0.7)], [(10 * MS, 99.8, 5.0, 100.1, 2.0)], [("queue", 0.7, 20)]),  # the others have gone
        ([], [(10 * MS, 99.8, 5.0, 99.9, 2.0)], [("passed", 1.0, 10)]),  # the best ask has come to the bid
    ],
)
def test_worked_examples(trades, later, fills):
    assert played(trades, later) == fills


def test_an_order_behind_the_best_price_learns_its_place_when_that_comes_there():
    behind = (0.0, 1.0)  # two half-spreads from the mid: 99.8
    assert played([sell(10, 99.8, 50.0)], action=behind) == []
    there = [(20 * MS, 99.8, 3.0, 100.1, 2.0)]
    assert played([sell(30, 99.8, 3.0)], there, action=behind, ticks=1) == []
    assert played([sell(30, 99.8, 3.5)], there, action=behind, ticks=1) == [("queue", 0.5, 30)]


def test_an_order_inside_the_spread_is_first():
    assert played([sell(10, 100.0, 0.3)], action=(-2 / 3, 1.0)) == [("queue", 0.3, 10)]


def test_taking_takes_what_is_shown_and_no_more():
    assert played(action=(-1.0, 1.0), ticks=1, size=5.0) == [("crossed", 2.0, 0)]
    assert played(action=(-1.0, 1.0), ticks=1, size=0.5) == [("crossed", 0.5, 0)]


def test_latency_decides_what_an_order_meets():
    through = [sell(10, 99.8, 5.0)]
    assert played(through, latency_s=0.0099) == [("through", 1.0, 10)]
    assert played(through, latency_s=0.01) == []  # what is received at the moment of the arrival comes first
    moved = [(5 * MS, 100.2, 1.0, 100.4, 3.0)]
    assert played([], moved, action=(-1.0, 1.0), ticks=1, latency_s=0.02) == [("crossed", 1.0, 20)]


@pytest.mark.parametrize("latency_s", [-1.0, math.nan, math.inf, 4000])
def test_latency_is_checked(latency_s):
    with pytest.raises(ValueError, match="latency_s must be from 0 to 3600"):
        played(latency_s=latency_s)


def test_random_latency_is_refused_unless_it_is_replaced():
    tape = tape_of([(0, 99.9, 1, 100.1, 1), (300 * MS, 99.9, 1, 100.1, 1)])
    params = EnvParams(tick_s=0.1, data_latency=1)
    with pytest.raises(ValueError, match="data_latency must be 0 in a replay"):
        backtest(Played([(1, 1)] * 3), tape, params)
    assert len(backtest(Played([(1, 1)] * 3), tape, params, latency_s=0.1).reward) == 3


def test_prices_off_the_grid_are_refused():
    tape = tape_of([(0, 99.95, 1, 100.1, 1), (300 * MS, 99.9, 1, 100.1, 1)])
    with pytest.raises(ValueError, match=r"price_step must divide every recorded price, got 0.1 and 99.95"):
        backtest(Played([(1, 1)] * 3), tape, EnvParams(tick_s=0.1), price_step=0.1)


@pytest.mark.parametrize("price_step", [-0.1, math.nan, math.inf])
def test_price_steps_are_checked(price_step):
    tape = tape_of([(0, 99.9, 1, 100.1, 1), (300 * MS, 99.9, 1, 100.1, 1)])
    with pytest.raises(ValueError, match="price_step must be finite and above 0, or 0 for no grid"):
        backtest(Played([(1, 1)] * 3), tape, EnvParams(tick_s=0.1), price_step=price_step)


def test_a_time_that_is_years_off_is_named():
    tape = tape_of([(0, 99.9, 1, 100.1, 1), (5 * 365 * 86_400 * 10**9, 99.9, 1, 100.1, 1)])
    with pytest.raises(ValueError, match="tick_s must be longer, or a time in the recording is wrong: 2 rows"):
        backtest(Played([(1, 1)] * 3), tape, EnvParams(tick_s=0.1))


@pytest.mark.parametrize("coins", [100 / 61837.63, 1 / 3, 1e-7, 12345.678901234567])
def test_odd_units_change_nothing_but_the_units(coins):
    tape, params = random_tape(5), dataclasses.replace(PARAMS, initial_cash=1e9)
    actions = np.random.default_rng(5).choice([-1.0, -1 / 3, 0.0, 1.0], (190, 2))
    plain = backtest(Played(actions), tape, params, latency_s=0.01)
    in_units = dataclasses.replace(params, order_size=1 / coins, inventory_limit=10**12)
    plain_wide = backtest(Played(actions), tape, dataclasses.replace(params, inventory_limit=10**6), latency_s=0.01)
    other = backtest(Played(actions), tape.in_units_of(coins), in_units, latency_s=0.01)
    assert len(plain.fills) > 10
    np.testing.assert_allclose(other.inventory * coins, plain_wide.inventory, atol=1e-6)
    np.testing.assert_allclose(other.cash, plain_wide.cash, rtol=1e-9)


def test_no_order_is_lost_to_the_rounding_of_times():
    tick_ns = 10**9 / 1500
    times = sorted({0, *(round(k * tick_ns) for k in range(152)), *(round(k * tick_ns) + 1 for k in range(151))})
    tape = tape_of([(time, 99.9, 1.0, 100.1, 1.0) for time in times])
    params = EnvParams(tick_s=1 / 1500, horizon=150, spread=0.002, inventory_limit=1000, initial_cash=1e6)
    result = backtest(Played([(-1.0, 1.0)] * 150), tape, params, latency_s=0.0006666666, price_step=0.1)
    assert len(result.fills) == 150
