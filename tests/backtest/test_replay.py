"""The replay runs the simulator's own tick: a simulated market written to a tape gives the same observations."""

import numpy as np
import pytest

from hftgym.backtest import backtest
from hftgym.envs import MarketMakingEnv
from hftgym.params import EnvParams
from hftgym.tape import Findings, Quotes, Tape, TapeReport, Trades
from hftgym.tape.measure import quotes_at, tick_times

TICK_NS = 10_000_000
NOTHING = Findings(count=0, first=())


def make_tape(mid, half, trades=(), *, time=None, part=0.5):
    """A tape with one quote per tick; trades are (tick, price, taker side), in the middle of their tick."""
    time = 10**18 + np.arange(len(mid)) * TICK_NS if time is None else time
    size = np.ones(len(mid))
    at = np.array([10**18 + int((t + part) * TICK_NS) for t, *_ in trades], dtype=np.int64)
    return Tape(
        venue="binance-usdm",
        symbol="TEST",
        quotes=Quotes(
            exchange_ns=time, local_ns=time, bid=mid - half, bid_size=size, ask=mid + half, ask_size=size.copy()
        ),
        trades=Trades(
            exchange_ns=at,
            local_ns=at.copy(),
            price=np.array([p for _, p, _ in trades], dtype=np.float64),
            size=np.ones(len(trades)),
            taker_side=np.array([s for *_, s in trades], dtype=np.int8),
        ),
        report=TapeReport(
            path="test",
            lines=len(mid) + len(trades),
            quotes=len(mid),
            trades=len(trades),
            ignored={},
            bad_lines=NOTHING,
            crossed_quotes=NOTHING,
            backwards=NOTHING,
            gaps=NOTHING,
        ),
    )


class Scripted:
    """Plays given actions and keeps what it saw."""

    def __init__(self, actions):
        self.actions, self.seen, self.starts = iter(actions), [], []

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        self.seen.append(observation)
        self.starts.append(bool(episode_start[0]))
        return next(self.actions), state


@pytest.mark.parametrize("taking", [False, True])
def test_a_simulated_market_on_tape_looks_the_same(taking):
    params = EnvParams(horizon=400)
    env = MarketMakingEnv(params=params)
    rng = np.random.default_rng(0)
    choice = rng.integers(0, 3, 400) if taking else np.zeros(400, dtype=int)
    actions = np.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0]], dtype=np.float32)[choice]
    observation, info = env.reset(seed=4)
    seen, infos = [observation], [info]
    for action in actions:
        observation, *_, info = env.step(action)
        seen.append(observation)
        infos.append(info)
    mid = np.array([i["mid"] for i in infos])
    policy = Scripted(actions)
    result = backtest(policy, make_tape(mid, mid * params.spread / 2), params)
    # (bid + ask) / 2 from the tape is the simulator's mid to the last digit or two.
    np.testing.assert_allclose(np.array(policy.seen), np.array(seen[:-1]), atol=2e-7)
    np.testing.assert_allclose(result.equity, [i["equity"] for i in infos], rtol=1e-12)
    assert result.inventory.tolist() == [i["inventory"] for i in infos]


def test_a_resting_quote_needs_a_trade_strictly_through_it():
    params = EnvParams(horizon=5, spread=0.002, volatility=0.001)
    mid, half = np.full(6, 100.0), 0.125  # numbers without rounding
    bid = 100.0 - 2 * half  # the action 0 quotes 2 half-spreads from the mid
    below = np.nextafter(bid, 0)
    cases = {
        (1, bid, -1): 0,
        (1, np.nextafter(bid, 100), -1): 0,
        (1, below, -1): 1,
        (1, below, +1): 0,  # a buyer's trade never fills a bid
        (4, below, -1): 1,
    }
    for trade, expected in cases.items():
        result = backtest(Scripted([[0.0, 1.0]] * 5), make_tape(mid, half, [trade]), params, price_step=0)
        assert result.fill_bid.sum() == expected, trade
        assert result.fill_bid[trade[0]] == expected
        if expected:
            assert result.spread_capture.sum() == pytest.approx(2 * half, rel=1e-6)


def test_account_balances_on_tape():
    rng = np.random.default_rng(1)
    mid = 100 * np.cumprod(1 + 0.001 * rng.standard_normal(301))
    trades = [(t, mid[t] + rng.normal(0, 0.2), rng.choice([-1, 1])) for t in range(300) for _ in range(3)]
    params = EnvParams(horizon=300, maker_fee_bps=1.0)
    result = backtest(Scripted(rng.uniform(-1, 1, (300, 2))), make_tape(mid, 0.025, trades), params)
    assert result.fill_bid.sum() > 0 < result.fill_ask.sum()
    parts = result.spread_capture + result.inventory_pnl - result.fees
    np.testing.assert_allclose(np.diff(result.equity), parts, atol=1e-8)
    np.testing.assert_allclose(np.diff(result.inventory), result.fill_bid - result.fill_ask)
    assert np.abs(result.inventory).max() <= params.inventory_limit
    assert result.summary()["pnl"] == pytest.approx(parts.sum())


def test_nothing_is_seen_before_it_was_received():
    """Plant a jump: at the tick before it, neither quote nor parameters of the observation know of it."""
    mid = np.full(101, 100.0)
    mid[60:] = 200.0
    tape = make_tape(mid, 0.05)
    times = tick_times(tape, 0.01)
    bid, _ = quotes_at(tape, times)
    assert bid[59] < 101 < bid[60]
    assert quotes_at(tape, times[60:61] - 1)[0] < 101
    policy = Scripted([[1.0, 1.0]] * 100)
    backtest(policy, tape, EnvParams(horizon=100))
    assert not any(seen[[2, 4, 5]].any() for seen in policy.seen[:60])
    assert policy.seen[60][4] == 1


def test_refusals():
    tape = make_tape(np.linspace(100, 101, 11), 0.05)
    with pytest.raises(ValueError, match=r"Scripted must return two numbers in \[-1, 1\]"):
        backtest(Scripted([[0.0, np.nan]]), tape, EnvParams(horizon=1))


def test_asks_are_filled_as_bids_are():
    params = EnvParams(horizon=5, spread=0.002, volatility=0.001)
    ask = 100.25
    for price, side, expected in ((ask, 1, 0), (np.nextafter(ask, 200), 1, 1), (np.nextafter(ask, 200), -1, 0)):
        tape = make_tape(np.full(6, 100.0), 0.125, [(2, price, side)])
        result = backtest(Scripted([[1.0, 0.0]] * 5), tape, params, price_step=0)
        assert result.fill_ask.tolist() == [0, 0, expected, 0, 0]


def test_a_trade_at_the_time_of_a_decision_belongs_to_the_tick_before():
    params = EnvParams(horizon=5, spread=0.002, volatility=0.001)
    tape = make_tape(np.full(6, 100.0), 0.125, [(2, 90.0, -1)], part=0.0)
    assert backtest(Scripted([[0.0, 1.0]] * 5), tape, params).fill_bid.tolist() == [0, 1, 0, 0, 0]


def test_what_arrives_out_of_order_is_known_when_it_arrives():
    """The third quote's clock steps back: it came after the second, so it cannot have been known before it."""
    time = 10**18 + np.array([0, 2, 1, 3, 4], dtype=np.int64) * TICK_NS
    tape = make_tape(np.array([100.0, 101.0, 102.0, 103.0, 104.0]), 0.05, time=time)
    bid, _ = quotes_at(tape, tick_times(tape, 0.01))
    assert (bid + 0.05).tolist() == pytest.approx([100, 100, 102, 103, 104])


def test_a_short_tape_is_a_whole_episode():
    policy = Scripted([[1.0, 1.0]] * 10)
    backtest(policy, make_tape(np.linspace(100, 101, 11), 0.05), EnvParams(horizon=1_000))
    assert [seen[1] for seen in policy.seen] == pytest.approx(np.linspace(1, -0.8, 10))
    assert policy.starts == [True] + [False] * 9


def test_a_policy_that_names_no_sizes_trades_the_full_size():
    rng = np.random.default_rng(5)
    mid = 100 + 0.01 * rng.integers(-3, 4, 60).cumsum()
    params = EnvParams(tick_s=0.01, horizon=59, sized_actions=True)
    actions = rng.uniform(-1, 1, (59, 2))
    full = np.column_stack([actions, np.ones((59, 2))])
    two, four = (backtest(Scripted(list(rows)), make_tape(mid, 0.01), params) for rows in (actions, full))
    assert len(two.fills) == len(four.fills) > 5
    assert two.equity.tolist() == four.equity.tolist()
    with pytest.raises(ValueError, match=r"two numbers in \[-1, 1\] \(bid, ask\), or four with the sizes, got"):
        backtest(Scripted([np.zeros(3)]), make_tape(mid, 0.01), params)
