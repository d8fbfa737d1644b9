"""A simulated tape holds the environment's own market."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from hftgym.backtest import backtest
from hftgym.envs import MarketMakingEnv
from hftgym.params import EnvParams
from hftgym.policies import FixedSpreadPolicy
from hftgym.presets import PRESETS
from hftgym.tape.simulate import simulate_tape

TICKS = 2_000
EXCITED = EnvParams(excitation=0.8, excitation_decay=0.5)


def tick_of(tape):
    """The tick of every trade."""
    return np.searchsorted(tape.quotes.local_ns, tape.trades.local_ns) - 1


@pytest.mark.parametrize(
    "params",
    [EnvParams(), EnvParams(fill_model="linear"), EXCITED, PRESETS["mean-reverting"]],
    ids=["default", "linear", "excited", "reverting"],
)
def test_the_tape_is_the_market_that_the_environment_plays_in(params):
    """Same seed: same prices, and a resting quote is filled in exactly the ticks in which a trade reaches it."""
    params = dataclasses.replace(params, horizon=TICKS, inventory_limit=TICKS, initial_cash=1e9)
    tape = simulate_tape(params, ticks=TICKS, seed=5)
    env = MarketMakingEnv(params=params)
    _, info = env.reset(seed=5)
    mids, fills, quotes = [info["mid"]], [], []
    for _ in range(TICKS):
        half = (info["ask"] - info["bid"]) / 2
        # Actions 0 and 0.2 are 2 and 2.6 half-spreads from the mid.
        quotes.append((info["mid"] - 2 * half, info["mid"] + 2.6 * half))
        _, _, _, _, info = env.step(np.array([0.0, 0.2], dtype=np.float32))
        mids.append(info["mid"])
        fills.append((info["fill_bid"], info["fill_ask"]))
    np.testing.assert_allclose(tape.mid, mids, rtol=1e-14)
    tick, price, side = tick_of(tape), tape.trades.price, tape.trades.taker_side
    quote = np.array(quotes)
    reached = np.zeros((TICKS, 2))
    np.add.at(reached[:, 0], tick[(side < 0) & (price <= quote[tick, 0])], 1)
    np.add.at(reached[:, 1], tick[(side > 0) & (price >= quote[tick, 1])], 1)
    assert np.array_equal(reached > 0, np.array(fills) > 0)
    assert np.count_nonzero(reached) > 100


def test_orders_are_poisson_with_exponential_distances_beyond_the_touch():
    params = EnvParams(arrival_intensity=2.0, fill_decay=0.7)
    tape = simulate_tape(params, ticks=20_000, seed=1)
    tick, side = tick_of(tape), tape.trades.taker_side
    half = tape.mid[tick] * params.spread / 2
    distance = side * (tape.trades.price - tape.mid[tick]) / half
    assert distance.min() >= 1 - 1e-6
    mean = 2.0 * np.exp(-0.7)
    for one in (-1, 1):
        count = np.bincount(tick[side == one], minlength=20_000)
        assert abs(count.mean() - mean) < 4 * np.sqrt(mean / 20_000)
        # The variance of a Poisson variable's variance: (mean + 2 mean^2) / n.
        assert abs(count.var() - mean) < 4 * np.sqrt((mean + 2 * mean**2) / 20_000)
        assert stats.kstest(distance[side == one] - 1, "expon", args=(0, 1 / 0.7)).pvalue > 1e-4
    # Orders of one tick are exchangeable in time: the first is not the furthest.
    assert abs(np.corrcoef(tape.trades.local_ns - tape.quotes.local_ns[tick], distance)[0, 1]) < 0.02


def test_orders_attract_orders():
    """With full decay the excitement has two states, entered with the probability that an order comes to the mid."""
    params = EnvParams(excitation=3.0, excitation_decay=1.0, arrival_intensity=0.5)
    calm, excited = (1 - np.exp(-0.5 * (1 + e)) for e in (0.0, 3.0))
    share = calm / (1 - excited + calm)
    mean = 0.5 * np.exp(-params.fill_decay) * (1 + 3 * share)
    trades = len(simulate_tape(params, ticks=20_000, seed=6).trades)
    assert trades == pytest.approx(2 * 20_000 * mean, rel=4 * 2 / np.sqrt(2 * 20_000 * mean))


def test_a_replay_of_the_tape_is_the_simulator():
    """Where a quote that the price has passed is filled, as on every recorded market: fill by fill, and in money."""
    params = EnvParams(horizon=TICKS, inventory_limit=TICKS, trade_through=True, maker_fee_bps=0.5)
    tape = simulate_tape(params, ticks=TICKS, seed=9)
    policy = FixedSpreadPolicy(params=dataclasses.replace(params, trade_through=False))
    played = backtest(policy, tape, params, price_step=0)
    env = MarketMakingEnv(params=params)
    env.reset(seed=9)
    action, _ = policy.predict(np.zeros(8, dtype=np.float32))
    infos = [env.step(action)[4] for _ in range(TICKS)]
    for name, path in (("fill_bid", played.fill_bid), ("fill_ask", played.fill_ask)):
        assert path.tolist() == [info[name] for info in infos]
    np.testing.assert_allclose(played.equity[1:], [info["equity"] for info in infos], rtol=1e-12)
    assert played.fill_bid.sum() > 100


def test_sizes_are_those_of_the_market():
    params = EnvParams(market_order_size=3.0, level_depth=7.0, level_spacing=1.0)
    tape = simulate_tape(params, ticks=5_000, seed=2)
    assert stats.kstest(tape.trades.size, "expon", args=(0, 3.0)).pvalue > 1e-4
    assert set(tape.quotes.bid_size) == {7.0}
    assert set(simulate_tape(EnvParams(), ticks=50, seed=2).trades.size) == {1.0}


@pytest.mark.parametrize("step", [0.01, 0.25])
def test_on_a_price_grid_orders_trade_at_the_last_price_that_they_reached(step):
    fine = simulate_tape(EnvParams(), ticks=500, seed=3)
    tape = simulate_tape(EnvParams(), ticks=500, seed=3, price_step=step)
    for price in (tape.quotes.bid, tape.quotes.ask, tape.trades.price):
        assert np.array_equal(price, np.round(np.round(price / step) * step, 2))
    assert (tape.quotes.ask > tape.quotes.bid).all()
    assert ((tape.quotes.bid <= fine.quotes.bid) & (tape.quotes.bid > fine.quotes.bid - step)).all()
    for side, touch in ((-1, tape.quotes.bid), (1, tape.quotes.ask)):
        ticks = tick_of(fine)[fine.trades.taker_side == side]
        reached = side * fine.trades.price[fine.trades.taker_side == side]
        came = reached >= side * touch[ticks]
        found = side * tape.trades.price[tape.trades.taker_side == side]
        assert came.sum() == len(found)
        np.testing.assert_allclose(found, np.floor(reached[came] / step + 1e-9) * step, rtol=1e-12)


def test_the_seed_decides_everything():
    one, same, other = (simulate_tape(EnvParams(), ticks=100, seed=seed) for seed in (4, 4, 5))
    assert np.array_equal(one.trades.price, same.trades.price)
    assert np.array_equal(one.trades.local_ns, same.trades.local_ns)
    assert not np.array_equal(one.quotes.bid, other.quotes.bid)


def test_no_orders_no_trades():
    assert len(simulate_tape(EnvParams(arrival_intensity=0.0), ticks=10, seed=0).trades) == 0


def test_refusals():
    for arguments, message in (
        ({"ticks": 0}, "ticks must be an integer from 1"),
        ({"ticks": 1.5}, "ticks must be an integer"),
        ({"seed": -1}, "seed must be an integer from 0"),
        ({"price_step": 0.0}, "price_step must be above 0 and at most initial_price = 100, got 0.0"),
    ):
        with pytest.raises(ValueError, match=message):
            simulate_tape(EnvParams(), **({"ticks": 10, "seed": 0} | arguments))
    with pytest.raises(ValueError, match="tick_s must be at least 2e-9"):
        simulate_tape(EnvParams(tick_s=1e-9), ticks=10, seed=0)
