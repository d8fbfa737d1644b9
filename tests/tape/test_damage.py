"""Files of every format with bytes changed anywhere: a tape with everything counted, or a named error."""

import gzip
import io
import random
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hftgym.tape import Tape, TapeError, ohlcv, read_tape

MS = 1_723_075_200_000
EVENT = np.dtype([("ev", "u8"), ("exch_ts", "i8"), ("local_ts", "i8"), ("px", "f8"), ("qty", "f8")])
COINBASE = (
    '1618677817.0: {"type":"snapshot","product_id":"X","bids":[["99","1"]],"asks":[["101","2"]]}',
    '1618677817.1: {"type":"l2update","product_id":"X","changes":[["buy","99.5","1"]],"time":"2021-04-17T16:43:37Z"}',
    '1618677817.2: {"type":"match","trade_id":5,"side":"sell","size":"1","price":"101","product_id":"X",'
    '"time":"2021-04-17T16:43:37Z"}',
)
DUMP = [f"{i},100.1,1.5,100.9,2.5,{MS + i},{MS + i}" for i in range(9)]
LOBSTER = ("34200.5,4,1,18,5853300,1", "5859400,200,5853300,18")
COLUMNS = {"time": [MS, MS + 1, MS + 2], "bid": [1.0, 2.0, 3.0], "ask": [2.0, 3.0, 4.0]}


def zipped(name, content):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return target.getvalue()


def events():
    rows = [
        ((1 << 31) + (1 << 30) + side + kind, 10**18, 10**18 + i, px, 1.0)
        for i, (kind, side, px) in enumerate([(1, 1 << 29, 99.0), (1, 1 << 28, 101.0), (2, 1 << 29, 101.0)])
    ]
    target = io.BytesIO()
    np.savez(target, data=np.array(rows, dtype=EVENT))
    return target.getvalue()


def parquet():
    target = io.BytesIO()
    pq.write_table(pa.table(COLUMNS), target)
    return target.getvalue()


def text(lines):
    return "\n".join(lines).encode() + b"\n"


CSV = [",".join(COLUMNS), *(",".join(map(str, row)) for row in zip(*COLUMNS.values(), strict=True))]
FILES = {
    "coinbase.txt": text(COINBASE),
    "coinbase.gz": gzip.compress(text(COINBASE), mtime=0),
    "BTCUSDT-bookTicker-1.csv": text(DUMP),
    "BTCUSDT-bookTicker-1.zip": zipped("BTCUSDT-bookTicker-1.csv", text(DUMP)),
    "A_2012-06-21_1_2_message_1.csv": text([LOBSTER[0]] * 4),
    "table.csv": text(CSV),
    "table.parquet": parquet(),
    "events.npz": events(),
}


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_gives_a_tape_or_a_named_error(tmp_path, name):
    rng, content = random.Random(0), FILES[name]
    path = tmp_path / name
    (tmp_path / name.replace("message", "orderbook")).write_bytes(text([LOBSTER[1]] * 4))
    path.write_bytes(content)
    assert len(read_tape(path, symbol=symbol_of(name)).quotes) > 0
    outcomes = {True: 0, False: 0}
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(damaged) + 1)
            damaged[at : at + rng.randrange(3)] = rng.choice((b"", b"\x00", b"9", b"-", b",", b'"', rng.randbytes(2)))
        path.write_bytes(damaged[: rng.randrange(len(damaged))] if rng.random() < 0.1 else damaged)
        outcomes[reads(path, symbol_of(name))] += 1
    assert outcomes[False] > 0


def symbol_of(name):
    return {"c": "X", "B": "BTCUSDT", "A": "A"}.get(name[0], "X")


def reads(path, symbol):
    """Read a file; everything must be accounted for, or the error be one of ours and printable."""
    try:
        tape = read_tape(path, symbol=symbol)
    except TapeError as error:
        str(error).encode()
        return False
    assert isinstance(tape, Tape)
    report = tape.report
    assert report.lines == report.quotes + report.trades + sum(report.ignored.values()) + report.bad_lines.count
    assert (report.quotes, report.trades) == (len(tape.quotes), len(tape.trades))
    (str(report) + repr(tape)).encode()
    ohlcv(tape.trades, 1e9)
    return True
