"""A session counts units, a venue counts coins: there and back nothing changes."""

import asyncio
import dataclasses
import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hftgym.live.broker import Fill, Holdings, OpenOrder, Wanted
from hftgym.live.events import Quote, Status, Trade
from hftgym.live.paper import PaperBroker
from hftgym.live.records import OrderRecords
from hftgym.live.session import LiveSession
from hftgym.live.units import UnitBroker, Units
from hftgym.tape.steps import Steps, rescaled
from tests.live.recorded import RecordedFeed
from tests.live.test_session import PARAMS, Drawn
from tests.tapes import random_tape

COINS = st.sampled_from([1.0, 0.1, 0.001, 0.00005, 0.25, 0.003, 10.0, 1_000.0])
STEPS = st.sampled_from([0.01, 0.1, 0.5, 0.05, 0.001, 1.0, 0.00001])
NUMBERS = st.integers(1, 2**31)
SIZES = st.floats(1e-6, 1e6)


def units_of(coins, step):
    return Units(coins, price_step=Steps(price=step, size=None).in_units_of(coins).price)


@given(COINS, STEPS, NUMBERS)
def test_a_price_on_the_grid_comes_back_to_the_bit_and_is_the_one_of_a_tape(coins, step, number):
    price, units = float(number * Decimal(repr(step))), units_of(coins, step)
    per_unit = units.unit_price(price)
    assert units.coin_price(per_unit) == price
    assert units.unit_price(units.coin_price(per_unit)) == per_unit
    assert per_unit == rescaled(np.array([price]), coins, step=step, new_step=units.price_step)[0]


@given(COINS, STEPS, st.floats(1e-3, 1e6), SIZES)
def test_what_lies_off_the_grid_comes_back_within_rounding(coins, step, price, size):
    units = units_of(coins, step)
    quote, trade = Quote(1, 2, price, size, price * 1.01, size), Trade(1, 2, price, size, -1)
    for event in (quote, trade):
        assert units.event_in_coins(units.event_in_units(event)) == pytest.approx(event, rel=1e-9, abs=1e-6 * step)
    status = Status(1, "gap", "")
    assert units.event_in_units(status) == units.event_in_coins(status) == status


@given(COINS, STEPS, NUMBERS, SIZES, st.sampled_from([1, -1]))
def test_what_is_wanted_is_what_is_filled_and_worth_as_much(coins, step, number, size, side):
    units, price = units_of(coins, step), float(number * Decimal(repr(step)))
    wanted = Wanted(units.unit_price(price), units.unit_price(price), size, size)
    sent = units.wanted_in_coins(wanted)
    assert sent.bid == sent.ask == price
    back = units.fill_in_units(Fill(0, side, sent.bid, sent.bid_size, 0.5, "a"))
    assert (back.price, back.side, back.fee) == (wanted.bid, side, 0.5)
    assert back.size == pytest.approx(size, rel=1e-15)
    assert back.price * back.size == pytest.approx(sent.bid * sent.bid_size, rel=1e-12)
    order = units.order_in_units(OpenOrder(order_id="a", side=side, price=sent.bid, left=sent.bid_size))
    assert (order.price, order.left) == (back.price, back.size)


@pytest.mark.parametrize("coins", [0.0, -1.0, float("nan"), float("inf")])
def test_a_unit_is_some_coins(coins):
    with pytest.raises(ValueError, match="coins must be finite and above 0"):
        Units(coins, price_step=None)


def session(tape, broker):
    seen = []
    trading = LiveSession(
        RecordedFeed(tape), Drawn(3), broker, params=PARAMS, price_step=1.0, clock=None, observers=[seen.append]
    )
    asyncio.run(trading.run(190))
    return seen


def test_a_session_over_a_broker_of_coins_is_the_session_over_one_of_units():
    tape = random_tape(3).in_units_of(10.0)
    of_coins = PaperBroker(dataclasses.replace(PARAMS, inventory_limit=20), latency_s=0.004)
    one = session(tape, PaperBroker(PARAMS, latency_s=0.004))
    two = session(tape, UnitBroker(of_coins, units=Units(10.0, price_step=tape.price_step)))
    assert sum(len(s.fills) for s in one) > 20
    for name in ("inventory", "cash", "equity"):
        expected = [getattr(s, name) for s in one]
        assert [getattr(s, name) for s in two] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_coins_that_count_as_none_are_no_position_and_more_than_the_limit_is_refused():
    def begun(coins, cash=7.0, **how):
        broker = PaperBroker(PARAMS, holdings=Holdings(cash=cash, inventory=coins))
        return asyncio.run(UnitBroker(broker, units=Units(0.1, price_step=None), **how).start())

    assert begun(2.3, flat=2.0, most=3.0) == Holdings(cash=7.0, inventory=pytest.approx(3.0))
    assert begun(1.7, flat=2.0, most=3.0).inventory == pytest.approx(-3.0)
    with pytest.raises(ValueError, match=r"at most 3 units of 0\.1 coins.* it has 4 units"):
        begun(2.4, flat=2.0, most=3.0)
    for account in ((math.nan, 7.0), (2.0, math.nan)):  # an answer that is no account
        with pytest.raises(ValueError, match="nan"):
            begun(*account)


def test_an_order_is_written_down_in_units_and_its_end_once():
    written = []

    class Journal:
        def append(self, kind, /, **values):
            written.append((kind, values))

    records = OrderRecords(Journal(), units=Units(0.1, price_step=0.1))
    records.closed("of an earlier session", "cancelled")
    records.sent(OpenOrder(order_id="a", side=-1, price=101.0, left=0.25))
    records.closed("a", "rejected")
    records.closed("a", "filled")  # a late message has brought it back
    order = {"order_id": "a", "side": -1, "price": pytest.approx(10.1), "size": 2.5}
    assert written == [("order", order), ("closed", {"order_id": "a", "reason": "rejected"})]
