"""A session with its limits and its journal: what the gate stops, what is written down, and that it replays."""

import asyncio
import dataclasses
import resource
import signal
import time

import numpy as np
import pytest

from hftgym.backtest import backtest
from hftgym.live.broker import NOTHING
from hftgym.live.events import Quote
from hftgym.live.journal import JournalError, SessionJournal, events_of, read_session
from hftgym.live.paper import PaperBroker
from hftgym.live.recovery import recover
from hftgym.live.replayed import replay_session
from hftgym.live.risk import RiskGate, RiskLimits
from hftgym.live.session import LiveSession
from hftgym.policies import FixedSpreadPolicy
from tests.live.recorded import RecordedFeed
from tests.live.test_session import PARAMS, Drawn
from tests.tapes import random_tape

WIDE = RiskLimits(
    max_inventory=1e3, max_order_size=1e3, max_loss=1e9, max_orders_per_s=1e3, collar=0.5, max_latency_s=60
)
LATENCY_S = 0.004


def begun(path, limits):
    """Begin a journal."""
    journal = SessionJournal(path)
    told = {"params": PARAMS.to_dict(), "limits": limits.to_dict(), "venue": "test", "symbol": "TEST"}
    journal.append("start", **told, price_step=0.1, latency_s=LATENCY_S)
    return journal


def played(seed, *, limits, journal, broker=None):
    """Run a session on paper over a random tape; return its snapshots and its gate."""
    seen, gate = [], RiskGate(limits)
    session = LiveSession(
        RecordedFeed(random_tape(seed)),
        Drawn(seed),
        broker or PaperBroker(PARAMS, latency_s=LATENCY_S),
        params=PARAMS,
        price_step=0.1,
        gate=gate,
        journal=journal,
        clock=None,
        observers=[seen.append],
    )
    asyncio.run(session.run(190))
    return seen, gate


def test_wide_limits_change_nothing_and_the_journal_replays_to_the_same_decisions_and_fills(tmp_path):
    with begun(tmp_path / "x", WIDE) as journal:
        seen, gate = played(5, limits=WIDE, journal=journal)
    assert sum(gate.counts.values()) == 0
    expected = backtest(Drawn(5), random_tape(5), PARAMS, latency_s=LATENCY_S, price_step=0.1)
    np.testing.assert_array_equal([s.equity for s in seen], expected.equity)
    replayed = replay_session(tmp_path / "x", Drawn(5))
    assert (replayed.compared, replayed.differing) == (
        189,
        (),
    )  # of 190 ticks the last is not whole: nothing came later
    log = replayed.backtest.fills
    replayed_fills = list(zip(log.side, log.price, log.size, log.fee, strict=True))
    fills = [(fill.side, fill.price, fill.size, fill.fee) for fill in replayed.recorded.fills]
    assert fills[: len(replayed_fills)] == replayed_fills
    assert len(replayed_fills) >= len(fills) - 2 > 20
    assert len(list(events_of(tmp_path / "x"))) > 500
    found = recover(tmp_path / "x")
    assert (found.cash, found.inventory, found.ticks) == (seen[-1].cash, seen[-1].inventory, len(seen))
    assert found.stop == "190 ticks have passed"


def test_a_recording_is_played_the_same_however_slow_the_machine_is(tmp_path):
    slow = dataclasses.replace(WIDE, max_latency_s=1e-9)
    with begun(tmp_path / "x", slow) as journal:
        seen, _ = played(5, limits=slow, journal=journal)
    expected = backtest(Drawn(5), random_tape(5), PARAMS, latency_s=LATENCY_S, price_step=0.1)
    np.testing.assert_array_equal([s.equity for s in seen], expected.equity)


def test_the_state_can_be_recovered_after_every_single_record(tmp_path):
    with begun(tmp_path / "x", WIDE) as journal:
        seen, _ = played(6, limits=WIDE, journal=journal)
    marks = {s.tick: (s.cash, s.inventory) for s in seen}
    lines = (tmp_path / "x").read_bytes().splitlines(keepends=True)
    kinds = [record.kind for record in read_session(tmp_path / "x")]
    for count in [n for n, kind in enumerate(kinds, 1) if kind == "mark"][::20]:
        (tmp_path / "cut").write_bytes(b"".join(lines[:count]))
        found = recover(tmp_path / "cut")
        assert (found.cash, found.inventory) == marks[found.ticks - 1]


@pytest.mark.parametrize("seed", range(4))
def test_the_position_on_paper_stays_within_the_limit(tmp_path, seed):
    limits = dataclasses.replace(WIDE, max_inventory=1.0)
    # On paper a repeated order that was filled meanwhile is posted anew on arrival: the broker must know the limit.
    broker = PaperBroker(PARAMS, latency_s=LATENCY_S, max_inventory=limits.max_inventory)
    with begun(tmp_path / "x", limits) as journal:
        seen, gate = played(seed, limits=limits, journal=journal, broker=broker)
    assert max(abs(s.inventory) for s in seen) == pytest.approx(1.0, abs=1e-9)
    assert gate.counts["inventory"] > 0


def test_ticks_end_while_nothing_comes_and_what_was_quoted_is_withdrawn():
    class Mute(RecordedFeed):
        async def events(self):
            yield Quote(time.time_ns(), 0, 99.9, 1.0, 100.1, 1.0)
            await asyncio.Event().wait()

    class Noting(PaperBroker):
        def quote(self, wanted, now_ns):
            told.append(wanted)
            super().quote(wanted, now_ns)

    async def run():
        async with asyncio.timeout(60):
            await session.run(20)

    told, params = [], dataclasses.replace(PARAMS, tick_s=0.01)
    gate = RiskGate(dataclasses.replace(WIDE, max_data_age_s=0.05))
    policy = FixedSpreadPolicy(1.0, params=params)
    session = LiveSession(Mute(random_tape(0)), policy, Noting(params), params=params, gate=gate)
    asyncio.run(run())
    assert session.reason == "20 ticks have passed"
    assert told[0] != NOTHING
    assert told[-1] == NOTHING
    assert gate.counts["stale"] > 10


def test_a_maximum_loss_stops_the_session_for_good(tmp_path):
    limits = dataclasses.replace(WIDE, max_loss=0.5)
    with begun(tmp_path / "x", limits) as journal:
        seen, gate = played(0, limits=limits, journal=journal)
    assert gate.tripped is not None
    tripped = next(i for i, s in enumerate(seen) if s.equity <= seen[0].equity - limits.max_loss)
    assert len(seen) <= tripped + 2
    assert all(np.isnan(s.quote_bid) and np.isnan(s.quote_ask) for s in seen[tripped:])
    assert recover(tmp_path / "x").stop == gate.tripped


def test_a_full_disk_cancels_everything_and_stops_with_its_reason(tmp_path):
    cancelled = []

    class Watched(PaperBroker):
        async def cancel_all(self):
            cancelled.append(True)
            await super().cancel_all()

    journal = begun(tmp_path / "x", WIDE)
    limits, before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with pytest.raises(JournalError, match="the session must withdraw and stop"):
            played(7, limits=WIDE, journal=journal, broker=Watched(PARAMS))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
        journal.close()
    assert cancelled == [True]
    assert recover(tmp_path / "x").ticks > 0
