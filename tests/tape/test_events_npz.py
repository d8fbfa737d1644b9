import zipfile

import numpy as np
import pytest

from hftgym.tape import TapeError, events_npz, read_chunks, read_tape
from hftgym.tape.events_npz import BUY, DEPTH, DEPTH_BBO, DEPTH_CLEAR, DEPTH_SNAPSHOT, LOCAL, SELL, TRADE

EXCHANGE = 1 << 31
BOTH = EXCHANGE | LOCAL
DTYPE = np.dtype(
    [
        *(("ev", "u8"), ("exch_ts", "i8"), ("local_ts", "i8"), ("px", "f8"), ("qty", "f8")),
        *(("order_id", "u8"), ("ival", "i8"), ("fval", "f8")),
    ],
    align=True,
)
START = 1_723_161_255_000_000_000


def write(path, events, *, packed=False):
    """Events as (flags, local ms, price, size); the exchange's time is 5 ms before."""
    rows = [(ev, START + (at - 5) * 10**6, START + at * 10**6, px, qty, 0, 0, 0.0) for ev, at, px, qty in events]
    save = np.savez_compressed if packed else np.savez
    with path.open("wb") as file:
        save(file, data=np.array(rows, dtype=DTYPE))
    return path


EVENTS = [
    (BOTH | DEPTH_SNAPSHOT | BUY, 10, 99.0, 1.0),
    (BOTH | DEPTH_SNAPSHOT | BUY, 10, 98.0, 4.0),
    (BOTH | DEPTH_SNAPSHOT | SELL, 10, 101.0, 2.0),
    (BOTH | TRADE | BUY, 20, 101.0, 0.5),
    (BOTH | DEPTH | SELL, 21, 101.0, 1.5),
    (BOTH | DEPTH | BUY, 22, 97.0, 9.0),
    (EXCHANGE | DEPTH | BUY, 23, 100.0, 9.0),
    (BOTH | TRADE | SELL, 30, 99.0, 1.0),
    (BOTH | DEPTH | BUY, 31, 99.0, 0.0),
    (BOTH | DEPTH | BUY, 31, 98.5, 3.0),
    (BOTH | DEPTH_CLEAR | SELL, 40, 101.0, 0.0),
    (BOTH | DEPTH_SNAPSHOT | SELL, 40, 100.0, 6.0),
]


@pytest.mark.parametrize("packed", [True, False])
def test_depth_keeps_a_book_and_a_message_is_all_that_came_at_one_time(tmp_path, packed):
    tape = read_tape(write(tmp_path / "x.npz", EVENTS, packed=packed), symbol="btcusdt")
    quotes, trades = tape.quotes, tape.trades
    assert tape.symbol == "BTCUSDT"
    assert list(zip(quotes.bid, quotes.bid_size, quotes.ask, quotes.ask_size, strict=True)) == [
        (99, 1, 101, 2),
        (99, 1, 101, 1.5),
        (98.5, 3, 101, 1.5),
        (98.5, 3, 100, 6),
    ]
    assert ((quotes.local_ns - START) // 10**6).tolist() == [10, 21, 31, 40]
    assert ((quotes.exchange_ns - START) // 10**6).tolist() == [5, 16, 26, 35]
    assert list(zip(trades.price, trades.size, trades.taker_side, strict=True)) == [(101, 0.5, 1), (99, 1, -1)]
    report = tape.report
    names = {"events of the exchange's side alone": 1, "depth within a message": 4, "depth beyond the touch": 1}
    assert report.ignored == names
    assert report.lines == 12 == report.quotes + report.trades + sum(report.ignored.values())


def test_the_best_prices_can_come_as_events_of_their_own(tmp_path):
    events = [
        *((BOTH | DEPTH_BBO | side, 10, price, 1.0) for side, price in ((BUY, 99.0), (SELL, 101.0))),
        (BOTH | DEPTH_BBO | BUY, 11, 98.0, 2.0),
        (BOTH | DEPTH_BBO | SELL, 12, 100.0, 3.0),
        (BOTH | DEPTH_CLEAR, 13, 0.0, 0.0),
    ]
    tape = read_tape(write(tmp_path / "x.npz", events), symbol="X")
    assert tape.quotes.bid.tolist() == [99, 98, 98]
    assert tape.quotes.ask.tolist() == [101, 101, 100]
    assert tape.report.ignored["depth that leaves a side of the book empty"] == 1


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ((BOTH | TRADE | BUY, 25, float("nan"), 1.0), "field 'px' must be finite and above 0, got nan"),
        ((BOTH | TRADE | BUY, 25, 100.0, 0.0), "field 'qty' must be finite and above 0, got 0.0"),
        ((BOTH | DEPTH | BUY, 25, 100.0, -1.0), "field 'qty' must be finite and not negative, got -1.0"),
        ((BOTH | DEPTH, 25, 100.0, 1.0), "must name a side"),
        (
            (BOTH | TRADE | BUY, (2**62 - START) // 10**6 + 1, 1.0, 1.0),
            "field 'local_ts' must be ns since 1970, before 2116",
        ),
        ((BOTH | TRADE | BUY, -(START // 10**6) - 1, 1.0, 1.0), "field 'local_ts' must be ns since 1970"),
    ],
)
def test_a_bad_event_is_counted_with_its_place(tmp_path, event, reason):
    report = read_tape(write(tmp_path / "x.npz", [*EVENTS[:4], event, *EVENTS[4:]]), symbol="X").report
    [(place, why)] = report.bad_lines.first
    assert place == 5
    assert reason in why
    assert (report.quotes, report.trades) == (4, 2)


def test_orders_one_by_one_are_counted_and_not_read(tmp_path):
    report = read_tape(write(tmp_path / "x.npz", [*EVENTS, (BOTH | 10 | BUY, 50, 99.0, 1.0)]), symbol="X").report
    assert report.ignored["order added"] == 1


def test_a_file_is_refused_with_its_reason(tmp_path):
    path = write(tmp_path / "x.npz", EVENTS)
    with pytest.raises(TapeError, match="do not say which market they hold: pass symbol="):
        read_tape(path)
    blob = path.read_bytes()
    at = blob.index(b"data.npy") + 400  # inside the array: the archive's checksum notices
    path.write_bytes(blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :])
    with pytest.raises(TapeError, match=r"x\.npz: the npz file is corrupt"):
        read_tape(path, symbol="X")
    np.savez(path, data=np.zeros(3))
    with pytest.raises(TapeError, match="must be events with the fields"):
        read_tape(path, symbol="X")
    np.savez(path, other=np.zeros(3))
    with pytest.raises(TapeError, match="an npz file of something else"):
        read_tape(path, symbol="X")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.npy", b"no array")
    with pytest.raises(TapeError, match="no numpy array"):
        read_tape(path, symbol="X")
    write(path, [])
    with pytest.raises(TapeError, match="no quotes or trades of symbol 'X'; it holds no other message"):
        read_tape(path, symbol="X")


def test_a_long_file_reads_the_same_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(events_npz, "_EVENTS", 1_000)
    rng = np.random.default_rng(0)
    kinds = [BOTH | DEPTH | BUY, BOTH | DEPTH | SELL, BOTH | TRADE | BUY]
    chosen, below = rng.integers(0, 3, 5_000), rng.integers(0, 2, 5_000)
    events = [
        (kinds[k], i // 2, 100.0 + (k == 1) - down, 1.0 + i)
        for i, (k, down) in enumerate(zip(chosen, below, strict=True))
    ]
    path = write(tmp_path / "x.npz", events, packed=True)
    pieces = list(read_chunks(path, symbol="X", rows=500))
    assert len(pieces) > 2
    monkeypatch.undo()
    whole = read_tape(path, symbol="X")
    assert np.concatenate([quotes.bid_size for quotes, _ in pieces]).tolist() == whole.quotes.bid_size.tolist()


def test_the_flags_are_those_of_the_engine():
    types = pytest.importorskip("hftbacktest.types", reason="hftbacktest is an optional engine")
    assert types.event_dtype == DTYPE
    names = ("DEPTH", "TRADE", "DEPTH_CLEAR", "DEPTH_SNAPSHOT", "DEPTH_BBO", "LOCAL", "BUY", "SELL")
    ours = (DEPTH, TRADE, DEPTH_CLEAR, DEPTH_SNAPSHOT, DEPTH_BBO, LOCAL, BUY, SELL)
    assert [getattr(types, f"{name}_EVENT") for name in names] == list(ours)
