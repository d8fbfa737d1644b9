"""Parquet tapes: what is written is read back bit for bit, and what is damaged or foreign is refused."""

import dataclasses
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hftgym.tape import Findings, TapeError, TapeWriter, open_tape, read_tape, write_tape
from hftgym.tape.columns import joined as as_table
from hftgym.tape.order import merge_order
from hftgym.tape.parquet import ENCODING, description, schema
from tests.reference.tapes import joined, quotes_of, report, same, tape_of, tapes, trades_of, walk


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("parquet")


@pytest.fixture
def path(tmp_path):
    write_tape(walk(), tmp_path / "walk.parquet")
    return tmp_path / "walk.parquet"


def forge(path, *, table=None, meta=None):
    """Write a file with a tape's metadata and another table, or the other way round."""
    found = pq.read_table(path)
    told = pq.ParquetFile(path).metadata.metadata
    with pq.ParquetWriter(path, schema(), **ENCODING) as writer:
        writer.write_table(found if table is None else table(found))
        writer.add_key_value_metadata(meta or told)


@settings(max_examples=25)
@given(tapes())
def test_every_tape_comes_back_bit_for_bit(folder, tape):
    write_tape(tape, folder / "x.parquet")
    back = read_tape(folder / "x.parquet")
    assert same(back.quotes, tape.quotes)
    assert same(back.trades, tape.trades)
    assert (back.venue, back.symbol, back.report) == (tape.venue, tape.symbol, tape.report)
    assert (back.price_step, back.size_step) == (tape.price_step, tape.size_step)


@settings(max_examples=20)
@given(tapes(), st.integers(1, 30))
def test_the_pieces_of_a_file_are_those_of_the_tape(folder, tape, rows):
    write_tape(tape, folder / "x.parquet")
    pieces = list(open_tape(folder / "x.parquet").chunks(rows))
    for (quotes, trades), (others, other_trades) in zip(pieces, tape.chunks(rows), strict=True):
        assert same(quotes, others)
        assert same(trades, other_trades)


def test_a_file_knows_of_its_tape_without_reading_rows(path):
    tape, file = walk(), open_tape(path)
    local_ns = np.concatenate([tape.quotes.local_ns, tape.trades.local_ns])
    assert (file.n_quotes, file.n_trades) == (2_000, 500)
    assert (file.venue, file.symbol) == (tape.venue, tape.symbol)
    assert (file.price_step, file.size_step) == (0.1, 0.001)
    assert file.last_ns == local_ns.max()
    assert file.first_ns == min(tape.quotes.local_ns[0], tape.trades.local_ns[0])
    assert file.quoted_ns == tape.quoted_ns
    assert file.duration_s == (file.last_ns - file.first_ns) / 1e9
    assert (
        repr(file)
        == f"TapeFile(binance-usdm BTCUSDT: 2,000 quotes, 500 trades, {file.duration_s:.1f} s in walk.parquet)"
    )


def test_the_file_is_one_table_in_the_order_of_rows(path):
    tape, table = walk(), pq.read_table(path).to_pydict()
    is_trade = merge_order(tape.quotes, tape.trades)
    assert np.array_equal(np.array(table["kind"]) != 0, is_trade)
    assert np.array_equal(np.array(table["kind"])[is_trade], tape.trades.taker_side)
    for row in np.flatnonzero(is_trade)[:50]:
        hit, other = ("bid", "ask") if table["kind"][row] < 0 else ("ask", "bid")
        assert table[hit][row] == tape.trades.price[is_trade[:row].sum()]
        assert np.isnan([table[other][row], table[f"{other}_size"][row]]).all()


def test_a_file_in_other_units_is_the_tape_in_those_units(path):
    quotes, trades = joined(open_tape(path).in_units_of(0.01).in_units_of(0.1).chunks(700))
    tape, file = walk().in_units_of(0.001), open_tape(path).in_units_of(0.001)
    assert same(quotes, tape.quotes)
    assert same(trades, tape.trades)
    assert (file.symbol, file.price_step, file.size_step) == (tape.symbol, tape.price_step, tape.size_step)
    assert open_tape(path).in_units_of(1.0) == open_tape(path)


def test_one_quote_and_no_trade_is_a_tape(tmp_path):
    write_tape(tape_of(quotes_of([5]), trades_of([])), tmp_path / "x")
    assert len(read_tape(tmp_path / "x").trades) == 0
    ((quotes, trades),) = open_tape(tmp_path / "x").chunks()
    assert (len(quotes), len(trades)) == (1, 0)


def test_the_report_of_the_recording_is_kept_with_all_its_places(tmp_path):
    found = Findings(count=70, first=tuple((line, f"what «{line}»") for line in range(20)))
    told = report(lines=9, ignored={"depth@0ms": 6_551}, bad_lines=found, gaps=found)
    write_tape(dataclasses.replace(walk(), report=told), tmp_path / "x")
    assert open_tape(tmp_path / "x").report == told


def test_a_symbol_may_be_named_and_must_be_the_one(path):
    assert read_tape(path, symbol="btcusdt").symbol == "BTCUSDT"
    with pytest.raises(TapeError, match="no quotes of ETHUSDT; the file holds BTCUSDT"):
        read_tape(path, symbol="ethusdt")


def test_a_parquet_file_that_is_no_tape_is_named_with_its_columns(tmp_path):
    pq.write_table(pa.table({"ts": [1], "px": [2.0]}), tmp_path / "x.parquet")
    with pytest.raises(TapeError, match=r"x\.parquet: .* no tape: it has the columns ts, px\. Expected"):
        open_tape(tmp_path / "x.parquet")
    with pytest.raises(TapeError, match=r"x\.parquet: .*found ts, px .*needed are"):
        read_tape(tmp_path / "x.parquet")


@pytest.mark.parametrize("name", ["missing", ""])
def test_no_file_and_a_folder_are_named(tmp_path, name):
    with pytest.raises(TapeError, match=r"no such file|is a directory"):
        open_tape(tmp_path / name)


def test_a_newer_version_is_named(path):
    told = description({"venue": "x"}, report())
    forge(path, meta=description({"version": 2}, report()))
    with pytest.raises(TapeError, match="a tape of version 2; this hftgym reads version 1: update it"):
        open_tape(path)
    forge(path, meta=told)
    with pytest.raises(TapeError, match="its description is not one of a tape: KeyError"):
        open_tape(path)


def test_a_description_that_was_edited_is_refused(path):
    told = {key: value.replace(b"BTCUSDT", b"ETHUSDT") for key, value in pq.ParquetFile(path).metadata.metadata.items()}
    forge(path, meta=told)
    with pytest.raises(TapeError, match="the checksum of its description does not match"):
        open_tape(path)


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("kind", 2, r"Trades\.taker_side must be \+1 or -1, got 2|quotes and .* trades"),
        ("bid", np.nan, r"Quotes\.bid must be finite and above 0, got nan"),
        ("ask_size", 0.0, r"Quotes\.ask_size must be finite and above 0, got 0\.0"),
        ("ask", np.inf, r"Quotes\.ask must be finite and above 0, got inf"),
    ],
)
def test_rows_that_no_tape_can_hold_are_refused(path, column, value, match):
    def spoiled(table):
        values = table[column].to_numpy().copy()
        values[np.flatnonzero(table["kind"].to_numpy() == (0 if column != "kind" else 1))[0]] = value
        return table.set_column(table.schema.get_field_index(column), schema().field(column), pa.array(values))

    forge(path, table=spoiled)
    with pytest.raises(TapeError, match=match):
        read_tape(path)
    with pytest.raises(TapeError, match=rf"damaged between rows 0 and .*({match})"):
        list(open_tape(path).chunks())


def test_rows_that_are_missing_are_noticed(path):
    forge(path, table=lambda table: table.slice(0, 2_499))
    with pytest.raises(TapeError, match="damaged: 2,499 rows, but 2,000 quotes and 500 trades"):
        open_tape(path)


def test_a_file_that_changes_after_it_was_opened_is_noticed(path):
    tape = open_tape(path)
    write_tape(walk(seed=1, trades=3), path)
    with pytest.raises(TapeError, match="2,003 rows, but 2,500 when it was opened"):
        list(tape.chunks())


def test_a_file_cut_off_anywhere_is_refused(path):
    content = path.read_bytes()
    for length in [4, 5, *range(11, len(content), 997), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(TapeError, match=r"walk\.parquet: (cut off|not a recording)"):
            read_tape(path)


@pytest.mark.parametrize("part", [slice(0, -3_000, 401), pytest.param(slice(-3_000, None), marks=pytest.mark.slow)])
def test_a_flipped_byte_is_refused_or_changes_nothing(path, part):
    content, tape = path.read_bytes(), walk()
    for place in range(len(content))[part]:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        try:
            back = read_tape(path)
        except TapeError:
            continue
        assert same(back.quotes, tape.quotes), place
        assert same(back.trades, tape.trades), place
        assert (back.venue, back.symbol, back.report) == (tape.venue, tape.symbol, tape.report), place


def test_without_pyarrow_the_message_says_what_to_install(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for use in (read_tape, open_tape, TapeWriter):
        with pytest.raises(ImportError, match=r'pip install "hftgym\[tape\]"'):
            use(path)


@pytest.mark.slow
def test_real_captures_come_back_bit_for_bit(data_file, tmp_path):
    for name, steps in (
        ("binance_usdm_btcusdt_20240808.gz", (0.1, 0.001)),
        ("binance_spot_btcusdt_20240808.gz", (0.01, 1e-5)),
    ):
        tape = read_tape(data_file(name))
        write_tape(tape, tmp_path / name)
        back = read_tape(tmp_path / name)
        assert same(back.quotes, tape.quotes)
        assert same(back.trades, tape.trades)
        assert (back.report, (back.price_step, back.size_step)) == (tape.report, steps)
        table = as_table(tape.quotes, tape.trades)
        assert (np.diff(np.maximum.accumulate(table["local_ns"])) >= 0).all()
