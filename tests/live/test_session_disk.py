"""A disk that fills up under a whole session: every order is cancelled, the journal stands where the account did."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from hftgym.live.journal import SessionJournal, read_session
from hftgym.live.logs import json_log
from hftgym.live.recovery import recover
from tests.live.faulted import Quoting, in_process, rows
from tests.live.journalled import START
from tests.live.test_killed_session import partial
from tests.tapes import random_tape

ROOT = Path(__file__).parents[2]
ON_A_SMALL_DISK = 'mount -t tmpfs -o size=112k none "$1" && exec "$0" -m tests.live.filled_disk "$1" "$2"'
WITHIN_A_LIMIT = 'ulimit -f 100 && exec "$0" -m tests.live.filled_disk "$1" "$2"'  # blocks of 1,024 bytes


def may_mount():
    """Whether a process may mount a disk of its own here."""
    return subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["disk", "limit"])
def test_a_full_disk_cancels_everything_and_stops(kind, tmp_path):
    if kind == "disk" and not may_mount():
        pytest.skip("this machine lets nobody mount a small disk (unshare -rm); the limit of a file's size stands in")
    (tmp_path / "disk").mkdir()
    start = ["unshare", "-rm"] if kind == "disk" else []
    script = ON_A_SMALL_DISK if kind == "disk" else WITHIN_A_LIMIT
    command = [*start, "bash", "-c", script, sys.executable, str(tmp_path / "disk"), str(tmp_path / "copy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "the journal cannot be written" in told["error"]
    assert ("No space left" if kind == "disk" else "File too large") in told["error"]
    before, after = told["in_market"]
    assert sum(before) > 0
    assert after == [0.0, 0.0]
    check_journal(tmp_path / "copy", told)


def check_journal(path, told):
    """Whole lines alone, an account that an undisturbed session had at that moment, and room for the next session."""
    assert path.read_bytes().endswith(b"}\n")
    assert told["stop"] is None  # it could not be written
    assert told["ticks"] > 20
    calm = in_process(rows(random_tape(7)), policy=Quoting())
    ticks, account = told["ticks"], [(s.cash, s.inventory) for s in calm.snapshots]
    possible = partial(account[ticks - 1], account[ticks], calm.snapshots[ticks].fills)
    assert any(
        told["cash"] == pytest.approx(cash, abs=1e-6) and told["inventory"] == pytest.approx(held, abs=1e-9)
        for cash, held in possible
    )
    with SessionJournal(path) as journal:
        journal.append("start", **START, cash=told["cash"], inventory=told["inventory"])
    assert sum(1 for _ in read_session(path)) == told["records"] + 1
    assert recover(path).inventory == told["inventory"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_under_the_log_is_told_and_stops_nothing(capfd):
    with json_log("/dev/full"):
        logging.getLogger("hftgym.live").warning("nobody can write this down")
    assert "No space left" in capfd.readouterr().err
