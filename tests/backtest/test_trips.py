"""First in, first out: nothing is lost between round trips and the open position; failures are where they were made."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hftgym.backtest.trips import open_pnl, round_trips, trend_failures, whipsaws
from tests.backtest.paths import make_fills, play, random_play

one_fill = st.tuples(st.sampled_from([-1, 1]), st.integers(1, 8), st.integers(90, 110), st.integers(-3, 3))


def by_queue(fills):
    """Round trips by a queue of lots: (opened, closed, size), one row per pair of fills."""
    lots, found = deque(), []
    for i, (side, left) in enumerate(zip(fills.side, fills.size, strict=True)):
        while left > 0 and lots and lots[0][1] == -side:
            part = min(left, lots[0][2])
            found.append((lots[0][0], i, part))
            left, lots[0][2] = left - part, lots[0][2] - part
            if lots[0][2] == 0:
                lots.popleft()
        if left > 0:
            lots.append([i, side, left])
    return found


@given(st.lists(one_fill, max_size=40))
def test_trips_are_those_of_a_queue_of_lots(rows):
    side, size, price, fee = zip(*rows, strict=True) if rows else ((), (), (), ())
    fills = make_fills(np.arange(len(rows)), side, price, size, fee=fee)
    trips = round_trips(fills)
    assert list(zip(trips.opened, trips.closed, trips.size, strict=True)) == by_queue(fills)
    assert (trips.side == fills.side[trips.opened]).all()
    assert (trips.side == -fills.side[trips.closed]).all()
    cash = -float((fills.side * fills.size * fills.price).sum() + fills.fee.sum())
    worth = cash + float((fills.side * fills.size).sum()) * 104.5
    assert trips.pnl.sum() + open_pnl(fills, trips, 104.5) == pytest.approx(worth, abs=1e-9)


@pytest.mark.parametrize("size", [1.0, 0.001, 1e6 / 3])
def test_trips_and_the_open_position_are_the_pnl_of_the_path(size):
    for seed in range(5):
        record = random_play(seed, size=size, limit=10 * size)
        trips = round_trips(record.fills)
        total = trips.pnl.sum() + open_pnl(record.fills, trips, record.mid[-1])
        assert total == pytest.approx(record.equity[-1] - record.equity[0], abs=1e-8 * size)
        assert trips.size.min() > 0.01 * size  # no crumbs of rounding


def test_one_trip_by_hand():
    fills = make_fills([3, 5, 9], [1, -1, -1], [100.0, 101.0, 102.0], [2.0, 1.0, 3.0], fee=[0.2, 0.1, 0.3])
    trips = round_trips(fills)
    assert trips.open_tick.tolist() == [3, 3]
    assert trips.close_tick.tolist() == [5, 9]
    assert trips.pnl.tolist() == pytest.approx([1.0 - 0.2, 2.0 - 0.2])
    assert trips.ticks.tolist() == [2, 6]
    assert open_pnl(fills, trips, 103.0) == pytest.approx(2 * (102 - 103) - 0.2)


def trip(*, held, bought, sold, fee=0.0):
    return round_trips(make_fills([2, 2 + held], [1, -1], [bought, sold], [1, 1], fee=[fee, fee]))


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({"held": 3, "bought": 100.05, "sold": 99.95}, True),  # in at the ask, out at the bid: the spread is lost
        ({"held": 10, "bought": 100.05, "sold": 99.95}, True),
        ({"held": 11, "bought": 100.05, "sold": 99.95}, False),  # held too long
        ({"held": 3, "bought": 100.0, "sold": 100.0}, False),  # nothing lost
        ({"held": 3, "bought": 100.0, "sold": 99.96}, False),  # less than half the spread
        ({"held": 3, "bought": 100.0, "sold": 99.79}, False),  # more than twice: the price moved
        ({"held": 3, "bought": 99.95, "sold": 100.05, "fee": 1.0}, True),  # earned the spread, and lost it to fees
        ({"held": 3, "bought": 100.0, "sold": 105.0, "fee": 1.0}, False),
    ],
)
def test_a_whipsaw_is_short_and_loses_about_its_costs(case, expected):
    assert whipsaws(trip(**case), np.full(20, 0.05)).tolist() == [expected]


def test_selling_first_is_a_whipsaw_too():
    trips = round_trips(make_fills([2, 4], [-1, 1], [99.95, 100.05], [1, 1]))
    assert whipsaws(trips, np.full(20, 0.05)).tolist() == [True]
    assert trips.side.tolist() == [-1]


def pinned_path(move, *, wiggle=0.0, leave=()):
    """Buys 2 units at tick 10 (the limit) and sells them at tick 60; the price falls by `move` in between."""
    mid = 100 + 0.01 * np.tile([1.0, -1.0], 51)[:101]
    mid[20:] -= np.clip(np.arange(81) / 20, 0, 1) * move
    tick, side = [10, *leave, 60], [1, *([-1, 1] * (len(leave) // 2)), -1]
    size = [2.0, *([1.0] * len(leave)), 2.0]
    price = [mid[t] for t in tick]
    return play(mid, make_fills(tick, side, price, size), limit=2.0)


def failures(record):
    return trend_failures(record.inventory, record.equity, record.mid, limit=record.inventory_limit)


def test_a_trend_failure_is_a_fall_at_the_limit():
    found = failures(pinned_path(5.0))
    assert found.start.tolist() == [11]
    assert found.end.tolist() == [60]
    assert found.side.tolist() == [1]
    assert found.loss == pytest.approx([2 * 5.0], abs=0.1)


def test_a_rise_or_the_noise_of_a_window_is_none():
    assert len(failures(pinned_path(-5.0))) == 0
    assert len(failures(pinned_path(0.0))) == 0


def test_leaving_the_limit_for_a_moment_does_not_end_it():
    assert failures(pinned_path(5.0, leave=(30, 35))).start.tolist() == [11]
    apart = failures(pinned_path(5.0, leave=(30, 45)))
    assert (apart.start.tolist(), apart.end.tolist()) == ([11], [30])  # the rest is too small to count


def test_who_never_reaches_the_limit_has_none():
    record = random_play(0, limit=1e6)
    assert len(failures(record)) == 0
    still = play(np.full(30, 100.0), make_fills([2], [1], [100.0], [1.0]), limit=1.0)
    assert len(failures(still)) == 0
