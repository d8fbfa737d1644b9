"""Laws of the account and the matching that hold whatever the parameters and the actions are."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hftgym.envs import MarketMakingEnv, MarketMakingVectorEnv
from hftgym.market.matching import filled_resting
from hftgym.params import EnvParams

CROSS, WITHDRAW = -1.0, 1.0

markets = st.builds(
    EnvParams,
    initial_price=st.floats(1e-3, 1e6),
    price_model=st.sampled_from(["geometric", "arithmetic"]),
    price_steps=st.sampled_from(["gaussian", "binary"]),
    volatility=st.floats(0, 0.05),
    microstructure_noise=st.floats(0, 1),
    spread=st.floats(1e-6, 0.1),
    fill_model=st.sampled_from(["poisson", "linear"]),
    arrival_intensity=st.floats(0, 5),
    fill_decay=st.floats(0.01, 5),
    maker_fee_bps=st.floats(-5, 20),
    taker_fee_bps=st.floats(-5, 20),
    inventory_limit=st.integers(1, 12),
    initial_cash=st.just(1e12),
    inventory_penalty=st.floats(0, 1),
    horizon=st.just(60),
    window=st.integers(2, 60),
    offset_low=st.floats(-1, 0.5),
    offset_high=st.floats(1, 20),
)
sides = st.one_of(st.just(CROSS), st.just(WITHDRAW), st.floats(-1, 1, width=32))


@settings(max_examples=150, deadline=None)
@given(params=markets, seed=st.integers(0, 2**64 - 1), actions=st.lists(st.tuples(sides, sides), max_size=60))
def test_the_account_balances_in_every_tick(params, seed, actions):
    env = MarketMakingEnv(params=params)
    observation, before = env.reset(seed=seed)
    scale = params.inventory_limit * params.initial_price
    position = 0.0
    for action in actions:
        observation, reward, terminated, _, info = env.step(np.array(action, dtype=np.float32))
        parts = info["spread_capture"] + info["inventory_pnl"] - info["fees"]
        assert info["equity"] - before["equity"] == pytest.approx(parts, abs=1e-3 + 1e-9 * scale)
        penalty = params.phi * info["inventory"] ** 2
        assert reward == pytest.approx(parts - penalty, rel=1e-9, abs=1e-9 * scale)
        # Position equals the sum of fills, and cash moves exactly when it does.
        position += info["fill_bid"] - info["fill_ask"]
        assert info["inventory"] == position
        assert abs(info["inventory"]) <= params.inventory_limit
        if info["fill_bid"] == 0 == info["fill_ask"]:
            assert info["cash"] == before["cash"]
        assert info["bid"] < info["mid"] < info["ask"]
        assert info["mid"] > 0
        assert env.observation_space.contains(observation)
        before = info
        if terminated:
            break


def test_cash_and_inventory_move_together_at_the_limit():
    """Six market buys against a limit of three: a known simulator clips the inventory and pays for six."""
    params = EnvParams(inventory_limit=3, volatility=0.0, taker_fee_bps=0.0)
    env = MarketMakingEnv(params=params)
    env.reset(seed=0)
    for _ in range(6):
        *_, info = env.step([CROSS, WITHDRAW])
    assert info["inventory"] == 3
    assert info["cash"] == pytest.approx(10_000 - 3 * 100 * (1 + params.spread / 2), rel=1e-15)
    assert info["equity"] == pytest.approx(10_000 - 3 * params.half_spread, rel=1e-12)


def test_crossing_pays_the_touch_and_the_taker_fee():
    env = MarketMakingEnv(params=EnvParams(taker_fee_bps=5.0))
    _, before = env.reset(seed=1)
    *_, info = env.step([CROSS, WITHDRAW])
    assert (info["fill_bid"], info["fill_ask"]) == (1, 0)
    assert info["fees"] == pytest.approx(before["ask"] * 5e-4, rel=1e-14)
    assert info["spread_capture"] == pytest.approx(before["mid"] - before["ask"], rel=1e-12)


@pytest.mark.parametrize("make", [MarketMakingEnv, MarketMakingVectorEnv])
@pytest.mark.parametrize(("cash", "ruined"), [(50.0, True), (50.5, False)])
def test_an_equity_of_exactly_zero_is_ruin(make, cash, ruined):
    # Buying at 125 and selling at 75 costs 50, all of it or not quite.
    env = make(params=EnvParams(spread=0.5, offset_high=3.0, volatility=0.0, taker_fee_bps=0.0, initial_cash=cash))
    env.reset(seed=0)
    *_, terminated, _, info = env.step(np.full(env.action_space.shape, CROSS, dtype=np.float32))
    assert info["equity"] == cash - 50
    assert terminated == ruined


def test_a_resting_quote_is_filled_by_a_trade_at_its_own_price():
    for side, price in ((1.0, 99.0), (-1.0, 101.0)):
        assert filled_resting(price, side, price, 2.0, math.inf) == 2
        assert filled_resting(price, side, price, 2.0, 0.7) == 0.7
        assert filled_resting(price, side, math.nextafter(price, 100.0), 2.0, math.inf) == 0


def test_withdrawing_never_trades():
    envs = MarketMakingVectorEnv(64, params=EnvParams(arrival_intensity=1e6, fill_decay=1e-3))
    envs.reset(seed=0)
    for _ in range(300):
        *_, info = envs.step(np.ones((64, 2), dtype=np.float32))
        assert not info["fill_bid"].any()
        assert not info["fill_ask"].any()


@pytest.mark.parametrize("fill_model", ["poisson", "linear"])
@pytest.mark.parametrize("action", [-0.9, -0.5, 0.0, 0.4, 0.95])
def test_fill_rate_is_the_formula(fill_model, action):
    params = EnvParams(fill_model=fill_model, arrival_intensity=0.9, fill_decay=0.4, inventory_limit=10**6)
    n, ticks = 4096, 60
    envs = MarketMakingVectorEnv(n, params=params)
    envs.reset(seed=0)
    bought = sold = 0.0
    for _ in range(ticks):
        *_, info = envs.step(np.full((n, 2), action, dtype=np.float32))
        bought, sold = bought + info["fill_bid"].sum(), sold + info["fill_ask"].sum()
    offset = -1 + (np.float32(action) + 1) / 2 * 6
    intensity = 0.9 * math.exp(-0.4 * offset)
    probability = 1 - math.exp(-intensity) if fill_model == "poisson" else min(1.0, intensity)
    error = math.sqrt(probability * (1 - probability) / (n * ticks))
    assert bought / (n * ticks) == pytest.approx(probability, abs=4 * error + 1e-12)
    assert sold / (n * ticks) == pytest.approx(probability, abs=4 * error + 1e-12)


@given(near=st.floats(-0.99, 0.99), far=st.floats(-0.99, 0.99))
@settings(max_examples=40, deadline=None)
def test_wider_quotes_never_fill_more_on_the_same_draws(near, far):
    near, far = sorted((near, far))
    fills = []
    for action in (near, far):
        envs = MarketMakingVectorEnv(256, params=EnvParams(inventory_limit=10**6))
        envs.reset(seed=5)
        *_, info = envs.step(np.full((256, 2), action, dtype=np.float32))
        fills.append((info["fill_bid"], info["fill_ask"]))
    assert (fills[1][0] <= fills[0][0]).all()
    assert (fills[1][1] <= fills[0][1]).all()


def test_mirrored_actions_give_mirrored_fill_rates():
    n, ticks = 4096, 40
    envs = MarketMakingVectorEnv(n, params=EnvParams(inventory_limit=10**6))
    rates = []
    for action in ((-0.2, 0.6), (0.6, -0.2)):
        envs.reset(seed=9)
        total = np.zeros(2)
        for _ in range(ticks):
            *_, info = envs.step(np.tile(np.array(action, dtype=np.float32), (n, 1)))
            total += info["fill_bid"].sum(), info["fill_ask"].sum()
        rates.append(total / (n * ticks))
    assert rates[0] == pytest.approx(rates[1][::-1], abs=4 * math.sqrt(0.5 / (n * ticks)))
