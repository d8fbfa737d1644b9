"""A session's journal replays to the decisions of the session."""

import numpy as np
import pytest

from hftgym.backtest import backtest
from hftgym.live.events import Quote, Status, Trade
from hftgym.live.journal import JournalError, SessionJournal
from hftgym.live.replayed import replay_session
from hftgym.params import EnvParams
from hftgym.policies import FixedSpreadPolicy, ZScorePolicy
from hftgym.tape import simulate_tape
from hftgym.tape.order import merge_order

PARAMS = EnvParams(tick_s=0.1, horizon=300, maker_fee_bps=-0.5)
TICKS, BROKEN = 200, 120


@pytest.fixture(scope="module")
def tape():
    return simulate_tape(PARAMS, ticks=TICKS, seed=3, price_step=0.01)


class Deciding:
    """The z-score rule, and what it decided."""

    def __init__(self):
        self.rule, self.actions = ZScorePolicy(), []

    def predict(self, observation, **named):
        action, state = self.rule.predict(observation, **named)
        self.actions.append(np.array(action))
        return action, state


def events_of(tape):
    quotes, trades = tape.quotes, tape.trades
    rows = [
        (Quote(*row) for row in zip(*(getattr(quotes, name).tolist() for name in names_of(Quote)), strict=True)),
        (Trade(*row) for row in zip(*(getattr(trades, name).tolist() for name in names_of(Trade)), strict=True)),
    ]
    return [next(rows[is_trade]) for is_trade in merge_order(quotes, trades).astype(int)]


def names_of(kind):
    return ["local_ns" if name == "received_ns" else name for name in kind._fields]


def journalled(path, tape, *, alter=None, broken=False):
    """Write a session that decides as a backtest of the tape does, one decision after the events of its tick."""
    policy = Deciding()
    result = backtest(policy, tape, PARAMS, latency_s=0.01, price_step=0.01)
    actions = [action + (tick == alter) * 2**-20 for tick, action in enumerate(policy.actions)]
    with SessionJournal(path) as journal:
        start = {"params": PARAMS.to_dict(), "limits": {}, "venue": tape.venue, "symbol": tape.symbol}
        journal.append("start", **start, price_step=0.01, latency_s=0.01)
        tick, first_ns = 0, tape.quoted_ns[0]
        for event in events_of(tape):
            while tick < len(actions) and event.received_ns > first_ns + round(tick * PARAMS.tick_s * 1e9):
                if broken and tick == BROKEN:
                    journal.append_event(Status(event.received_ns, "disconnected", "connection reset"))
                journal.append("decision", tick=tick, action=actions[tick], wanted=[0.0] * 4)
                tick += 1
            journal.append_event(event)
    return result


def test_what_a_session_saw_is_its_tape_and_decides_the_same(tmp_path, tape):
    expected = journalled(tmp_path / "x", tape)
    replayed = replay_session(tmp_path / "x", ZScorePolicy())
    for rows in ("quotes", "trades"):
        mine, theirs = getattr(replayed.recorded.tape, rows), getattr(tape, rows)
        for name in theirs.__slots__:
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name), strict=True)
    assert (replayed.compared, replayed.differing) == (len(expected.reward), ())
    assert len(expected.fills) > 0
    np.testing.assert_array_equal(replayed.backtest.equity, expected.equity)
    assert replayed.recorded.tape.report.quotes == len(tape.quotes)


def test_another_policy_and_a_changed_decision_differ(tmp_path, tape):
    journalled(tmp_path / "x", tape, alter=77)
    assert replay_session(tmp_path / "x", ZScorePolicy()).differing == (77,)
    assert len(replay_session(tmp_path / "x", FixedSpreadPolicy(3.0)).differing) > TICKS / 2


def test_decisions_after_the_stream_broke_are_not_compared(tmp_path, tape):
    journalled(tmp_path / "x", tape, alter=BROKEN + 1, broken=True)
    replayed = replay_session(tmp_path / "x", ZScorePolicy())
    assert (replayed.compared, replayed.differing) == (BROKEN, ())


def test_every_session_of_a_journal_can_be_replayed(tmp_path, tape):
    journalled(tmp_path / "x", tape, alter=5)
    journalled(tmp_path / "x", tape)
    assert [replay_session(tmp_path / "x", ZScorePolicy(), session=k).differing for k in (0, 1, -2)] == [(5,), (), (5,)]
    with pytest.raises(JournalError, match="x: session must be one of 2 sessions, got 2"):
        replay_session(tmp_path / "x", ZScorePolicy(), session=2)


def test_a_session_that_saw_nothing_cannot_be_replayed(tmp_path):
    with SessionJournal(tmp_path / "x") as journal:
        start = {"params": PARAMS.to_dict(), "limits": {}, "venue": "v", "symbol": "s"}
        journal.append("start", **start, price_step=None, latency_s=0.0)
    with pytest.raises(JournalError, match="x: the session has seen no quote, there is nothing to replay"):
        replay_session(tmp_path / "x", ZScorePolicy())
