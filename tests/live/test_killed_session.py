"""A whole session on paper, killed at random moments: its journal recovers a moment of the session that was not."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hftgym.live.journal import SessionJournal
from hftgym.live.paper import PaperBroker
from hftgym.live.recovery import recover
from hftgym.live.session import LiveSession
from tests.live.recorded import RecordedFeed
from tests.live.test_session import PARAMS, Drawn
from tests.tapes import random_tape

KILLS, SEED = 20, 7


class Paced(RecordedFeed):
    """Takes about a second for its tape."""

    async def events(self):
        count = 0
        async for event in super().events():
            yield event
            count += 1
            if count % 4 == 0:
                await asyncio.sleep(0.002)


def session(feed, *, journal=None, observers=()):
    broker = PaperBroker(PARAMS, latency_s=0.013)
    return LiveSession(
        feed,
        Drawn(SEED),
        broker,
        params=PARAMS,
        price_step=0.1,
        journal=journal,
        clock=None,
        observers=observers,
    )


def play(path):
    """What the child does: a session with a journal; it says when it begins."""
    with SessionJournal(path) as journal:
        print("begun", flush=True)
        asyncio.run(session(Paced(random_tape(SEED)), journal=journal).run(180))


@pytest.mark.slow
def test_a_session_killed_at_any_moment_stands_where_its_journal_says(tmp_path):
    whole = []
    asyncio.run(session(RecordedFeed(random_tape(SEED)), observers=[whole.append]).run(180))
    moments, rng = set(), random.Random(0)
    for number in range(KILLS):
        path = tmp_path / f"{number}.journal"
        with subprocess.Popen([sys.executable, "-m", __name__, str(path)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout.readline() == "begun\n"
            time.sleep(rng.uniform(0.0, 1.2))
            child.send_signal(signal.SIGKILL)
        if path.stat().st_size == 0:
            continue
        left = recover(path)
        moments.add(left.ticks)
        # Marks are written at the end of their tick; fills of the tick under way may be there already.
        account = [(s.cash, s.inventory) for s in whole]
        before = account[max(left.ticks - 1, 0)]
        after = account[min(left.ticks, len(account) - 1)]
        assert any(
            left.cash == pytest.approx(cash, abs=1e-6) and left.inventory == pytest.approx(held, abs=1e-9)
            for cash, held in partial(before, after, whole[min(left.ticks, len(whole) - 1)].fills)
        )
    assert len(moments) > KILLS / 3


def partial(before, after, fills):
    """The accounts between two ticks: after none, one, two ... of the fills of the second one."""
    cash, held = before
    yield before
    for fill in fills:
        cash, held = cash - fill.side * fill.size * fill.price - fill.fee, held + fill.side * fill.size
        yield cash, held
    yield after


if __name__ == "__main__":
    play(Path(sys.argv[1]))
