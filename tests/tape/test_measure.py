"""A tape on disk is measured like the same tape in memory, whatever the pieces it is read in."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hftgym.backtest import backtest
from hftgym.params import EnvParams
from hftgym.policies import FixedSpreadPolicy
from hftgym.tape import calibrate, estimate, open_tape, write_tape
from hftgym.tape.flow import market_orders
from hftgym.tape.measure import median_shown_size, quotes_at
from hftgym.tape.parquet import TapeFile
from hftgym.tape.simulate import simulate_tape
from scripts.benchmarks.long_tape import write_long_tape
from tests.memory import linux_only, peak_kib
from tests.reference.tapes import START_NS, tapes

near = st.integers(START_NS, START_NS + 12)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A tape with orders of several trades in memory, and on disk in a file of its own."""
    path = tmp_path_factory.mktemp("measure") / "x.parquet"
    params = EnvParams(tick_s=0.1, arrival_intensity=3.0, symbol="BTCUSDT")
    tape = simulate_tape(params, ticks=600, seed=4, price_step=0.01)
    trades = {f.name: np.repeat(getattr(tape.trades, f.name), 3) for f in dataclasses.fields(tape.trades)}
    tape = dataclasses.replace(tape, trades=type(tape.trades)(**trades))
    write_tape(tape, path)
    return tape, open_tape(path)


def in_pieces(monkeypatch, rows):
    """Read tapes on disk in pieces of so many rows."""
    chunks = TapeFile.chunks
    monkeypatch.setattr(TapeFile, "chunks", lambda self, _=0, **__: chunks(self, rows))


@pytest.mark.parametrize("rows", [70, 900, 10**6])
def test_a_tape_on_disk_has_the_calibration_of_the_tape(pair, monkeypatch, rows):
    tape, file = pair
    in_pieces(monkeypatch, rows)
    for one, other in ((tape, file), (tape.in_units_of(0.01), file.in_units_of(0.01))):
        found, expected = estimate(other), estimate(one)
        assert repr(found) == repr(expected)  # to the last digit, and NaN like NaN
        assert found.orders > 600
    orders, others = market_orders(file), market_orders(tape)
    for field in dataclasses.fields(orders):
        np.testing.assert_array_equal(getattr(orders, field.name), getattr(others, field.name))


def test_a_tape_on_disk_is_played_in_the_market_that_it_shows(pair):
    tape, file = pair
    result, expected = (backtest(FixedSpreadPolicy(offset=1.0), one) for one in (file, tape))
    assert result.params == calibrate(tape)
    assert result.equity.tobytes() == expected.equity.tobytes()
    assert len(result.fills) > 0


@settings(max_examples=60)
@given(tapes(local_ns=near), st.lists(near, max_size=8).map(sorted), st.booleans(), st.integers(1, 9))
def test_what_is_known_at_a_time_is_the_last_quote_received_by_then(tape, times, itself, rows):
    class Pieces:
        def chunks(self):
            return tape.chunks(rows)

    received = np.maximum.accumulate(tape.quotes.local_ns).tolist()
    known = [sum(r <= t if itself else r < t for r in received) - 1 for t in times]
    expected = [tape.quotes.bid[k] if k >= 0 else np.nan for k in known]
    for one in (tape, Pieces()):
        bid, _ = quotes_at(one, np.array(times, dtype=np.int64), itself=itself)
        np.testing.assert_array_equal(bid, expected)
    sizes = np.concatenate([tape.quotes.bid_size, tape.quotes.ask_size])
    with np.errstate(over="ignore"):
        assert median_shown_size(Pieces()) == np.median(sizes)


@pytest.mark.slow
@linux_only
def test_the_memory_of_a_calibration_is_that_of_its_orders_and_not_of_its_rows(tmp_path):
    code = (
        "import sys; from hftgym.tape import estimate, open_tape\n"
        "estimate(open_tape(sys.argv[1]), tick_s=float(sys.argv[2]))"
    )
    peaks = []
    for rows in (1_000_000, 4_000_000):
        write_long_tape(tmp_path / "x", rows)
        peaks.append(peak_kib(code, tmp_path / "x", 40.0))
    # Nearly every trade here is an order of its own, a quarter of the rows: the worst case.
    assert peaks[1] - peaks[0] < 110_000  # as columns alone 147,000
