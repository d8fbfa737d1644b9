import gzip
import random
import re
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hftgym.tape import Tape, TapeError, read_tape


def test_a_missing_file_and_a_directory_are_named(tmp_path):
    with pytest.raises(TapeError, match=r"absent\.gz: no such file"):
        read_tape(tmp_path / "absent.gz")
    with pytest.raises(TapeError, match="is a directory; pass the path of one recorded file"):
        read_tape(tmp_path)


@pytest.mark.parametrize("content", [b"", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_an_error(tmp_path, content):
    path = tmp_path / "empty"
    path.write_bytes(content)
    with pytest.raises(TapeError, match="the file is empty"):
        read_tape(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(100), "it is a PNG image"),
        (b"update_id,best_bid_price\n1,2\n", "line 1 starts with 'update_id,best_bid_price'"),
        (gzip.compress(b"Lorem ipsum\ndolor\n", mtime=0), "line 1 starts with 'Lorem ipsum'"),
        (gzip.compress(gzip.compress(b"x", mtime=0), mtime=0), "gzip inside gzip: unpack it once"),
        (bytes(range(128, 200)), r"line 1 starts with the bytes b'\\x80"),
        (b"\n\n\n", "line 1 starts with ''"),
        (b'1723161255088169167 {"topic":"orderbook.1.BTCUSDT"}\n', "line 1 starts with '1723161255088169167"),
    ],
)
def test_a_foreign_file_is_told_what_it_is_and_what_is_expected(tmp_path, content, found):
    path = tmp_path / "foreign.gz"
    path.write_bytes(content)
    with pytest.raises(TapeError, match=found) as caught:
        read_tape(path)
    assert "foreign.gz" in str(caught.value)
    assert "<local time, ns since 1970, 19 digits> {" in str(caught.value)


def test_the_name_of_a_file_does_not_matter(wire, tmp_path):
    plain = wire.write(tmp_path / "plain.gz", [wire.quote()])
    packed = wire.write(tmp_path / "packed.txt", [wire.quote()], packed=True)
    assert repr(read_tape(plain)) == repr(read_tape(str(packed)))


def test_gzip_files_that_were_appended_to_each_other_read_as_one(wire, tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(wire.quote() + b"\n") + gzip.compress(wire.trade() + b"\n"))
    report = read_tape(path).report
    assert (report.quotes, report.trades) == (1, 1)


def test_a_last_line_without_line_feed_counts_and_a_cut_one_is_bad(wire, tmp_path):
    path = tmp_path / "x"
    for last, bad in ((wire.trade(), 0), (wire.trade()[:-9], 1), (wire.depth()[:-9], 1), (wire.trade()[:9], 1)):
        path.write_bytes(wire.quote() + b"\n" + last)
        report = read_tape(path).report
        assert (report.lines, report.bad_lines.count) == (2, bad)


def test_half_of_the_first_thousand_lines_may_be_bad_and_no_more(wire, tmp_path):
    good, bad = wire.quote(), b"?"
    assert read_tape(wire.write(tmp_path / "x", [good, bad])).report.bad_lines.count == 1
    assert read_tape(wire.write(tmp_path / "x", [good] * 500 + [bad] * 500)).report.bad_lines.count == 500
    report = read_tape(wire.write(tmp_path / "x", [good] * 1000 + [bad] * 5000)).report
    assert (report.bad_lines.count, len(report.bad_lines.first)) == (5000, 20)
    with pytest.raises(TapeError, match=r"2 of the first 3 lines cannot be read, beginning with line 2: local time"):
        read_tape(wire.write(tmp_path / "x", [good, bad, bad]))
    with pytest.raises(TapeError, match=r"501 of the first 1,000 lines cannot be read.*Expected <local time"):
        read_tape(wire.write(tmp_path / "x", [good] * 499 + [bad] * 501 + [good] * 5000))


def test_a_recorder_that_stamps_milliseconds_is_told_so(wire, tmp_path):
    lines = [wire.quote(local_ns=wire.START_NS // 10**6)] * 3
    with pytest.raises(TapeError, match="local time must be ns since 1970, 19 digits and a space, got '1723161255088'"):
        read_tape(wire.write(tmp_path / "x", lines))


def test_several_symbols_need_a_choice(wire, tmp_path):
    lines = [wire.quote(), wire.trade(), wire.quote(symbol="ETHUSDT", b="2600", a="2601"), wire.trade(symbol="XRPUSDT")]
    path = wire.write(tmp_path / "x", lines)
    named = r"3 symbols: BTCUSDT \(1 quotes, 1 trades\), ETHUSDT \(1 quotes, 0 trades\), XRPUSDT .* symbol='BTCUSDT'"
    with pytest.raises(TapeError, match=named):
        read_tape(path)
    tape = read_tape(path, symbol="ethusdt")
    assert (tape.symbol, tape.quotes.bid.tolist()) == ("ETHUSDT", [2600.0])
    assert tape.report.ignored == {"BTCUSDT quotes": 1, "BTCUSDT trades": 1, "XRPUSDT trades": 1}
    with pytest.raises(TapeError, match=r"no quotes or trades of symbol 'SOLUSDT'; it holds BTCUSDT"):
        read_tape(path, symbol="SOLUSDT")
    with pytest.raises(TapeError, match="no quotes of symbol XRPUSDT"):
        read_tape(path, symbol="XRPUSDT")
    for wrong in ("", 5):
        with pytest.raises(TapeError, match="symbol must be a name such as 'BTCUSDT' or None, got"):
            read_tape(path, symbol=wrong)


def test_a_capture_without_quotes_says_what_it_holds_instead(wire, tmp_path):
    with pytest.raises(
        TapeError, match=r"no quotes of symbol BTCUSDT; it holds BTCUSDT \(0 quotes, 1 trades\).*bookTicker"
    ):
        read_tape(wire.write(tmp_path / "x", [wire.trade()]))
    with pytest.raises(TapeError, match=r"no quotes .*; it holds 2 depth@0ms, 1 subscription reply"):
        read_tape(wire.write(tmp_path / "x", [wire.depth()] * 2 + [wire.line({"result": None, "id": 1})]))


def test_markets_that_must_not_be_mixed_or_misread_are_refused(wire, tmp_path):
    with pytest.raises(TapeError, match="mixes messages of binance-usdm and binance-spot for BTCUSDT"):
        read_tape(wire.write(tmp_path / "x", [wire.quote(), wire.trade(venue="binance-spot")]))
    with pytest.raises(TapeError, match="line 2 is a COIN-M message of BTCUSD_PERP"):
        read_tape(wire.write(tmp_path / "x", [wire.depth(), wire.quote(symbol="BTCUSD_PERP", ps="BTCUSD")]))


def test_a_line_without_end_is_refused_before_it_fills_the_memory(wire, tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(wire.quote() + b"\n" + bytes(50_000_000)))
    with pytest.raises(TapeError, match="line 2 is longer than 4 MiB"):
        read_tape(path)


def test_a_truncated_gzip_says_after_which_line_wherever_it_is_cut(wire, tmp_path):
    rng = random.Random(0)
    lines = [wire.quote(B=str(rng.random() + 0.1), u=rng.getrandbits(40)) for _ in range(3_000)]
    blob = gzip.compress(b"\n".join(lines) + b"\n")
    path = tmp_path / "x.gz"
    for cut in [2, 5, 10, 11, len(blob) - 8, len(blob) - 1, *(rng.randrange(12, len(blob)) for _ in range(40))]:
        path.write_bytes(blob[:cut])
        whole = zlib.decompressobj(wbits=31).decompress(blob[:cut]).count(b"\n")
        with pytest.raises(TapeError, match=rf"x\.gz: the gzip stream breaks off after line {whole}, it is truncated"):
            read_tape(path)


def test_a_flipped_byte_in_a_gzip_never_goes_unnoticed(wire, tmp_path):
    rng = random.Random(1)
    lines = [wire.quote(B=str(rng.random() + 0.1)) for _ in range(1_000)]
    blob = gzip.compress(b"\n".join(lines) + b"\n")
    path = tmp_path / "x.gz"
    for place in [len(blob) - 8, len(blob) - 1, *(rng.randrange(10, len(blob)) for _ in range(60))]:
        damaged = bytearray(blob)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(TapeError, match=r"x\.gz: "):
            read_tape(path)
    path.write_bytes(blob[:-8] + bytes(4) + blob[-4:])
    with pytest.raises(TapeError, match=r"the gzip stream is corrupt, noticed after line 1000 \(CRC check failed"):
        read_tape(path)


def test_a_real_gzip_cut_or_damaged_anywhere_is_refused(data_file, tmp_path):
    blob = data_file("binance_spot_btcusdt_20240808.gz").read_bytes()
    rng = random.Random(2)
    path = tmp_path / "x.gz"
    for _ in range(4):
        place = rng.randrange(100, len(blob))
        path.write_bytes(blob[:place])
        with pytest.raises(TapeError, match=r"breaks off after line \d+") as caught:
            read_tape(path)
        whole = zlib.decompressobj(wbits=31).decompress(blob[:place]).count(b"\n")
        assert re.search(rf"after line {whole}\b", str(caught.value))
        path.write_bytes(blob[:place] + bytes([blob[place] ^ 0x10]) + blob[place + 1 :])
        with pytest.raises(TapeError):
            read_tape(path)


def _reads_or_refuses(path, content):
    path.write_bytes(content)
    try:
        tape = read_tape(path)
    except TapeError as error:
        str(error).encode()  # can be printed anywhere
    else:
        assert isinstance(tape, Tape)
        report = tape.report
        assert report.lines == report.quotes + report.trades + sum(report.ignored.values()) + report.bad_lines.count
        (str(report) + repr(tape)).encode()


@given(content=st.binary(max_size=300), packed=st.booleans())
@example(content=b"\x1f\x8b", packed=False)
@settings(deadline=None, max_examples=200)
def test_any_bytes_give_a_tape_or_a_tape_error(scratch, content, packed):
    _reads_or_refuses(scratch, gzip.compress(content, mtime=0) if packed else content)


@given(
    edits=st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 3), st.binary(max_size=3)), max_size=6),
    packed=st.booleans(),
)
@settings(deadline=None, max_examples=200)
def test_a_damaged_capture_gives_a_tape_or_a_tape_error(wire, scratch, edits, packed):
    lines = [wire.depth(), wire.quote(), wire.trade(), wire.quote(venue="binance-spot", symbol="ETHUSDT"), wire.quote()]
    content = b"".join(line + b"\n" for line in lines)
    content = gzip.compress(content, mtime=0) if packed else content
    for place, cut, new in edits:
        at = place % (len(content) + 1)
        content = content[:at] + new + content[at + cut :]
    _reads_or_refuses(scratch, content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("esbBaAEpqmX"), inner, max_size=8),
    max_leaves=8,
)


@given(
    stream=st.sampled_from(["btcusdt@trade", "btcusdt@bookTicker", "!bookTicker", "\ud800", 5, None]) | json_values,
    data=json_values,
)
@settings(deadline=None, max_examples=300)
def test_any_json_in_a_stream_gives_a_line_that_is_counted_or_bad(wire, scratch, stream, data):
    _reads_or_refuses(scratch, wire.quote() + b"\n" + wire.stream(stream, data))
    _reads_or_refuses(scratch, wire.quote() + b"\n" + wire.line(data))
