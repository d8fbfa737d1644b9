"""A session on paper is the backtest, event by event."""

import asyncio
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from hftgym.backtest import backtest
from hftgym.live.events import Status
from hftgym.live.paper import PaperBroker
from hftgym.live.session import LiveSession
from hftgym.params import EnvParams
from hftgym.policies import OnnxPolicy
from tests.live.recorded import RecordedFeed
from tests.tapes import START_NS, random_tape

AGENTS = Path(__file__).parents[2] / "agents/pretrained"
PARAMS = EnvParams(
    tick_s=0.1,
    horizon=190,
    spread=0.001,
    volatility=1e-3,
    inventory_limit=2,
    maker_fee_bps=1.0,
    taker_fee_bps=5.0,
    initial_cash=1e6,
    window=20,
)


class Drawn:
    """Plays drawn actions, holds each for some ticks, and keeps what it saw."""

    def __init__(self, seed, ticks=2_000):
        rng = np.random.default_rng(seed)
        choices = rng.choice([-1.0, -2 / 3, -1 / 3, -1 / 3, -1 / 3, 0.0, 1.0], (ticks // 5 + 1, 2))
        self.actions, self.seen, self.starts = iter(np.repeat(choices, 5, axis=0)), [], []

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        self.seen.append(observation)
        self.starts.append(bool(episode_start[0]))
        return next(self.actions), state


def played(tape, *, policy, params=PARAMS, latency_s=0.0, extra=(), ticks=None, **more):
    """Run a session on paper over a tape; return its snapshots."""
    seen = []
    session = LiveSession(
        RecordedFeed(tape, extra),
        policy,
        PaperBroker(params, latency_s=latency_s),
        params=params,
        price_step=0.1,
        clock=None,
        observers=[seen.append],
        **more,
    )
    asyncio.run(session.run(ticks))
    return seen


@pytest.mark.parametrize("latency_s", [0.0, 0.004, 0.1, 0.237])
@pytest.mark.parametrize("seed", range(5))
def test_a_session_on_paper_is_the_backtest_to_the_last_bit(seed, latency_s):
    tape, one, two = random_tape(seed), Drawn(seed), Drawn(seed)
    expected = backtest(one, tape, PARAMS, latency_s=latency_s, price_step=0.1)
    seen = played(tape, policy=two, latency_s=latency_s, ticks=190)
    assert len(expected.fills) > 20
    for name in ("mid", "bid", "ask", "inventory", "cash", "equity"):
        assert np.array_equal([getattr(s, name) for s in seen], getattr(expected, name)), name
    for name in ("spread_capture", "inventory_pnl", "fees"):
        assert np.array_equal([getattr(s, name) for s in seen[1:]], getattr(expected, name)), name
    assert np.array_equal(two.seen[:190], one.seen)
    fills = [fill for snapshot in seen for fill in snapshot.fills]
    log = expected.fills
    assert [(f.time_ns, f.side, f.price, f.size, f.fee) for f in fills] == list(
        zip(log.time_ns, log.side, log.price, log.size, log.fee, strict=True)
    )


def test_after_the_horizon_time_starts_anew_and_the_rest_goes_on():
    params = dataclasses.replace(PARAMS, horizon=50)
    tape, long, short = random_tape(3), Drawn(3), Drawn(3)
    expected = played(tape, policy=long, ticks=180)
    seen = played(tape, policy=short, params=params, ticks=180)
    assert [s.equity for s in seen] == [s.equity for s in expected]
    left = np.array(short.seen)[:, 1]
    assert left[:101:50] == pytest.approx([1, 1, 1])
    assert left[49] == pytest.approx(1 - 2 * 49 / 50)
    assert [i for i, start in enumerate(short.starts) if start] == [0, 50, 100, 150]
    rest = [i for i in range(8) if i != 1]
    assert np.array_equal(np.array(short.seen)[:, rest], np.array(long.seen)[:, rest])


def status(ms, kind):
    return Status(START_NS + ms * 1_000_000, kind, f"it is {kind}")


def test_a_break_withdraws_and_the_window_is_rebuilt_before_the_policy_is_asked():
    broken = [status(5_030, "gap"), status(7_050, "resynchronised")]
    policy = Drawn(1)
    seen = played(random_tape(1), policy=policy, extra=broken)
    states = [s.state for s in seen]
    assert states[:51] == ["trading"] * 51
    assert states[51:71] == ["withdrawn"] * 20
    assert states[71 : 71 + 19] == ["warming"] * 19
    assert set(states[90:-1]) == {"trading"}
    assert states[-1] == "stopped"  # filled after the last tick
    for snapshot in seen[51:90]:
        assert math.isnan(snapshot.quote_bid)
        assert math.isnan(snapshot.quote_ask)
    assert not any(s.fills for s in seen[53:90])
    # The account went through it whole.
    held = 0.0
    for snapshot in seen:
        held += sum(fill.side * fill.size for fill in snapshot.fills)
        assert snapshot.inventory == pytest.approx(held, abs=1e-9)
        assert snapshot.equity == pytest.approx(snapshot.cash + snapshot.inventory * snapshot.mid)
    # The first observation after the break has a full window, of prices since then alone.
    assert policy.seen[51][2] != 0
    assert policy.starts[51]


class Predicts:
    """A policy without its `act`."""

    def __init__(self, policy):
        self.predict = policy.predict


@pytest.mark.parametrize("agent", ["default", "alpha_lstm"])
def test_act_decides_as_predict_does_from_episode_to_episode_and_after_a_break(agent):
    policy = OnnxPolicy(AGENTS / f"{agent}.onnx")
    how = {
        "params": dataclasses.replace(PARAMS, horizon=50),
        "extra": [status(7_030, "gap"), status(7_050, "resynchronised")],
    }
    acted = played(random_tape(1), policy=policy, **how)
    predicted = played(random_tape(1), policy=Predicts(OnnxPolicy(AGENTS / f"{agent}.onnx")), **how)
    assert [repr(snapshot) for snapshot in acted] == [repr(snapshot) for snapshot in predicted]
    assert {s.state for s in acted} == {"trading", "warming"}
    assert sum(len(s.fills) for s in acted) > 20
    assert len({s.quote_bid - s.mid for s in acted}) > 20


def test_a_jump_of_the_clock_is_a_break():
    tape = random_tape(2)
    late = tape.quotes.local_ns + np.where(tape.quotes.local_ns > START_NS + 10**10, 3600 * 10**9, 0)
    traded = tape.trades.local_ns + np.where(tape.trades.local_ns > START_NS + 10**10, 3600 * 10**9, 0)
    jumped = dataclasses.replace(
        tape,
        quotes=dataclasses.replace(tape.quotes, local_ns=late),
        trades=dataclasses.replace(tape.trades, local_ns=traded),
    )
    seen = played(jumped, policy=Drawn(2))
    assert len(seen) < 220
    assert "warming" in {s.state for s in seen}
    assert [s.state for s in seen if s.state != "stopped"][-1] == "trading"


class Broken:
    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        raise RuntimeError("the policy fell over")


def test_whatever_goes_wrong_every_order_is_cancelled():
    cancelled = []

    class Watched(PaperBroker):
        async def cancel_all(self):
            cancelled.append(True)
            await super().cancel_all()

    session = LiveSession(
        RecordedFeed(random_tape(0)), Broken(), Watched(PARAMS), params=PARAMS, price_step=0.1, clock=None
    )
    with pytest.raises(RuntimeError, match="the policy fell over"):
        asyncio.run(session.run())
    assert cancelled == [True]
    assert (session.state, session.reason) == ("stopped", "RuntimeError: the policy fell over")


def test_ruin_stops_the_session():
    params = dataclasses.replace(PARAMS, initial_cash=0.05)
    seen = played(random_tape(4), policy=Drawn(4), params=params)
    assert seen[-1].equity <= 0
    assert all(s.equity > 0 for s in seen[:-1])
    assert seen[-1].reason.startswith("ruin")
