"""A feed recorded: what it told is on the tape, however the recording ends."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from hftgym.live.events import Quote, Trade
from hftgym.live.rows import quotes_of, record, tape_of, trades_of
from hftgym.tape import NO_TIME, TapeWriter, finish_tape, read_tape
from tests.live.recorded import RecordedFeed
from tests.tapes import START_NS, random_tape

TAPE = random_tape(11)


def same(tape):
    for rows, others in ((tape.quotes, TAPE.quotes), (tape.trades, TAPE.trades)):
        for name in rows.__dataclass_fields__:
            if name != "exchange_ns":  # the feed has none
                assert np.array_equal(getattr(rows, name), getattr(others, name)), name


def writer_at(path):
    return TapeWriter(path, venue="test", symbol="TEST", journal=True)


def test_a_feed_becomes_the_tape_that_it_plays(tmp_path):
    seen = []
    with writer_at(tmp_path / "x.parquet") as writer:
        rows = asyncio.run(record(RecordedFeed(TAPE), writer, on_rows=seen.append))
    assert rows == len(TAPE.quotes) + len(TAPE.trades)
    assert len(seen) >= 19  # once a second
    same(read_tape(tmp_path / "x.parquet"))


def test_it_ends_after_so_many_seconds(tmp_path):
    with writer_at(tmp_path / "x.parquet") as writer:
        asyncio.run(record(RecordedFeed(TAPE), writer, seconds=5.0))
    tape = read_tape(tmp_path / "x.parquet")
    assert 5.0 <= tape.duration_s < 5.5


class Endless(RecordedFeed):
    async def events(self):
        async for event in super().events():
            yield event
        await asyncio.Event().wait()


def test_an_interrupt_writes_what_has_come(tmp_path):
    async def interrupted(writer):
        recording = asyncio.ensure_future(record(Endless(TAPE), writer))
        await asyncio.sleep(0.2)
        recording.cancel()
        return await recording

    with writer_at(tmp_path / "x.parquet") as writer:
        assert asyncio.run(interrupted(writer)) == len(TAPE.quotes) + len(TAPE.trades)
    same(read_tape(tmp_path / "x.parquet"))


def test_a_recording_that_broke_off_is_finished_from_its_journal(tmp_path):
    class Breaks(RecordedFeed):
        async def events(self):
            async for event in super().events():
                yield event
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="the power went"), writer_at(tmp_path / "x.parquet") as writer:
        asyncio.run(record(Breaks(TAPE), writer))
    if not (tmp_path / "x.parquet").exists():
        finish_tape(tmp_path / "x.parquet")
    same(read_tape(tmp_path / "x.parquet"))


def test_rows_keep_every_digit():
    time = START_NS + 123_456_789
    quotes = quotes_of([Quote(time, NO_TIME, 61_800.2, 2.507, 61_800.3, 2.51)])
    assert (quotes.local_ns[0], quotes.exchange_ns[0], quotes.bid[0], quotes.ask_size[0]) == (
        time,
        NO_TIME,
        61_800.2,
        2.51,
    )
    trades = trades_of([Trade(time, time - 1, 0.1, 0.3, -1)])
    assert (trades.local_ns[0], trades.exchange_ns[0], trades.taker_side[0]) == (time, time - 1, -1)
    assert len(trades_of([])) == 0


def test_what_was_odd_in_a_feed_is_in_the_tapes_report():
    quotes = [Quote(START_NS + time, NO_TIME, bid, 1.0, 100.1, 1.0) for time, bid in ((0, 99.9), (3 * 10**9, 100.2))]
    report = tape_of(quotes, [], venue="test", symbol="TEST", path=Path("live")).report
    assert (report.quotes, report.gaps.count, report.crossed_quotes.count) == (2, 1, 1)
