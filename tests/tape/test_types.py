import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hftgym.tape import Steps
from hftgym.tape.order import received_ns
from tests.reference.tapes import START_NS, joined, quotes_of, same, tape_of, tapes, trades_of, walk


@settings(max_examples=40)
@given(tapes(), st.integers(1, 30))
def test_the_pieces_of_a_tape_are_the_tape(tape, rows):
    pieces = list(tape.chunks(rows))
    total = len(tape.quotes) + len(tape.trades)
    assert [len(quotes) + len(trades) for quotes, trades in pieces[:-1]] == [rows] * ((total - 1) // rows)
    quotes, trades = joined(pieces)
    assert same(quotes, tape.quotes)
    assert same(trades, tape.trades)


def test_pieces_are_views():
    tape = walk()
    for quotes, trades in tape.chunks(700):
        assert np.shares_memory(quotes.bid, tape.quotes.bid)
        assert np.shares_memory(trades.price, tape.trades.price)


def test_the_parts_of_a_cut_tape_are_the_tape():
    tape = walk()
    for share in (0.1, 0.5, 0.9):
        before, after = tape.split(share)
        first, last = tape.quoted_ns
        moment = first + round(share * (last - first))
        quotes, trades = joined([(part.quotes, part.trades) for part in (before, after)])
        assert same(quotes, tape.quotes)
        assert same(trades, tape.trades)
        for earlier, later in ((before.quotes, after.quotes), (before.trades, after.trades)):
            assert received_ns(earlier).max() < moment <= received_ns(later, since_ns=received_ns(earlier)[-1]).min()
        assert before.steps == after.steps == tape.steps
    assert np.shares_memory(after.quotes.bid, tape.quotes.bid)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_a_cut_lies_within_the_tape(share):
    with pytest.raises(ValueError, match="share must be above 0 and below 1"):
        walk().split(share)
    with pytest.raises(ValueError, match=r"share must leave quotes on both sides, got 0\.5 with 1 quotes"):
        tape_of(quotes_of([1]), trades_of([])).split(0.5)


@pytest.mark.parametrize("rows", [0, -1, 1.5, True, None])
def test_a_piece_has_at_least_one_row(rows):
    with pytest.raises(ValueError, match="rows must be a whole number of at least 1"):
        next(walk().chunks(rows))


def test_columns_in_a_file_are_taken_as_they_are(tmp_path):
    np.save(tmp_path / "bid.npy", np.full(3, 100.0))
    bid = np.load(tmp_path / "bid.npy", mmap_mode="r")
    quotes = quotes_of([1, 2, 3], bid=bid)
    assert np.shares_memory(quotes.bid, bid)
    assert np.shares_memory(next(tape_of(quotes, trades_of([])).chunks(2))[0].bid, bid)


def test_steps_are_measured_once_or_given():
    tape = walk()
    assert tape.steps is None
    assert (tape.price_step, tape.size_step) == (0.1, 0.001)
    assert tape.steps == Steps(price=0.1, size=0.001)
    given_ones = tape_of(tape.quotes, tape.trades, steps=Steps(price=0.5, size=None))
    assert (given_ones.price_step, given_ones.size_step) == (0.5, None)
    with pytest.raises(ValueError, match=r"Tape\.steps must be Steps or None, got float"):
        tape_of(tape.quotes, tape.trades, steps=0.1)


def test_the_grid_is_that_of_quotes_and_trades():
    tape = tape_of(quotes_of(range(50), bid=100.0, ask=np.arange(50) + 101.0), trades_of([1], price=100.5, size=0.25))
    assert (tape.price_step, tape.size_step) == (0.5, 0.01)  # of sizes there are too few values for a divisor


def test_in_units_of_some_coins_all_amounts_of_money_stay():
    tape = walk()
    units = tape.in_units_of(0.001)
    assert units.symbol == "0.001 BTCUSDT"
    assert (units.price_step, units.size_step) == (0.0001, 1.0)
    for rows, others, price, size in (
        (tape.quotes, units.quotes, "bid", "bid_size"),
        (tape.quotes, units.quotes, "ask", "ask_size"),
        (tape.trades, units.trades, "price", "size"),
    ):
        money = getattr(rows, price) * getattr(rows, size)
        np.testing.assert_allclose(getattr(others, price) * getattr(others, size), money, rtol=4e-16)
        assert np.array_equal(getattr(others, size), np.round(1000 * getattr(rows, size)))
        assert np.array_equal(getattr(others, price), np.round(10 * getattr(rows, price)) / 10_000)
    assert np.shares_memory(units.quotes.local_ns, tape.quotes.local_ns)
    assert not units.quotes.bid.flags.writeable
    assert tape.in_units_of(1) is tape


def test_prices_off_any_grid_are_multiplied():
    tape = tape_of(quotes_of([1, 2], bid=np.pi, ask=np.pi * 1.1, bid_size=np.e), trades_of([]))
    units = tape.in_units_of(0.3)
    assert (units.price_step, units.size_step) == (None, None)
    assert (units.quotes.bid[0], units.quotes.bid_size[0]) == (np.pi * 0.3, np.e * (1 / 0.3))


@pytest.mark.parametrize("coins", [0, -1.0, math.nan, math.inf])
def test_a_unit_must_be_positive(coins):
    with pytest.raises(ValueError, match="coins must be finite and above 0"):
        walk().in_units_of(coins)


def test_quoted_ns_is_the_first_quote_and_the_latest_one():
    tape = tape_of(quotes_of([START_NS, START_NS + 9, START_NS + 7]), trades_of([START_NS - 5]))
    assert tape.quoted_ns == (START_NS, START_NS + 9)


@pytest.mark.parametrize("time", [-(2**62), 2**62, 2**63 - 1])
def test_times_whose_differences_would_overflow_are_refused(time):
    times = np.zeros(len(walk().trades), dtype=np.int64)
    times[2] = time
    with pytest.raises(
        ValueError, match=rf"Trades.local_ns must be nanoseconds from 1824 to 2116, got {time} in row 2"
    ):
        dataclasses.replace(walk().trades, local_ns=times)
