"""A session whose venue is lost sight of, silent, or holds something else; and one whose model changes."""

import asyncio
import logging

import pytest

from hftgym.live.broker import Fill, Holdings, cancelled
from hftgym.live.brokers.venue import RejectedError
from hftgym.live.events import Status
from hftgym.live.journal import SessionJournal, read_session
from hftgym.live.kill import KillSwitch
from hftgym.live.paper import PaperBroker
from hftgym.live.recovery import recover
from hftgym.live.replayed import replay_session
from hftgym.live.session import LiveSession
from tests.live.recorded import RecordedFeed
from tests.live.test_session import PARAMS, Drawn
from tests.tapes import START_NS, random_tape

LOST_AT = 300  # events


class Breathing(RecordedFeed):
    """Lets others have their turn after every event."""

    async def events(self):
        async for event in super().events():
            yield event
            await asyncio.sleep(0)


class Interrupted(PaperBroker):
    """Loses its messages once; the venue then tells another account."""

    TOLD = Holdings(cash=5e5, inventory=1.25)

    def __init__(self):
        super().__init__(PARAMS)
        self.events, self.lost = 0, asyncio.Event()

    def on_event(self, event):
        super().on_event(event)
        self.events += 1
        if self.events == LOST_AT:
            self.lost.set()

    async def interrupted(self):
        await self.lost.wait()
        self.lost.clear()

    async def reconcile(self):
        for _ in range(100):  # meanwhile the market goes on
            await asyncio.sleep(0)
        self._cash, self._inventory = self.TOLD.cash, self.TOLD.inventory
        return self.TOLD


def played(path, broker, *, policy=None, feed=None, **more):
    """Run a session on a random tape; return it and its snapshots."""
    seen = []

    async def run():
        session = LiveSession(
            feed or Breathing(random_tape(2)),
            policy or Drawn(2),
            broker(),
            params=PARAMS,
            price_step=0.1,
            clock=None,
            journal=journal,
            observers=[seen.append],
            **more,
        )
        await session.run(190)
        return session

    with SessionJournal(path) as journal:
        return asyncio.run(run()), seen


def records(path, kind):
    return [values for found, values in read_session(path) if found == kind]


def test_after_the_messages_broke_the_account_is_what_the_venue_says(tmp_path, caplog):
    _, seen = played(tmp_path / "x", Interrupted)
    states = [s.state for s in seen]
    order = [state for state, before in zip(states, [None, *states], strict=False) if state != before]
    assert order == ["trading", "withdrawn", "warming", "trading"]
    withdrawn = [s for s in seen if s.state in ("withdrawn", "warming")]
    assert all(s.quote_bid != s.quote_bid and s.quote_ask != s.quote_ask for s in withdrawn)
    assert records(tmp_path / "x", "holdings") == [{"cash": 5e5, "inventory": 1.25}]
    after = next(s for s in seen if s.state == "warming")
    assert (after.cash, after.inventory) == (5e5, 1.25)
    assert "cash: the session has" in caplog.text
    left = recover(tmp_path / "x")  # marks and fills agree before and after
    assert (left.cash, left.inventory) == (pytest.approx(seen[-1].cash), pytest.approx(seen[-1].inventory))
    # Of what the venue said a replay knows nothing: nothing after it is compared.
    assert 0 < replay_session(tmp_path / "x", Drawn(2)).compared < states.index("warming")


def test_the_venue_s_word_counts_at_the_start_and_a_difference_is_told(tmp_path, caplog):
    expected = Holdings(cash=PARAMS.initial_cash, inventory=3.0)
    played(tmp_path / "x", lambda: PaperBroker(PARAMS), expected=expected)
    assert records(tmp_path / "x", "start")[0]["inventory"] == 0.0
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "inventory: the journal has 3, the venue 0, which counts"
    ]


class Silent(PaperBroker):
    async def cancel_all(self):
        await asyncio.Event().wait()


def test_a_silent_venue_cannot_hold_the_session_back(tmp_path, caplog):
    session, _ = played(tmp_path / "x", lambda: Silent(PARAMS), leave_s=0.05)
    assert not session.confirmed
    assert "the venue has not confirmed that every order is cancelled" in recover(tmp_path / "x").stop
    assert "may still rest at the venue: paper" in caplog.text


def observers_know_what_the_journal_knows(path, seen):
    """Assert that account and fills are the same, and that the parts of the PnL make all of it."""
    left = recover(path)
    assert (left.cash, left.inventory) == (pytest.approx(seen[-1].cash), pytest.approx(seen[-1].inventory))
    assert [fill._asdict() for s in seen for fill in s.fills] == records(path, "fill")
    parts = sum(s.spread_capture + s.inventory_pnl - s.fees for s in seen)
    assert parts == pytest.approx(seen[-1].equity - seen[0].equity, abs=1e-6)
    assert seen[-1].equity == pytest.approx(left.cash + left.inventory * seen[-1].mid)


class Late(PaperBroker):
    """A fill becomes known while every order is being cancelled, which may also be refused."""

    FILL = Fill(1, 1, 100.0, 0.5, 0.25, "late")

    def __init__(self, *, refused):
        super().__init__(PARAMS)
        self.refused, self.late = refused, []

    async def cancel_all(self):
        self.late.append(self.FILL)
        if self.refused:
            raise RejectedError("these keys are not valid any more")
        await super().cancel_all()

    def take_fills(self, now_ns):
        fills = [*super().take_fills(now_ns), *self.late]
        self.late.clear()
        return fills


@pytest.mark.parametrize("refused", [False, True])
def test_what_is_filled_at_the_end_is_written_down_and_the_reason_too(tmp_path, caplog, refused):
    session, seen = played(tmp_path / "x", lambda: Late(refused=refused))
    assert session.confirmed is not refused
    assert [fill["order_id"] for fill in records(tmp_path / "x", "fill")].count("late") == 1
    left = recover(tmp_path / "x")
    observers_know_what_the_journal_knows(tmp_path / "x", seen)
    assert (seen[-1].state, seen[-1].reason) == ("stopped", left.stop)
    assert "late" in [fill.order_id for fill in seen[-1].fills]
    assert ("the venue has not confirmed" in left.stop) is refused
    assert ("these keys are not valid any more; may still rest at the venue" in caplog.text) is refused


class InTheBreak(Late):
    """A fill becomes known after the break and before the window is begun anew."""

    def on_event(self, event):
        super().on_event(event)
        if isinstance(event, Status) and event.kind == "resynchronised":
            self.late.append(self.FILL)


def test_what_is_filled_in_a_break_is_in_the_account_and_in_the_journal(tmp_path):
    statuses = [
        Status(START_NS + ms * 1_000_000, kind, kind) for ms, kind in ((8_030, "gap"), (9_050, "resynchronised"))
    ]
    feed = Breathing(random_tape(2), statuses)
    _, seen = played(tmp_path / "x", lambda: InTheBreak(refused=False), feed=feed)
    anew = next(i for i, s in enumerate(seen) if s.state == "warming")
    assert seen[anew].inventory - seen[anew - 1].inventory == pytest.approx(0.5)
    assert seen[anew].cash - seen[anew - 1].cash == pytest.approx(-50.25)
    observers_know_what_the_journal_knows(tmp_path / "x", seen)


def test_who_stops_a_withdrawn_session_is_the_reason_not_the_break_before(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="hftgym")
    feed = Breathing(random_tape(2), [Status(START_NS + 8_030_000_000, "gap", "a number is missing")])
    played(tmp_path / "x", lambda: PaperBroker(PARAMS), feed=feed)
    assert recover(tmp_path / "x").stop == "190 ticks have passed"
    told = [(r.message, getattr(r, "reason", "")) for r in caplog.records if r.message in ("withdrawn", "stop")]
    assert told == [("withdrawn", "a number is missing"), ("stop", "190 ticks have passed")]


def test_what_is_filled_while_the_broker_asks_is_counted_once(tmp_path):
    class Asked(Interrupted):
        async def reconcile(self):
            held = await super().reconcile()  # which the fill is in already
            self._fills.append(Late.FILL)
            return held

    _, seen = played(tmp_path / "x", Asked)
    after = next(s for s in seen if s.state == "warming")
    assert (after.cash, after.inventory) == (Asked.TOLD.cash, Asked.TOLD.inventory)
    assert [fill["order_id"] for fill in records(tmp_path / "x", "fill")].count("late") == 1
    assert [fill._asdict() for s in seen for fill in s.fills] == records(tmp_path / "x", "fill")
    recover(tmp_path / "x")


def test_a_feed_that_is_whole_again_does_not_trade_while_the_broker_s_messages_are_broken(tmp_path):
    statuses = [
        Status(START_NS + ms * 1_000_000, kind, kind) for ms, kind in ((8_030, "gap"), (9_050, "resynchronised"))
    ]
    until_ns, told_ns = START_NS + 12_000_000_000, []

    class Slow(Interrupted):
        def on_event(self, event):
            super().on_event(event)
            self.now_ns = event.received_ns

        async def reconcile(self):
            while self.now_ns < until_ns:
                await asyncio.sleep(0)
            told_ns.append(self.now_ns)
            return await super().reconcile()

    _, seen = played(tmp_path / "x", Slow, feed=Breathing(random_tape(2), statuses))
    began_ns = next(s.time_ns for s in seen if s.state == "withdrawn")
    assert began_ns < statuses[0].received_ns
    between = [s.state for s in seen if began_ns <= s.time_ns < told_ns[0]]
    assert set(between) == {"withdrawn"}
    assert seen[-1].state == "trading"


def test_a_venue_that_never_answers_at_the_start_is_left_when_the_switch_is_engaged(tmp_path):
    kill = KillSwitch()

    class Mute(PaperBroker):
        async def start(self):
            kill.engage("enough")
            await asyncio.Event().wait()

    session, seen = played(tmp_path / "x", lambda: Mute(PARAMS), kill=kill)
    assert (session.reason, session.confirmed, seen) == ("enough", False, [])
    assert list(read_session(tmp_path / "x")) == []


@pytest.mark.slow
def test_the_orders_that_a_silent_exchange_may_still_have_are_named(caplog):
    from tests.live.venues import bench

    async def run():
        async with bench("ccxt", units=5.0) as b:
            await b.start()
            await b.quoted(99.5, 100.5, 1.0, 1.0)
            for kind in ("cancel", "look", "openOrders"):
                b.exchange.upset(kind, *["deaf"] * 10_000)
            assert not await cancelled(b.broker, within_s=0.5)
            return [order.client_id for order in b.exchange.open()]

    names = asyncio.run(run())
    assert len(names) == 2
    assert all(name in caplog.text for name in names)


class Swapped(Drawn):
    """Another model from tick 100 on."""

    path = "model.onnx"

    def predict(self, *args, **named):
        action, state = super().predict(*args, **named)
        return (action if len(self.seen) <= 100 else -action), state

    @property
    def sha256(self):
        return "old" if len(self.seen) <= 100 else "new"


def test_a_replay_stops_comparing_where_another_model_took_over(tmp_path):
    played(tmp_path / "x", lambda: PaperBroker(PARAMS), policy=Swapped(2))
    models = [(tick, sha256) for tick, _, sha256 in replay_session(tmp_path / "x", Drawn(2)).recorded.models]
    assert models == [(0, "old"), (100, "new")]
    replayed = replay_session(tmp_path / "x", Drawn(2))
    assert (replayed.compared, replayed.differing) == (100, ())
