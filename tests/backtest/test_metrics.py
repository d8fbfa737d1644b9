"""The figures of a backtest, by hand and by identity."""

import math
from dataclasses import replace

import numpy as np
import pytest

from hftgym.backtest import backtest, backtest_zscore
from hftgym.backtest.markouts import markouts
from hftgym.backtest.metrics import difference, measure
from hftgym.backtest.record import record_of_backtest, record_of_zscore
from hftgym.backtest.trips import open_pnl
from hftgym.params import EnvParams
from hftgym.policies import LinearSkewPolicy
from tests.backtest.paths import make_fills, play, random_play
from tests.tapes import random_tape


def test_markouts_by_hand():
    mid = np.array([100.0, 101, 103, 102, 105, 106])
    fills = make_fills([0, 2, 3], [1, -1, 1], [99.5, 104.0, 101.0], [1.0, 3.0, 1.0], mid=[100.0, 103.5, 101.5])
    found = markouts(fills, mid, np.full(6, 0.5), horizons=(0, 1, 3))
    assert found.fills.tolist() == [3, 3, 2]  # from tick 3 on there are no 3 ticks left
    at_once = (0.5 + 3 * 0.5 + 0.5) / 5
    after_one = ((101 - 99.5) + 3 * (104 - 102) + (105 - 101.0)) / 5
    after_three = ((102 - 99.5) + 3 * (104 - 106)) / 4
    assert found.value.tolist() == pytest.approx([at_once, after_one, after_three])
    assert found.half_spreads.tolist() == pytest.approx([2 * at_once, 2 * after_one, 2 * after_three])


def test_a_market_without_a_spread_does_not_count_in_half_spreads():
    fills = make_fills([0, 1, 2], [1, 1, 1], [99.0, 98.0, 97.0], [1, 1, 1])
    found = markouts(fills, np.full(5, 100.0), np.array([0.5, 0.0, 0.5, 0.5, 0.5]), horizons=(1,))
    assert found.value.tolist() == [2.0]
    assert found.half_spreads.tolist() == [4.0]


def test_the_error_of_a_markout_is_what_repetition_shows():
    rng = np.random.default_rng(3)
    means, errors = [], []
    for _ in range(300):
        mid = 100 + rng.standard_normal(2_001).cumsum()
        tick = np.sort(rng.choice(1_900, 400, replace=False))  # fills every 5 ticks overlap in horizons of 10
        fills = make_fills(tick, rng.choice([-1, 1]) * np.ones(400), mid[tick], np.ones(400))
        found = markouts(fills, mid, np.ones(2_001), horizons=(10,))
        means.append(found.value[0])
        errors.append(found.value_se[0])
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.2)
    independent = math.sqrt(10 / 400)
    assert np.std(means) > 1.2 * independent  # which the usual formula would not see


def test_fills_of_one_time_or_a_short_path_have_no_error():
    mid, wide = np.full(1_991, 100.0), np.full(1_991, 0.5)
    twice = markouts(make_fills([5, 5], [1, 1], [99.0, 101.0], [1, 1]), mid, wide)
    assert twice.value.tolist() == [0.0] * 4
    assert np.isnan(twice.value_se).all()
    tick = np.arange(0, 1_890, 10)
    many = markouts(make_fills(tick, np.ones(189), mid[tick] - (-1.0) ** tick, np.ones(189)), mid, wide)
    assert np.isnan(many.value_se).tolist() == [False, False, False, True]  # 19.9 horizons of 100 ticks
    assert many.half_spreads_se[:3].tolist() == pytest.approx((2 * many.value_se[:3]).tolist())


@pytest.mark.slow
@pytest.mark.parametrize("sides", ["runs of 10", "one side"])
@pytest.mark.parametrize(
    ("ticks", "count", "horizon"),
    [(307, 40, 10), (307, 8, 1), (1_000, 100, 10), (2_000, 100, 100), (3_440, 500, 100), (20_000, 20, 100)],
)
def test_the_interval_of_a_markout_covers_the_truth_wherever_it_is_shown(ticks, count, horizon, sides):
    rng = np.random.default_rng(ticks + count)
    hits, shown = 0, 0
    for _ in range(600):
        mid = 1_000 + rng.standard_normal(ticks + 1).cumsum()
        tick = np.sort(rng.integers(0, ticks - horizon, count))
        runs = np.repeat(rng.choice([-1, 1], -(-count // 10)), 10)[:count]
        side = runs if sides == "runs of 10" else np.ones(count)
        fills = make_fills(tick, side, mid[tick], rng.lognormal(0, 0.5, count))
        found = markouts(fills, mid, np.ones(ticks + 1), horizons=(horizon,))
        if not math.isnan(found.value_se[0]):
            shown += 1
            hits += abs(found.value[0]) <= 1.96 * found.value_se[0]
    assert shown > 500
    assert 0.9 <= hits / shown <= 0.99


def test_what_moves_both_paths_drops_out_of_their_difference():
    rng = np.random.default_rng(4)
    shared, own = rng.standard_normal(400).cumsum(), 0.01 * rng.standard_normal(400).cumsum()
    nothing = make_fills([], [], [], [])
    base = play(np.full(400, 100.0), nothing)
    one, other = (replace(base, equity=1_000.0 + path - path[0]) for path in (shared + own, shared))
    found = difference(one, other)
    assert found.value == pytest.approx(own[-1] - own[0])
    assert found.high - found.low < 0.05 * (measure(one).pnl.high - measure(one).pnl.low)
    assert difference(one, one).value == difference(one, one).high == 0.0
    swapped = difference(other, one)
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low))


def test_a_path_that_ruin_has_ended_earns_nothing_more():
    nothing = make_fills([], [], [], [])
    long, short = (play(np.full(n, 100.0), nothing) for n in (81, 31))
    long = replace(long, equity=1_000.0 + np.arange(81.0))
    short = replace(short, equity=1_000.0 - 2.0 * np.arange(31.0))
    assert difference(long, short).value == 80 + 60
    assert difference(short, long).value == -(80 + 60)


def test_nothing_filled_is_a_figure_too():
    record = play(np.linspace(100, 101, 50), make_fills([], [], [], []))
    found = measure(record)
    assert (found.fills, found.turnover, found.pnl.value, found.units) == (0, 0.0, 0.0, (0.0, 0.0))
    assert np.isnan(found.markouts.value).all()
    assert math.isnan(found.sharpe.ratio)
    assert found.fill_ratio == (0.0, 0.0)
    assert len(found.trips) == len(found.trend_failures) == 0
    assert set(found.row()) == set(measure(random_play(0)).row())


@pytest.mark.parametrize("seed", range(4))
def test_pnl_is_the_sum_of_its_parts(seed):
    record = random_play(seed)
    found = measure(record)
    fills = record.fills
    assert found.pnl.value == pytest.approx(record.equity[-1] - record.equity[0])
    # What the mids did to the inventory, counted apart: from each fill's mid to the end of its tick, then row by row.
    held = np.append(0.0, np.cumsum(np.bincount(fills.tick, fills.side * fills.size, record.ticks)))[:-1]
    within = float((fills.side * fills.size * (record.mid[fills.tick + 1] - fills.mid)).sum())
    assert found.price_moves == pytest.approx(float((held * np.diff(record.mid)).sum()) + within)
    assert found.spread_captured == pytest.approx(float((fills.side * (fills.mid - fills.price) * fills.size).sum()))
    assert found.before_fees.value == pytest.approx(found.pnl.value + found.fees)
    assert found.total_return == pytest.approx(found.pnl.value / 1_000)
    assert sum(found.reasons.values()) == found.fills == len(fills)
    assert found.markouts.value[0] * sum(found.units) == pytest.approx(found.spread_captured)


def test_units_and_ratios_by_hand():
    mid = np.full(11, 100.0)
    fills = make_fills(
        [1, 2, 4], [1, 1, -1], [99.0, 99.0, 101.0], [1.0, 0.5, 1.5], fee=[0.1, 0.1, -0.3], reason=[0, 1, 1]
    )
    record = play(mid, fills, limit=1.5, quoted=6.0)
    found = measure(record)
    assert found.units == (1.5, 1.5)
    assert found.fill_ratio == (0.25, 0.25)
    assert found.fees == pytest.approx(-0.1)
    assert found.turnover == pytest.approx(1.5 * 99 + 1.5 * 101)
    assert found.reasons == {"crossed": 1, "queue": 2, "through": 0, "passed": 0}
    assert found.inventory_rms == pytest.approx(math.sqrt((1 + 2 * 1.5**2) / 10))
    assert found.at_limit == 0.2
    assert found.pnl.value == pytest.approx(3.1)
    assert found.drawdown.value == 0


def test_a_record_refuses_what_does_not_fit():
    fills = make_fills([5], [1], [100.0], [1.0])
    with pytest.raises(ValueError, match=r"fills\.tick must be from 0 to 3, got 5"):
        play(np.full(5, 100.0), fills)
    with pytest.raises(ValueError, match="mid must have at least 2 rows"):
        play(np.full(1, 100.0), make_fills([], [], [], []))


def test_the_record_of_a_backtest_is_its_own():
    params = EnvParams(symbol="TEST", horizon=150, tick_s=0.1, maker_fee_bps=1.0, taker_fee_bps=5.0)
    result = backtest(LinearSkewPolicy(), random_tape(0), params)
    record = record_of_backtest(result)
    found = measure(record)
    assert found.fills == len(result.fills) > 3
    assert found.pnl.value == pytest.approx(result.summary()["pnl"])
    assert found.fees == pytest.approx(result.fees.sum())
    assert record.fees == pytest.approx(result.fees)
    assert found.units == pytest.approx((result.fill_bid.sum(), result.fill_ask.sum()))
    assert found.fill_ratio[0] == pytest.approx(result.fill_bid.sum() / result.quoted_bid.sum())
    assert record.half_spread == pytest.approx((result.ask - result.bid) / 2)
    closed = found.trips.pnl.sum() + open_pnl(result.fills, found.trips, result.mid[-1])
    assert closed == pytest.approx(found.pnl.value)


def test_the_record_of_the_zscore_rule_is_its_own():
    rng = np.random.default_rng(5)
    prices = 100 + 0.02 * rng.standard_normal(600).cumsum()
    result = backtest_zscore(prices, spread=0.0004, window=20, inventory_limit=6, taker_fee_bps=0.5)
    record = record_of_zscore(result, tick_s=0.5, symbol="X")
    found = measure(record)
    assert found.fills == len(result.trades) > 40
    assert found.pnl.value == pytest.approx(result.equity[-1] - result.equity[0])
    assert found.spread_captured == pytest.approx(-0.0002 * found.turnover, rel=1e-3)
    assert found.markouts.half_spreads[0] == pytest.approx(-1.0)
    assert found.fees == pytest.approx(0.5e-4 * found.turnover)
    assert record.mid[record.fills.tick] == pytest.approx(prices[result.trades.tick])
    # The position that a tick leaves meets the move to the next price.
    assert np.diff(record.equity)[100] == pytest.approx(
        record.inventory[101] * (record.mid[101] - record.mid[100])
        - (record.fees[100] + 0.0002 * record.mid[100] * abs(record.inventory[101] - record.inventory[100]))
    )
    with pytest.raises(ValueError, match="one path"):
        record_of_zscore(backtest_zscore(np.tile(prices, (2, 1))))
