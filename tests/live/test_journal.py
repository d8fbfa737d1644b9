"""The journal of a session: what survives, what is refused, and that nothing is half-written."""

import itertools
import math
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hftgym.live.broker import OpenOrder
from hftgym.live.events import Quote, Status, Trade
from hftgym.live.journal import JournalError, Record, SessionJournal, events_of, read_session
from hftgym.live.recovery import recover
from tests.live.journalled import START, check, session

ROOT = Path(__file__).parents[2]


@contextmanager
def disk_of(size):
    """No file of this process may grow beyond a size: what a full disk looks like."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def written(path, count):
    with SessionJournal(path) as journal:
        for kind, values in itertools.islice(session(), count):
            journal.append(kind, **values)
    return path


def test_what_was_appended_is_read_back_and_can_be_read_while_it_is_written(tmp_path):
    with SessionJournal(tmp_path / "x") as journal:
        assert journal.empty
        journal.append("start", **START)
        events = [Quote(1, 2, 0.1, 1e-8, 0.1 + 0.2, 3.0), Trade(2, -(2**63), 5e-324, 1e290, -1), Status(3, "gap", "é")]
        for event in events:
            journal.append_event(event)
        journal.append("decision", tick=np.int64(0), action=np.array([0.1, -1.0]), wanted=[math.nan, np.float64(1.5)])
        journal.append("stop", reason="kill switch")
        found = list(read_session(tmp_path / "x"))
    assert found[0] == Record("start", START)
    assert found[-2].values == {"tick": 0, "action": [0.1, -1.0], "wanted": [None, 1.5]}
    assert list(events_of(tmp_path / "x")) == events
    assert recover(tmp_path / "x").stop == "kill switch"
    with SessionJournal(tmp_path / "x") as journal:
        assert not journal.empty


def test_every_line_can_be_read_by_tail_and_grep(tmp_path):
    last = written(tmp_path / "x", 30).read_text().splitlines()[-1]
    assert last[9:].startswith('{"record":"')


@pytest.mark.slow
def test_a_kill_at_twenty_moments_loses_nothing_that_was_acknowledged(tmp_path):
    kill(tmp_path, 20)


@pytest.mark.slow
def test_a_kill_at_two_hundred_moments_loses_nothing_that_was_acknowledged(tmp_path):
    kill(tmp_path, 200)


def kill(folder, count):
    command = [sys.executable, "-m", "tests.live.journalled", str(folder), str(count), str(os.getpid())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    kills, grown, _ = map(int, done.stdout.split())
    assert kills == count
    assert grown > count / 4  # most kills fell while it wrote


def test_an_end_torn_anywhere_is_cut_and_the_session_goes_on(tmp_path):
    whole = written(tmp_path / "whole", 60).read_bytes()
    ends = {at + 1 for at, byte in enumerate(whole) if byte == ord("\n")}
    path = tmp_path / "torn"
    for length in range(len(whole) - 400, len(whole)):
        path.write_bytes(whole[:length])
        count = whole[:length].count(b"\n")
        assert check(path, 0) == count
        with SessionJournal(path) as journal:
            assert path.stat().st_size == max(end for end in ends | {0} if end <= length)
            for kind, values in itertools.islice(session(), count, 60):
                journal.append(kind, **values)
        assert path.read_bytes() == whole


def test_a_tail_of_zeros_as_a_loss_of_power_leaves_it_is_cut(tmp_path):
    path = written(tmp_path / "x", 40)
    path.write_bytes(path.read_bytes()[:-20] + bytes(4_096))
    assert check(path, 39) == 39


@pytest.fixture(scope="session")
def sound(tmp_path_factory):
    return written(tmp_path_factory.mktemp("journal") / "x", 40).read_bytes()


@settings(max_examples=200)
@given(data=st.data())
def test_a_flipped_byte_anywhere_is_refused_with_its_place(sound, tmp_path_factory, data):
    at = data.draw(st.integers(0, len(sound) - 1))
    damaged = bytearray(sound)
    damaged[at] ^= data.draw(st.integers(1, 255))
    refused(tmp_path_factory.getbasetemp() / "flipped", damaged, line=sound[:at].count(b"\n") + 1)


def test_lines_removed_doubled_or_swapped_are_refused(tmp_path, sound):
    lines = sound.splitlines(keepends=True)
    refused(tmp_path / "x", b"".join(lines[:5] + lines[6:]), line=6)
    refused(tmp_path / "x", b"".join(lines[:6] + lines[5:]), line=7)
    refused(tmp_path / "x", b"".join([*lines[:5], lines[6], lines[5], *lines[7:]]), line=6)


def test_a_damaged_newline_before_a_torn_line_does_not_hide_a_record(tmp_path, sound):
    lines = sound.splitlines(keepends=True)
    refused(tmp_path / "x", b"".join(lines[:-1])[:-1] + b" " + lines[-1][:20], line=len(lines) - 1)


def refused(path, data, *, line):
    path.write_bytes(data)
    for use in (SessionJournal, lambda path: list(read_session(path)), recover):
        with pytest.raises(JournalError, match=rf"{path.name}: damaged in line {line}, at byte \d+"):
            use(path)
    assert path.read_bytes() == bytes(data)  # and left as it is


def write_until_it_fails(journal):
    for kind, values in session():
        journal.append(kind, **values)


@pytest.mark.parametrize("size", [200_000, 200_001, 200_050, 200_099])
def test_a_full_disk_is_told_and_leaves_whole_records_only(tmp_path, size):
    journal = SessionJournal(tmp_path / "x")
    with disk_of(size):
        with pytest.raises(JournalError, match=r"x: the journal cannot be written: .*; the session must withdraw"):
            write_until_it_fails(journal)
        with pytest.raises(JournalError, match="must withdraw and stop"):  # from now on, whatever it is
            journal.append("order", order_id="x", side=1, price=1.0, size=1.0)
        journal.close()
    assert (tmp_path / "x").read_bytes().endswith(b"\n")
    assert (tmp_path / "x").stat().st_size > size - 70_000  # what waits in memory is lost, and no more
    assert check(tmp_path / "x", 1) > 20
    SessionJournal(tmp_path / "x").close()


def test_two_sessions_on_one_journal_refuse_each_other(tmp_path):
    with SessionJournal(tmp_path / "x") as journal:
        journal.append("start", **START)
        with pytest.raises(JournalError, match="x: another session is writing this journal"):
            SessionJournal(tmp_path / "x")
        code = "import sys; from hftgym.live.journal import SessionJournal; SessionJournal(sys.argv[1])"
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "x")], capture_output=True, text=True, cwd=ROOT, check=False
        )
        assert "another session is writing this journal" in done.stderr
    SessionJournal(tmp_path / "x").close()


def test_a_record_that_cannot_be_written_leaves_the_journal_as_it_was(tmp_path):
    with SessionJournal(tmp_path / "x") as journal:
        journal.append("start", **START)
        with pytest.raises(ValueError, match=r"kind must be one of cancel, closed, .*, got 'order placed'"):
            journal.append("order placed")
        with pytest.raises((TypeError, AttributeError)):
            journal.append("order", order_id=object())
        journal.append("stop", reason="end")
    assert [record.kind for record in read_session(tmp_path / "x")] == ["start", "stop"]
    with pytest.raises(ValueError, match="the journal is closed"):
        journal.append("stop", reason="end")


def test_a_late_fill_after_a_cancel_and_a_restart_are_booked(tmp_path):
    with SessionJournal(tmp_path / "x") as journal:
        journal.append("start", **START)
        for name, side in (("a", 1), ("b", -1), ("c", 1)):
            journal.append("order", order_id=name, side=side, price=100.0, size=2.0)
        journal.append("cancel", order_id="a")
        journal.append("closed", order_id="c", reason="rejected")
        journal.append("fill", time_ns=1, side=1, price=100.0, size=0.5, fee=0.1, order_id="a")
    found = recover(tmp_path / "x")
    assert (found.cash, found.inventory, found.next_order) == (9_949.9, 0.5, 3)
    assert found.orders == (
        OpenOrder(order_id="b", side=-1, price=100.0, left=2.0),
        OpenOrder(order_id="a", side=1, price=100.0, left=1.5),
    )
    with SessionJournal(tmp_path / "x") as journal:
        journal.append("start", **START)  # the broker has cancelled what was left
        journal.append("fill", time_ns=2, side=1, price=100.0, size=1.5, fee=0.0, order_id="a")
        journal.append("holdings", cash=9_000.0, inventory=3.0)
        journal.append("mark", tick=0, mid=100.0, cash=9_000.0, inventory=3.0, equity=9_300.0)
    found = recover(tmp_path / "x")
    assert (found.cash, found.inventory, found.orders, found.next_order, found.ticks) == (9_000.0, 3.0, (), 3, 1)


def test_a_restart_begins_with_what_the_venue_told_and_forgets_how_the_one_before_ended(tmp_path):
    with SessionJournal(tmp_path / "x") as journal:
        journal.append("start", **START)
        journal.append("mark", tick=0, mid=100.0, cash=10_000.0, inventory=0.0, equity=10_000.0)
        journal.append("stop", reason="signal SIGTERM")
        journal.append("start", **START | {"cash": 9_000.0, "inventory": 10.0, "venue": "v", "symbol": "0.1 S"})
        journal.append("order", order_id="a", side=-1, price=100.0, size=2.0)
        journal.append("fill", time_ns=1, side=-1, price=100.0, size=0.5, fee=0.0, order_id="a")
        journal.append("fill", time_ns=1, side=-1, price=100.0, size=1.5, fee=0.0, order_id="a")
    found = recover(tmp_path / "x")
    assert (found.cash, found.inventory, found.orders) == (9_200.0, 8.0, ())
    assert (found.market, found.stop, found.ticks) == ("v 0.1 S", None, 0)


def test_an_account_that_is_not_the_sum_of_its_fills_is_refused(tmp_path):
    with SessionJournal(tmp_path / "x") as journal:
        journal.append("start", **START)
        journal.append("mark", tick=0, mid=100.0, cash=10_000.0, inventory=1.0, equity=10_100.0)
    with pytest.raises(JournalError, match=r"the mark in line 2 tells .* inventory 1\.0, but the fills make .* 0\.0"):
        recover(tmp_path / "x")


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("stop", {"reason": ""}, "must begin with a start, got 'stop' in line 1"),
        ("start", {}, "the start in line 1 lacks something: 'params'"),
    ],
)
def test_a_journal_without_a_beginning_is_refused(tmp_path, kind, values, message):
    with SessionJournal(tmp_path / "x") as journal:
        with pytest.raises(JournalError, match="the journal is empty"):
            recover(tmp_path / "x")
        journal.append(kind, **values)
    with pytest.raises(JournalError, match=message):
        recover(tmp_path / "x")
