"""Calibration finds the market that a tape was simulated in, and says how sure it is."""

import dataclasses
import math
from functools import partial

import numpy as np
import pytest

from hftgym.envs import MarketMakingEnv
from hftgym.params import EnvParams
from hftgym.presets import PRESETS
from hftgym.tape import Trades, calibrate, estimate, estimators, read_tape
from hftgym.tape.calibration import Calibration
from hftgym.tape.estimators import UNIT_ROOT, mean_reversion, volatility
from hftgym.tape.flow import market_orders
from hftgym.tape.simulate import simulate_tape

REVERTING = dataclasses.replace(PRESETS["mean-reverting"], mean_reversion=0.05, horizon=2_000)
measure = partial(estimate, tick_s=0.01)


def truth(params):
    """What the estimates of a calibration should be, but for the noise, of which a simulated price has none."""
    names = ("spread", "arrival_intensity", "fill_decay", "mean_reversion")
    return {"nominal_volatility": params.nominal_volatility, "noise": 0.0} | {n: getattr(params, n) for n in names}


def moved(tape, *, quotes=None, trades=None):
    """The same tape with other columns."""
    return dataclasses.replace(
        tape,
        quotes=dataclasses.replace(tape.quotes, **(quotes or {})),
        trades=dataclasses.replace(tape.trades, **(trades or {})),
    )


def without_trades(tape, rows=slice(0, 0)):
    """The same tape with some of its trades."""
    names = [field.name for field in dataclasses.fields(tape.trades)]
    return moved(tape, trades={name: getattr(tape.trades, name)[rows] for name in names})


def with_noise(tape, size, seed=0):
    """The same tape with a recorded price that jumps to and fro, by `size` in relative terms."""
    noise = 1 + size * np.random.default_rng(seed).standard_normal(len(tape.quotes))
    return moved(tape, quotes={"bid": tape.quotes.bid * noise, "ask": tape.quotes.ask * noise})


@pytest.mark.parametrize(
    "params",
    [
        EnvParams(),
        EnvParams(arrival_intensity=3.0, fill_decay=1.5, volatility=1e-4, spread=2e-5, microstructure_noise=2.0),
        REVERTING,
    ],
    ids=["default", "tight", "reverting"],
)
def test_known_parameters_are_found_within_three_standard_errors(params):
    found = measure(simulate_tape(params, ticks=8_000, seed=11), base=params)
    for name, value in truth(params).items():
        estimated = found.estimates[name]
        if name == "mean_reversion" and value == 0:  # a random walk: another law, and nothing to be found
            assert found.params.mean_reversion == 0
        else:
            assert abs(estimated.value - value) <= 3 * estimated.error + 1e-12 * value, name
            assert estimated.error < 0.3 * max(value, 0.3), name
    assert found.params.nominal_volatility == pytest.approx(found.estimates["nominal_volatility"].value)
    assert found.params.initial_price == pytest.approx(100, rel=0.01 if params is REVERTING else 1e-9)
    kept = {"spread", "volatility", "mean_reversion", "arrival_intensity", "fill_decay", "initial_price", "horizon"}
    for name, value in found.params.to_dict().items():
        assert value == getattr(params, name) or name in kept, name
    assert not found.warnings


def test_a_price_grid_is_found_and_changes_nothing():
    """The best prices are rounded away from the mid, so the spread is wider, and A and kappa are told in it."""
    params = EnvParams(arrival_intensity=2.0, market_order_size=3.0)
    found = measure(simulate_tape(params, ticks=8_000, seed=12, price_step=0.01))
    assert (found.price_step, found.size_step) == (0.01, None)
    wider = found.params.spread / params.spread
    assert 1.1 < wider < 1.4
    decay, intensity = found.estimates["fill_decay"], found.estimates["arrival_intensity"]
    assert abs(decay.value - wider * params.fill_decay) < 3 * decay.error < 0.1
    assert abs(intensity.value - params.arrival_intensity) < 3 * intensity.error < 0.3


def covered(name, tapes, value, **options):
    """The share of 95 % intervals that cover."""
    found = [measure(tape, **options).estimates[name] for tape in tapes]
    return np.mean([abs(e.value - value) <= 1.96 * e.error for e in found])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nominal_volatility", "noise", "arrival_intensity", "fill_decay", "mean_reversion"])
def test_intervals_cover_as_often_as_they_say(name):
    tapes = [simulate_tape(REVERTING, ticks=2_000, seed=seed) for seed in range(200)]
    assert 0.90 <= covered(name, tapes, truth(REVERTING)[name], base=REVERTING) <= 0.99


@pytest.mark.slow
def test_the_spread_s_interval_covers_where_the_spread_varies():
    rng, tapes = np.random.default_rng(3), []
    for seed in range(200):
        tape = simulate_tape(EnvParams(), ticks=2_000, seed=seed)
        # The logarithm wanders with a memory of five ticks: errors for independent values would be a third of this.
        log = np.zeros(2_001)
        for k in range(2_000):
            log[k + 1] = 0.8 * log[k] + 0.2 * rng.standard_normal()
        half = tape.mid * 2e-4 * np.exp(log)
        tapes.append(without_trades(moved(tape, quotes={"bid": tape.mid - half, "ask": tape.mid + half})))
    assert 0.90 <= covered("spread", tapes, 4e-4) <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_random_walk_is_hardly_ever_taken_for_one_that_comes_back(noise):
    rng = np.random.default_rng(4)
    walks = 1e4 + np.cumsum(rng.standard_normal((1_000, 1_001)), axis=1) + noise * rng.standard_normal((1_000, 1_001))
    # 1 %: at most 1.9 % of 1,000 with three standard errors.
    assert np.mean([mean_reversion(walk).ratio < UNIT_ROOT for walk in walks]) <= 0.02


def test_the_pull_is_found_without_bias_on_short_tapes():
    """Regressions find too much of a pull by (4 - 3 rate) / n, here 0.0128."""
    rng, rate = np.random.default_rng(5), 0.05
    mid = np.zeros((300, 301))
    for k in range(300):
        mid[:, k + 1] = (1 - rate) * mid[:, k] + rng.standard_normal(300)
    found = [mean_reversion(100 + path).rate.value for path in mid]
    assert abs(np.mean(found) - rate) < 4 * np.std(found) / np.sqrt(300) < 0.007


def test_noise_of_the_recorded_price_is_told_from_volatility():
    params = EnvParams(microstructure_noise=0.0)
    tape = with_noise(simulate_tape(params, ticks=8_000, seed=6), 0.002)
    moves = np.diff(tape.mid) / tape.mid[:-1]
    assert np.sqrt(np.mean(moves**2)) == pytest.approx(0.002 * math.sqrt(3), rel=0.05)
    found = measure(tape).estimates
    assert abs(found["nominal_volatility"].value - 0.002) < 3 * found["nominal_volatility"].error < 3e-4
    assert abs(found["noise"].value - 1.0) < 3 * found["noise"].error < 0.5
    assert measure(tape).params.mean_reversion == 0


def test_the_volatility_of_independent_moves_has_the_error_of_theory():
    """Weights 1, 0.8, ... 0.2 on five autocovariances: relative variance of the square (2 + 4 * 2.2) / n."""
    found = [volatility(1e-3 * np.random.default_rng(seed).standard_normal(2_000))[0] for seed in range(60)]
    expected = 1e-3 * math.sqrt(10.8 / 2_000) / 2
    assert np.std([e.value for e in found]) == pytest.approx(expected, rel=0.3)
    assert np.mean([e.error for e in found]) == pytest.approx(expected, rel=0.1)


def test_the_volatility_is_shared_with_the_noise_that_stays():
    tape = simulate_tape(EnvParams(), ticks=500, seed=1)
    plain, noisy = (calibrate(tape, tick_s=0.01, base=EnvParams(microstructure_noise=eta)) for eta in (0.0, 2.0))
    assert noisy.volatility == pytest.approx(plain.volatility / math.sqrt(5))
    assert noisy.nominal_volatility == pytest.approx(plain.nominal_volatility)


def test_trades_of_one_sweep_are_one_order():
    """Split every order into three trades, from the best price to its furthest one: the same orders."""
    tape = simulate_tape(EnvParams(), ticks=500, seed=2)
    quotes, trades = tape.quotes, tape.trades
    known = np.searchsorted(quotes.local_ns, trades.local_ns) - 1
    best = np.where(trades.taker_side > 0, quotes.ask[known], quotes.bid[known])
    columns = {f.name: np.repeat(getattr(trades, f.name), 3) for f in dataclasses.fields(trades)}
    columns["price"] = np.column_stack([best, (best + trades.price) / 2, trades.price]).ravel()
    columns["local_ns"] = columns["local_ns"] + np.tile([0, 1, 2], len(trades))
    whole, swept = market_orders(tape), market_orders(moved(tape, trades=columns))
    assert np.array_equal(whole.time_ns, swept.time_ns)
    assert np.array_equal(whole.beyond, swept.beyond)
    np.testing.assert_allclose(swept.size, 3 * whole.size)


def test_two_takers_at_the_same_time_are_two_orders_and_a_tick_s_own_time_ends_the_tick_before():
    tape = simulate_tape(EnvParams(arrival_intensity=0.0), ticks=4, seed=0)
    first, last = tape.quotes.local_ns[[0, -1]]
    at = np.array([first, first + 1, first + 1, last, last + 1])
    columns = {
        "exchange_ns": at,
        "local_ns": at,
        "price": np.full(5, 100.0),
        "size": np.ones(5),
        "taker_side": np.array([1, 1, -1, 1, 1], dtype=np.int8),
    }
    traded = dataclasses.replace(tape, trades=Trades(**columns))
    assert market_orders(traded).side.tolist() == [1, -1, 1, 1]  # the first came before the first quote
    found = measure(traded)
    assert found.orders == 3
    assert found.statistics["orders"] == 3 / 8
    assert found.statistics["orders_share"] == 3 / 8


def test_a_quote_that_arrives_before_the_trades_that_made_it_does_not_matter():
    """A buyer takes 100.1, 100.2 and 100.3; the quote that this leaves behind is received first."""
    tape = simulate_tape(EnvParams(), ticks=4, seed=0)
    at = tape.quotes.local_ns[1] + np.array([5, 6, 7])
    trades = {
        "exchange_ns": np.full(3, at[0] - 10),
        "local_ns": at,
        "price": np.array([100.1, 100.2, 100.3]),
        "size": np.ones(3),
        "taker_side": np.ones(3, dtype=np.int8),
    }
    quotes = {
        "bid": np.array([100.0, 100.2, 100.2, 100.2, 100.2]),
        "ask": np.array([100.1, 100.4, 100.4, 100.4, 100.4]),
    }
    orders = market_orders(moved(tape, quotes=quotes, trades=trades))
    assert orders.beyond.tolist() == pytest.approx([0.2])
    stale = {"bid": np.full(5, 99.9), "ask": np.array([100.05, 100.05, 100.4, 100.4, 100.4])}
    assert market_orders(moved(tape, quotes=stale, trades=trades)).beyond.tolist() == pytest.approx([0.25])


def test_orders_that_come_in_clusters_widen_the_error():
    """Every order comes four times: four times as many, and a quarter of the information."""
    tape = simulate_tape(EnvParams(), ticks=4_000, seed=3)
    columns = {f.name: np.repeat(getattr(tape.trades, f.name), 4) for f in dataclasses.fields(tape.trades)}
    for name in ("exchange_ns", "local_ns"):
        columns[name] = columns[name] + np.tile([0, 1, 2, 3], len(tape.trades))
    once, often = measure(tape), measure(moved(tape, trades=columns))
    for name, factor in (("arrival_intensity", 4), ("fill_decay", 1)):
        assert often.estimates[name].value == pytest.approx(factor * once.estimates[name].value, rel=1e-6)
        assert often.estimates[name].error == pytest.approx(factor * once.estimates[name].error, rel=1e-6)
    assert often.statistics["orders_dispersion"] == pytest.approx(4 * once.statistics["orders_dispersion"], rel=1e-6)
    assert once.statistics["orders_dispersion"] == pytest.approx(1, abs=0.05)
    assert not once.warnings
    assert "46% of the ticks and sides have one, and 92% by the law" in often.warnings[0]


def test_sweeps_through_the_book_do_not_decide_the_decay_near_the_mid():
    tape = simulate_tape(EnvParams(fill_decay=1.5), ticks=8_000, seed=4)
    price = tape.trades.price.copy()
    price[::50] *= 1 + 0.05 * tape.trades.taker_side[::50]  # 200 half-spreads
    found = measure(moved(tape, trades={"price": price}))
    # A share of 0.02 that goes at least 4 half-spreads; with all distances in full it would be 0.2.
    assert found.params.fill_decay == pytest.approx(0.98 / (0.98 / 1.5 + 0.02 * 4), rel=0.05)
    assert "fails beyond: 2." in found.warnings[0]


def test_without_enough_trades_the_order_flow_is_the_base_s():
    tape = simulate_tape(EnvParams(), ticks=200, seed=5)
    base = EnvParams(arrival_intensity=7.0, fill_decay=0.3, excitation=0.5, excitation_decay=0.5)
    for rows, orders in ((slice(0, 0), 0), (slice(0, 15), 15)):
        found = measure(without_trades(tape, rows), base=base)
        assert found.orders == orders
        assert (found.params.arrival_intensity, found.params.fill_decay, found.params.excitation) == (7.0, 0.3, 0.5)
        assert math.isnan(found.estimates["fill_decay"].value)
        assert f"too few trades, arrival_intensity and fill_decay are the base's: {orders} " in found.warnings[0]


def test_what_is_not_measured_is_the_base_s_or_the_venue_s():
    tape = simulate_tape(EnvParams(), ticks=300, seed=7)
    base = PRESETS["adverse"]
    found = calibrate(tape, tick_s=0.01, base=base)
    for name in ("maker_fee_bps", "jump_probability", "order_latency", "window", "inventory_limit", "trade_through"):
        assert getattr(found, name) == getattr(base, name)
    excited = EnvParams(fill_model="linear", excitation=0.5, excitation_decay=0.5)
    law = calibrate(tape, tick_s=0.01, base=excited)
    assert (law.fill_model, law.excitation, law.excitation_decay) == ("poisson", 0.0, 0.0)
    venue = calibrate(dataclasses.replace(tape, venue="binance-usdm", symbol="X"), tick_s=0.01)
    assert (venue.maker_fee_bps, venue.taker_fee_bps, venue.trade_through, venue.symbol) == (2.0, 5.0, True, "X")
    assert (venue.horizon, venue.tick_s) == (300, 0.01)
    dear = moved(tape, quotes={"bid": 600 * tape.quotes.bid, "ask": 600 * tape.quotes.ask})
    assert calibrate(without_trades(dear), tick_s=0.01).initial_cash == pytest.approx(20 * 60_000)


def test_the_shortest_tape_has_no_errors_to_speak_of():
    found = measure(simulate_tape(EnvParams(), ticks=4, seed=0))
    assert isinstance(found, Calibration)
    assert found.ticks == 4


def test_refusals():
    tape = simulate_tape(EnvParams(), ticks=10, seed=0)
    for tick_s, message in (
        (1.0, r"tick_s must be below the 0\.100 s"),
        (-1.0, "tick_s must be a positive number"),
        (0.09, r"BTC-USDT: the tape must last at least 4 ticks of 0\.09 s, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            estimate(tape, tick_s=tick_s)
    still = {"bid": np.full(11, 99.0), "ask": np.full(11, 101.0)}
    with pytest.raises(ValueError, match="never moved"):
        measure(moved(tape, quotes=still))
    crossed = {"bid": tape.quotes.ask, "ask": tape.quotes.bid}
    with pytest.raises(ValueError, match=r"median spread must be above 0 .*: 11 of 11 quotes have bid >= ask; are the"):
        measure(moved(tape, quotes=crossed))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "step", "lot", "orders", "fees"),
    [
        ("binance_usdm_btcusdt_20240808.gz", 0.1, 0.001, 5_455, (2.0, 5.0)),
        ("binance_spot_btcusdt_20240808.gz", 0.01, 1e-5, 3_412, (10.0, 10.0)),
    ],
)
def test_real_captures(data_file, name, step, lot, orders, fees):
    found = estimate(read_tape(data_file(name)))
    params = found.params
    assert (found.price_step, found.size_step, found.orders) == (step, lot, orders)
    assert params.spread * params.initial_price == pytest.approx(step, rel=0.01)
    # About 1.3e-4 per second, whatever the sampling; A exp(-kappa) orders per tick and side.
    assert params.nominal_volatility == pytest.approx(1.3e-4 * math.sqrt(0.1), rel=0.15)
    mean = params.arrival_intensity * math.exp(-params.fill_decay)
    assert mean == pytest.approx(orders / found.ticks / 2, rel=0.01)
    assert all(e.error < 0.3 * e.value for n, e in found.estimates.items() if n not in ("noise", "mean_reversion"))
    assert params.mean_reversion == 0
    assert (params.maker_fee_bps, params.taker_fee_bps) == fees
    assert [said.split()[1] for said in found.warnings] == ["exponential", "price", "come"]
    env = MarketMakingEnv(params=EnvParams.from_json(params.to_json()))
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)


def test_a_spread_that_hardly_changes_has_no_error_from_rounding():
    spreads = np.full(307, 0.001390381090817152)
    spreads[::40] *= 1.5
    assert estimators.median(spreads) == (0.001390381090817152, 0.0)
