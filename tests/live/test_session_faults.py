"""A whole session through a real WebSocket and every fault of a feed: what it does is what the break alone would do.

Three laws. What the feed tells is the tape with the break in its place. The session over the socket does, to the last
bit, what the same session does that is told the break without any socket. And after the window has been rebuilt the
market is seen as in a session that nothing has happened to.
"""

import itertools
from functools import cache

import numpy as np
import pytest

from hftgym.live.connection import Limits
from hftgym.live.events import Quote, Status, Trade
from hftgym.live.journal import SessionJournal, events_of
from hftgym.live.recovery import recover
from hftgym.observation import MARKET_FEATURES
from tests.live.faulted import QUICK, TICKS, in_process, messages, rows, through_a_socket
from tests.live.feeds import kinds
from tests.live.test_session import PARAMS
from tests.servers.binance import SHUTDOWN
from tests.servers.played import cut, cut_in_a_fragment, hang, in_fragments, ping, rollover, silent
from tests.tapes import random_tape

AT = 420  # the row before which it goes wrong: a quote, at a tick in which orders rest
OVERSIZED = b"x" * (QUICK.message_bytes + 1)


@cache
def undisturbed():
    events = tuple(rows(random_tape(7)))
    first = events[0].received_ns
    return events, in_process([Status(first, "connected", ""), Status(first, "resynchronised", ""), *events])


def broken(events, at, *kind, lost=0):
    """The events with a break before row `at`: the statuses there, and "resynchronised" before the next quote."""
    found, out_of_step = [Status(events[0].received_ns, "connected", "")], True
    for row, event in enumerate(events):
        before = found[-1].received_ns
        if row == at:
            found += [Status(before, one, "") for one in kind]
            out_of_step = True
        if at <= row < at + lost:
            continue
        if out_of_step and isinstance(event, Quote):
            found.append(Status(found[-1].received_ns, "resynchronised", ""))
            out_of_step = False
        found.append(event)
    return found


def without_text(events):
    return [event._replace(text="") if isinstance(event, Status) else event for event in events]


def check_break(connections, expected, *, counted, limits=QUICK, tmp_path):
    """Assert all laws of a break before row `AT`; return what happened."""
    events, calm = undisturbed()
    with SessionJournal(tmp_path / "journal") as journal:
        ran = through_a_socket(events, connections, limits=limits, journal=journal)
    assert without_text(ran.told) == expected[: len(ran.told)]
    oracle = in_process(expected)
    assert ran.shown() == oracle.shown()
    assert np.array_equal(ran.seen, oracle.seen)
    for name, count in counted.items():
        assert getattr(ran.counters, name) == count, name
    check_states(ran, calm, events[AT - 1].received_ns)
    left, last = recover(tmp_path / "journal"), ran.snapshots[-1]
    assert (left.cash, left.inventory, left.ticks) == (last.cash, last.inventory, len(ran.snapshots))
    written = list(events_of(tmp_path / "journal"))
    assert len(written) >= len(ran.told) - 1  # the one that ends the last tick comes after it
    assert written == ran.told[: len(written)]
    return ran


def check_states(ran, calm, broke_ns):
    """As nothing had happened before; then withdrawn, then a window of warming, then the market as if never broken."""
    before = sum(s.time_ns <= broke_ns for s in calm.snapshots)
    assert ran.shown()[:before] == calm.shown()[:before]
    states = [s.state for s in ran.snapshots]
    phases = [state for state, _ in itertools.groupby(states)]
    assert [phase for phase in phases if phase != "withdrawn"] == ["trading", "warming", "trading"]
    assert states.count("warming") == PARAMS.window - 1
    for s in ran.snapshots:
        if s.state != "trading":
            assert np.isnan([s.quote_bid, s.quote_ask]).all()
            assert s.time_ns < broke_ns + 2e8 or not s.fills  # what was on its way when the orders were withdrawn
        assert s.equity == pytest.approx(s.cash + s.inventory * s.mid, rel=1e-12)
    again = len(states) - states[::-1].index("warming")
    decided = states[:again].count("trading")
    market = list(MARKET_FEATURES)
    np.testing.assert_allclose(
        np.array(ran.seen)[decided:, market], np.array(calm.seen)[again:, market], rtol=0, atol=1e-6
    )


LOST = [cut, cut_in_a_fragment, hang, rollover]


@pytest.mark.parametrize(
    "fault", [f if f is cut_in_a_fragment else pytest.param(f, marks=pytest.mark.slow) for f in LOST]
)
def test_a_lost_connection(fault, tmp_path):
    events, _ = undisturbed()
    sent = messages(events)
    expected = broken(events, AT, "disconnected", "connected")
    counted = {"reconnects": 1, "garbage": 0, "gaps": 0, "duplicates": 0}
    check_break([[*sent[:AT], fault], sent[AT:]], expected, counted=counted, tmp_path=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "kind", "garbage"),
    [
        (SHUTDOWN, "shutdown", 0),
        (OVERSIZED, "disconnected", 1),
        (in_fragments(OVERSIZED, 1_000), "disconnected", 1),
    ],
    ids=["shutdown notice", "oversized", "oversized in fragments"],
)
def test_what_ends_a_connection(fault, kind, garbage, tmp_path):
    events, _ = undisturbed()
    sent = messages(events)
    expected = broken(events, AT, kind, "connected")
    counted = {"reconnects": 1, "garbage": garbage, "gaps": 0}
    check_break([[*sent[:AT], fault], sent[AT:]], expected, counted=counted, tmp_path=tmp_path)


@pytest.mark.slow
def test_what_is_lost_while_there_is_no_connection(tmp_path):
    events, _ = undisturbed()
    sent, lost = messages(events), 70  # about a second of the market
    expected = broken(events, AT, "disconnected", "connected", lost=lost)
    check_break([[*sent[:AT], cut], sent[AT + lost :]], expected, counted={"reconnects": 1}, tmp_path=tmp_path)


@pytest.mark.slow
def test_a_silence(tmp_path):
    events, _ = undisturbed()
    sent = messages(events)
    limits = Limits(stale_s=1.0, silence_s=30.0)
    connections = [[*sent[:AT], silent(2.0), *sent[AT:]]]
    check_break(connections, broken(events, AT, "stale"), counted={"reconnects": 0}, limits=limits, tmp_path=tmp_path)


def next_trade(events, at):
    return next(row for row in range(at, len(events)) if isinstance(events[row], Trade))


def test_a_gap(tmp_path):
    """A trade is missing, another one comes late: the late one is dropped."""
    events, _ = undisturbed()
    sent = messages(events)
    hole = next_trade(events, AT)
    told_at = next_trade(events, hole + 1)
    late = next_trade(events, told_at + 1)
    sent = [*sent[:hole], *sent[hole + 1 : late], sent[hole], *sent[late:]]
    kept = [event for row, event in enumerate(events) if row != hole]
    expected = broken(kept, told_at - 1, "gap")
    ran = through_a_socket(events, [sent], limits=QUICK)
    assert without_text(ran.told) == expected[: len(ran.told)]
    assert ran.shown() == in_process(expected).shown()
    assert (ran.counters.gaps, ran.counters.duplicates, ran.counters.reconnects) == (1, 1, 0)
    assert [s.state for s in ran.snapshots].count("warming") == PARAMS.window - 1


def test_what_a_session_must_not_notice():
    """Duplicates, what was overtaken, garbage, replies, and pings: as if they had not been sent."""
    events, calm = undisturbed()
    sent, script = messages(events), []
    garbage = [b"", b"{", b"\xff\xfe", b"[" * 3_000, b'{"stream":', b'{"stream":"btcusdt@trade","data":{"p":"nan"}}']
    noise = itertools.cycle(garbage)
    for row, message in enumerate(sent):
        script += [
            message,
            *([message] if row % 3 == 0 else []),
            *([sent[row - 5]] if row > 5 and row % 7 == 0 else []),
        ]
        script += [next(noise)] if row % 5 == 0 else []
        script += [ping] if row % 400 == 399 else []
    ran = through_a_socket(events, [script], limits=QUICK)
    assert ran.shown() == calm.shown()
    assert np.array_equal(ran.seen, calm.seen)
    assert ran.counters.garbage > 100
    assert ran.counters.duplicates > 300
    assert (ran.counters.gaps, ran.counters.reconnects) == (0, 0)
    assert ran.counters.pings >= 2


@pytest.mark.slow
def test_a_session_of_many_lifetimes():
    """The venue closes every connection after its lifetime, here of 300 messages."""
    events, _ = undisturbed()
    sent, lifetime = messages(events), 300
    lives = [sent[i : i + lifetime] for i in range(0, len(sent), lifetime)]
    ran = through_a_socket(events, [*([*life, rollover] for life in lives[:-1]), lives[-1]], limits=QUICK)
    told = [event for event in ran.told if not isinstance(event, Status)]
    assert told == list(events[: len(told)])  # nothing lost, nothing twice
    oracle = in_process(ran.told)
    assert ran.shown() == oracle.shown()
    assert kinds([e for e in ran.told if isinstance(e, Status)]) == [
        "connected",
        "resynchronised",
        *["disconnected", "connected", "resynchronised"] * ran.counters.reconnects,
    ]
    assert ran.counters.reconnects >= 3
    assert ran.snapshots[-1].state in ("trading", "warming")
    assert len(ran.snapshots) == TICKS + 1
