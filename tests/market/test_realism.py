"""Costs and rewards beyond the plain market."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hftgym.envs import MarketMakingEnv, MarketMakingVectorEnv
from hftgym.market import layout as at
from hftgym.market.layout import N_FIELDS
from hftgym.market.single import FIELDS_AT
from hftgym.params import EnvParams

N = 4096
side = st.one_of(st.just(-1.0), st.just(1.0), st.floats(-1, 1, width=32))


def test_the_full_form_is_the_plain_form_where_both_apply():
    """A volatility of volatility that rounds to nothing asks for the full form, and must change no bit."""
    plain, full = EnvParams(), EnvParams(volatility_of_volatility=1e-300, volatility_reversion=0.5)
    runs = []
    for params in (plain, full):
        envs = MarketMakingVectorEnv(130, params=params, autoreset_mode="SameStep")
        envs.reset(seed=3)
        rng = np.random.default_rng(0)
        runs.append([envs.step(rng.uniform(-1.1, 1.1, (130, 2)))[:4] for _ in range(300)])
    for a, b in zip(*runs, strict=True):
        for x, y in zip(a, b, strict=True):
            assert (x == y).all()


@settings(max_examples=60, deadline=None)
@given(
    actions=st.lists(st.tuples(side, side, side, side), min_size=1, max_size=50),
    seed=st.integers(0, 2**32),
    size=st.floats(0.1, 8),
    limit=st.integers(1, 10),
    orders=st.floats(0, 3),
    depth=st.one_of(st.just(0.0), st.floats(0.05, 2)),
    through=st.booleans(),
)
def test_position_is_the_sum_of_fills(actions, seed, size, limit, orders, depth, through):
    """With sizes, partial fills, slippage and trade-through: a well-known simulator fails this one."""
    params = EnvParams(
        sized_actions=True,
        order_size=size,
        inventory_limit=limit,
        market_order_size=orders,
        level_depth=depth,
        level_spacing=1.0 if depth > 0 else 0.0,
        trade_through=through,
        volatility=0.005,
        maker_fee_bps=1.0,
        horizon=60,
    )
    env = MarketMakingEnv(params=params)
    _, before = env.reset(seed=seed)
    position = 0.0
    for action in actions:
        *_, info = env.step(np.array(action, dtype=np.float32))
        position += info["fill_bid"] - info["fill_ask"]
        assert info["inventory"] == pytest.approx(position, abs=1e-12)
        assert abs(info["inventory"]) <= limit * (1 + 1e-12)
        assert 0 <= info["fill_bid"] <= size * (1 + 1e-12)
        parts = info["spread_capture"] + info["inventory_pnl"] - info["fees"]
        assert info["equity"] - before["equity"] == pytest.approx(parts, abs=1e-8)
        before = info


@pytest.mark.parametrize(("size", "depth", "levels"), [(1, 1, 0), (2, 1, 0.5), (4, 2, 0.5), (5, 2, 0.8), (3, 10, 0)])
def test_a_crossing_order_walks_the_book(size, depth, levels):
    params = EnvParams(order_size=size, level_depth=depth, level_spacing=0.5, volatility=0.0, taker_fee_bps=0.0)
    env = MarketMakingEnv(params=params)
    env.reset(seed=0)
    *_, info = env.step([-1.0, 1.0])
    # `levels` is the mean level: 5 units in levels of 2 fill levels 0, 0, 1, 1, 2.
    assert info["spread_capture"] == pytest.approx(-size * params.half_spread * (1 + 0.5 * levels), rel=1e-12)


def test_partial_fills_have_the_size_of_the_market_orders():
    mean, size = 0.8, 2.0
    params = EnvParams(market_order_size=mean, order_size=size, arrival_intensity=50.0, inventory_limit=10**6)
    envs = MarketMakingVectorEnv(N, params=params)
    envs.reset(seed=0)
    *_, info = envs.step(np.zeros((N, 2)))
    fills = np.concatenate([info["fill_bid"], info["fill_ask"]])
    assert (fills > 0).all()
    assert fills.mean() == pytest.approx(mean * (1 - np.exp(-size / mean)), abs=4 * fills.std() / np.sqrt(2 * N))


def test_trade_through_is_adverse():
    """No market orders: a quote is only filled when the price has run through it, and always at a loss."""
    params = EnvParams(trade_through=True, arrival_intensity=0.0)
    envs = MarketMakingVectorEnv(N, params=params)
    _, before = envs.reset(seed=0)
    bid = before["mid"] - 2 * (before["mid"] - before["bid"])
    *_, info = envs.step(np.zeros((N, 2)))
    assert ((info["fill_bid"] > 0) == (bid >= info["ask"])).all()
    filled = info["fill_bid"] > 0
    assert filled.sum() > 100
    assert (info["spread_capture"][filled] <= -(info["ask"] - info["mid"])[filled] * (1 - 1e-9)).all()
    assert not info["inventory_pnl"][filled].any()  # nothing was held while the mid moved


@pytest.mark.parametrize(("changes", "steps"), [({"trade_through": True}, 1), ({"order_latency": 1}, 2)])
def test_a_quote_at_the_touch_itself_is_reached(changes, steps):
    """The mid goes from 128 to 124 or 132, and the touch to exactly the bid or the ask that was quoted at 128."""
    params = EnvParams(
        initial_price=128.0,
        price_model="arithmetic",
        price_steps="binary",
        volatility=2**-5,
        microstructure_noise=0.0,
        spread=2**-5,
        arrival_intensity=0.0,
        offset_low=0.0,
        offset_high=2.0,
        **changes,
    )
    envs = MarketMakingVectorEnv(64, params=params)
    for beyond in (0.0, 2**-20):  # the action is the offset less 1; a half-spread is 1.9375 at 124 and 2.0625 at 132
        envs.reset(seed=0)
        *_, info = envs.step(np.tile([1 / 32 + beyond, -1 / 32 + beyond], (64, 1)))
        down = info["mid"] < 128
        if steps == 2:  # the late quotes meet the market of the second tick
            *_, info = envs.step(np.ones((64, 2)))
        assert 0 < down.sum() < 64
        assert (info["fill_bid"] == (down & (beyond == 0))).all()
        assert (info["fill_ask"] == (~down & (beyond == 0))).all()


def play(params, steps=200):
    env = MarketMakingEnv(params=params)
    env.reset(seed=1)
    rng = np.random.default_rng(0)
    rewards, infos = [], []
    for _ in range(steps):
        _, reward, terminated, _, info = env.step(rng.uniform(-1, 1, 2))
        rewards.append(reward)
        infos.append(info)
    return np.array(rewards), infos, terminated


def test_utility_adds_up_to_the_utility_of_the_final_gain():
    rewards, infos, _ = play(EnvParams(reward="cara", risk_aversion=0.1, inventory_penalty=0.0))
    gain = infos[-1]["equity"] - 10_000
    assert rewards.sum() == pytest.approx((1 - np.exp(-0.1 * gain)) / 0.1, rel=1e-9)


def test_martingale_free_reward_leaves_the_inventorys_gains_out():
    raw, infos, _ = play(EnvParams())
    free, *_ = play(EnvParams(reward="martingale_free"))
    np.testing.assert_allclose(raw - free, [info["inventory_pnl"] for info in infos], atol=1e-12)


def test_terminal_penalty_is_charged_once_at_the_end():
    params = {"horizon": 200}
    plain, infos, ended = play(EnvParams(**params))
    charged, *_ = play(EnvParams(**params, terminal_penalty=3.0))
    assert ended
    difference = plain - charged
    assert not difference[:-1].any()
    assert difference[-1] == pytest.approx(3.0 * 0.025 * infos[-1]["inventory"] ** 2)
    assert infos[-1]["inventory"] != 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"jump_volatility": 0.1}, "jump_volatility needs jump_probability > 0"),
        ({"volatility_of_volatility": 0.1}, "needs volatility_reversion > 0"),
        ({"alpha_volatility": 0.1}, "needs alpha_reversion > 0"),
        ({"excitation": 0.1}, "needs excitation_decay > 0"),
        ({"level_spacing": 1.0}, "needs level_depth > 0"),
        ({"level_depth": 1e-9, "level_spacing": 1.0}, "level_depth must be larger"),
        ({"reward": "cara"}, "risk_aversion must be above 0 if and only if"),
        ({"risk_aversion": 0.1}, "risk_aversion must be above 0 if and only if"),
        ({"reward": "sharpe"}, "reward must be one of pnl, martingale_free, cara, got 'sharpe'"),
    ],
)
def test_contradictory_parameters(values, message):
    with pytest.raises(ValueError, match=message):
        EnvParams(**values)


def test_switches_are_booleans():
    with pytest.raises(TypeError, match="trade_through must be True or False, got 1"):
        EnvParams(trade_through=1)  # pyright: ignore


def test_a_resting_quote_is_never_filled_at_a_better_price_than_its_own():
    # Nobody sells, and the market falls through a bid that rests while newer decisions are on their way.
    params = EnvParams(
        order_latency=1,
        order_latency_jitter=5.0,
        order_latency_tail=1.0,
        order_latency_longest=20,
        arrival_intensity=0.0,
        horizon=300,
    )
    for through, side in ((False, 0), (True, 0), (False, 1), (True, 1)):
        env = gym.make("MarketMaking-v0", params=dataclasses.replace(params, trade_through=through)).unwrapped
        action = np.ones(2, dtype=np.float32)
        action[side] = 0.0
        env.reset(seed=0)
        fills = {"crossed on arrival": 0, "at its own price": 0}
        ended = False
        while not ended:
            cash = env._info()["cash"]
            *_, ended, _, info = env.step(action)
            if units := info[("fill_bid", "fill_ask")[side]]:
                price = abs(info["cash"] - cash + info["fees"]) / units
                own = env._memory[FIELDS_AT + (at.QUOTE_BID, at.QUOTE_ASK)[side]]
                if price == pytest.approx(own, rel=1e-9):
                    fills["at its own price"] += 1
                else:
                    assert env._memory[FIELDS_AT + N_FIELDS + at.NEW] == 1.0
                    fills["crossed on arrival"] += 1
        assert (fills["at its own price"] > 0) == through
