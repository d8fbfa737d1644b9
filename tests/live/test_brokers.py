"""What every broker does, whatever library it speaks through."""

import asyncio
import time

import pytest

from tests.live.venues import WORLDS, bench

# Importing ccxt alone takes seconds.
KINDS = [pytest.param(kind, marks=[] if kind == "ib" else pytest.mark.slow) for kind in sorted(WORLDS)]
pytestmark = pytest.mark.parametrize("kind", KINDS)


def at_a_venue(test):
    """Run a test with a bench of each kind."""

    def run(kind):
        async def play():
            async with bench(kind, units=2.0) as made:
                await test(made)

        asyncio.run(play())

    run.__name__ = test.__name__
    return run


@at_a_venue
async def test_start_cancels_what_is_left_and_reports_holdings(b):
    left = b.exchange.place("hftolderonen0000000007", 1, 98.0, 1.0)
    b.exchange.fill(left, 0.4)
    manual = b.exchange.place("by-hand", -1, 110.0, 1.0)
    holdings = await b.start()
    assert (holdings.cash, holdings.inventory, holdings.orders) == (10_000 - 0.4 * 98, 2.4, ())
    assert b.exchange.open() == [manual]
    assert b.take() == []


@at_a_venue
async def test_quotes_become_orders_are_kept_and_replaced(b):
    await b.start()
    await b.quoted(99.5, 100.5, 1.0, 2.0)
    first = b.exchange.open(1)[0]
    b.quote(99.5, 100.6, 1.0, 2.0)
    await b.quoted(99.5, 100.6, 1.0, 2.0)
    assert b.exchange.open(1) == [first]
    await b.quoted(99.4, 100.6, 1.0, 0.0)
    await b.quoted(0.0, 0.0, 0.0, 0.0)
    assert b.broker.in_flight() == (0.0, 0.0)
    ids = [order.client_id for order in b.exchange.orders]
    assert len(set(ids)) == len(ids) == 4
    assert all(name.startswith("hfttestsn") for name in ids)


@at_a_venue
async def test_prices_and_sizes_are_rounded_and_too_small_ones_not_sent(b):
    await b.start()
    b.quote(99.507, 100.503, 0.0001, 1.5)
    await b.until(lambda: b.resting() != [])
    (order,) = b.exchange.open()
    assert (order.side, order.price, order.size) == (-1, 100.51, 1.5)


@at_a_venue
async def test_partial_fills_and_the_rest(b):
    await b.start()
    await b.quoted(99.5, 100.5, 1.0, 1.0)
    bid = b.exchange.open(1)[0]
    b.exchange.fill(bid, 0.25)
    await b.until(lambda: b.position() == 0.25)
    assert b.broker.in_flight() == (0.75, 1.0)
    b.exchange.fill(bid, 0.75)
    await b.until(lambda: b.position() == 1.0)
    assert b.broker.inventory == b.exchange.units == 3.0
    assert {(fill.side, fill.price, fill.order_id) for fill in b.fills} == {(1, 99.5, bid.client_id)}
    assert b.broker.in_flight() == (0.0, 1.0)
    assert len(b.exchange.orders) == 2, "what was filled is not quoted again before the session has decided"
    await b.quoted(99.5, 100.5, 1.0, 1.0)


@at_a_venue
async def test_a_rejected_order_is_not_in_flight_and_waits_for_the_next_decision(b):
    await b.start()
    b.exchange.upset("place", "refuse")
    b.quote(99.5, 0.0, 1.0, 0.0)
    await b.until(lambda: b.broker.counters.rejected == 1)
    assert b.quiet()
    assert b.exchange.orders == []
    await b.quoted(99.5, 0.0, 1.0, 0.0)


@at_a_venue
async def test_an_order_unknown_when_it_is_cancelled_was_filled(b):
    await b.start()
    await b.quoted(99.5, 0.0, 1.0, 0.0)
    b.exchange.held = True
    b.exchange.fill(b.exchange.open()[0], 1.0)
    b.quote(0.0, 0.0, 0.0, 0.0)
    await b.until(b.quiet)
    assert b.position() == 1.0
    b.exchange.release(twice=True, backwards=True)
    await asyncio.sleep(0.05)
    assert b.position() == 1.0


@at_a_venue
async def test_a_fill_that_comes_after_the_cancel(b):
    await b.start()
    await b.quoted(99.5, 0.0, 1.0, 0.0)
    b.exchange.held = True
    b.exchange.fill(b.exchange.open()[0], 0.3)
    b.quote(0.0, 0.0, 0.0, 0.0)
    await b.until(lambda: b.exchange.open() == [])
    b.exchange.release(backwards=True)
    await b.until(b.quiet)
    assert b.position() == 0.3
    assert b.broker.inventory == b.exchange.units


@at_a_venue
async def test_a_lost_connection_loses_no_fill(b):
    await b.start()
    await b.quoted(99.5, 100.5, 1.0, 1.0)
    await b.drop()
    b.exchange.fill(b.exchange.open(1)[0], 1.0)
    b.exchange.fill(b.exchange.open(-1)[0], 0.5)
    holdings = await b.broker.reconcile()
    assert b.position() == 0.5
    assert (holdings.inventory, holdings.cash) == (b.exchange.units, b.exchange.cash)
    assert [(order.side, order.left) for order in holdings.orders] == [(-1, 0.5)]
    await b.until(b._connected)
    await b.quoted(99.4, 100.6, 1.0, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["deaf", "mute"])
def test_an_order_without_an_answer_is_found_or_given_up(kind, how):
    async def play():
        async with bench(kind) as b:
            await b.start()
            b.exchange.upset("place", how)
            b.quote(99.5, 0.0, 1.0, 0.0)
            await b.until(lambda: b.broker.counters.lost >= 1)
            assert b.broker.in_flight() == (1.0, 0.0) or b.known()
            b.quote(99.5, 0.0, 1.0, 0.0)
            await b.until(b.known if how == "mute" else b.quiet)
            await b.quoted(99.5, 0.0, 1.0, 0.0)
            assert len(b.exchange.orders) == 1

    asyncio.run(play())


@at_a_venue
async def test_a_busy_venue_is_left_alone_and_the_newest_quote_wins(b):
    await b.start()
    b.exchange.upset("place", "busy")
    b.quote(99.1, 0.0, 1.0, 0.0)
    await b.until(lambda: b.exchange.seen[-1:] == ["place"])
    start = time.monotonic()
    for price in (99.2, 99.3, 99.4):
        b.quote(price, 0.0, 1.0, 0.0)
    await b.until(lambda: b.resting() == [(1, 99.4, 1.0)])
    assert time.monotonic() - start > 0.8
    assert b.exchange.seen.count("place") == 2


@at_a_venue
async def test_kill_leaves_no_order_at_the_venue(b):
    await b.start()
    await b.quoted(99.5, 100.5, 1.0, 1.0)
    b.exchange.upset("cancel", "mute", "deaf", "busy")
    b.quote(99.4, 100.4, 1.0, 1.0)
    await asyncio.wait_for(b.broker.cancel_all(), 20)
    assert b.exchange.open() == []
    assert b.quiet()


@at_a_venue
async def test_taking_only_where_it_is_allowed(b):
    await b.start()
    b.quote(101.0, 0.0, 1.0, 0.0)
    await b.quoted(0.0, 100.5, 0.0, 1.0)
    assert b.position() == 0.0
    await b.broker.cancel_all()
    await b.broker.close()
    await b.start(allow_taking=True, session="second")
    b.quote(101.0, 0.0, 1.0, 0.0)
    await b.until(lambda: b.position() == 1.0)
    await b.until(b.quiet)
    assert [fill.price for fill in b.fills] == [101.0]
    assert len(b.exchange.orders) == 2


def test_a_number_that_was_used_before_makes_no_second_order(kind):
    if kind == "ib":
        pytest.skip("Interactive Brokers does not compare orderRef: the journal's next number alone prevents it")

    async def play():
        async with bench(kind) as b:
            old = b.exchange.place("hfttestsn0000000000", 1, 99.5, 1.0)
            b.exchange.fill(old, 1.0)
            await b.start()
            b.quote(99.5, 0.0, 1.0, 0.0)
            await b.until(lambda: b.broker.counters.rejected == 1)
            assert b.quiet()
            assert b.take() == []
            await b.quoted(99.5, 0.0, 1.0, 0.0)
            assert [order.client_id[-1] for order in b.exchange.orders] == ["0", "1"]

    asyncio.run(play())


@at_a_venue
async def test_what_cannot_be_written_down_is_not_sent(b):
    def full(order):
        raise OSError("No space left on device")

    await b.start(sent=full)
    b.quote(99.5, 0.0, 1.0, 0.0)
    await b.until(lambda: b.broker.broken is not None)
    assert b.broker.broken == "OSError: No space left on device"
    assert b.exchange.orders == []
    await asyncio.wait_for(b.broker.cancel_all(), 20)
