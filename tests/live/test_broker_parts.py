"""The small parts of the brokers: names, steps, rate limit, keys, and the question before real orders."""

import logging
import math
import pickle
from dataclasses import dataclass
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hftgym.live.broker import Wanted
from hftgym.live.brokers.confirm import confirm
from hftgym.live.brokers.desk import Desk, Patience
from hftgym.live.brokers.ids import OrderIds, is_own
from hftgym.live.brokers.keys import Keys, find_keys
from hftgym.live.brokers.throttle import TokenBucket
from hftgym.live.brokers.venue import Execution, Market, Report
from hftgym.live.events import Quote

MINUTE_NS = 60_000_000_000


def test_names_go_on_after_a_restart():
    ids = OrderIds("a1")
    first = [ids.take() for _ in range(3)]
    again = OrderIds("a1", ids.next_number)
    assert [*first, again.take()] == [f"hfta1n000000000{n}" for n in range(4)]
    assert all(is_own(name) and len(name) <= 32 and name.isalnum() for name in first)
    assert not any(is_own(name) for name in ("", None, "by-hand", "hft", "hftXn0000000000"))


@pytest.mark.parametrize(("session", "number"), [("", 0), ("UPPER", 0), ("a-b", 0), ("a" * 17, 0), ("a", -1)])
def test_names_that_a_venue_would_refuse(session, number):
    with pytest.raises(ValueError, match=r"session must|next_number must"):
        OrderIds(session, number)


@given(st.integers(1, 10**7), st.sampled_from([0.01, 0.1, 0.5, 1e-8, 5.0, 0.00025]), st.floats(0, 0.999))
def test_prices_are_rounded_away_from_the_other_side(steps, step, part):
    market = Market(price_step=step, lot=1.0)
    on = market.price(steps * step, side=1)
    assert on == market.price(on, side=1) == market.price(on, side=-1)
    between = on + part * step
    assert market.price(between, side=1) <= between + step * 2e-6
    assert market.price(between, side=-1) >= between - step * 2e-6
    assert len(repr(on)) <= 18, "the double nearest to a short decimal"


def test_sizes_are_whole_lots_and_worth_sending():
    market = Market(price_step=0.01, lot=0.001, min_size=0.002, min_notional=10.0)
    assert market.size(0.1 + 0.2, price=100) == 0.3
    assert market.size(0.3009, price=100) == 0.3
    assert market.size(0.0019, price=1e6) == market.size(0.099, price=100) == 0.0


def test_a_repeated_quote_gets_nothing_beside_the_order_that_it_keeps():
    desk = Desk(Market(price_step=0.1, lot=0.1), OrderIds("a"), patience=Patience(), wall_clock=lambda: 0)
    wanted = Wanted(99.5, 0.0, 1.0, 0.0)
    desk.see(Quote(0, 0, 99.0, 1.0, 101.0, 1.0))
    desk.want(wanted)
    name = desk.next(0).order.ticket.order_id
    desk.report(Report(name, "v", "open", 0.0), 1)
    desk.execution(Execution("t1", name, "v", 1, 99.5, 0.6, 0.0), 2)
    desk.want(wanted)
    desk.execution(Execution("t2", name, "v", 1, 99.5, 0.4, 0.0), 3)
    # The gate has let a repeated quote through without counting an order.
    assert desk.next(4) is None
    desk.want(wanted)
    assert desk.next(5).order.ticket.size == 1.0


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1.0, 0.0])
@pytest.mark.parametrize("field", ["size", "price"])
def test_garbage_never_becomes_a_fill_and_is_asked_about(field, wrong):
    desk = Desk(Market(price_step=0.1, lot=0.1), OrderIds("a"), patience=Patience(), wall_clock=lambda: 0)
    desk.want(Wanted(99.5, 0.0, 1.0, 0.0))
    name = (order := desk.next(0).order).ticket.order_id
    execution = Execution("t1", name, "v", 1, 99.5, 1.0, 0.0)
    assert not desk.execution(execution._replace(**{field: wrong}), 1)
    desk.report(Report(name, "v", "open", math.nan), 1)
    desk.report(Report(name, "v", "open", math.inf), 1)
    assert (list(desk.table.fills), desk.table.inventory) == ([], 0.0)
    desk.report(Report(name, "v", "filled", 1.0), 1)
    assert desk.table.in_flight() == (1.0, 0.0)
    assert desk.next(MINUTE_NS).kind == "look"
    desk.looked(order, MINUTE_NS, report=Report(name, "v", "filled", 1.0), executions=(execution,), now_ns=MINUTE_NS)
    assert (desk.table.inventory, desk.table.in_flight()) == (1.0, (0.0, 0.0))


def test_an_own_order_that_is_found_at_the_venue_is_cancelled_and_again_if_it_comes_back():
    desk = Desk(Market(price_step=0.1, lot=0.1), OrderIds("a"), patience=Patience(), wall_clock=lambda: 0)
    found = Report("hftoldn0000000001", "v", "open", 0.25, side=-1, price=101.0, size=1.0)
    for _ in range(2):  # the second time the table has it as cancelled
        desk.adopt(found, 0)
        assert desk.table.in_flight() == (0.0, 0.75)
        action = desk.next(0)
        assert (action.kind, action.order.ticket.order_id, action.order.venue_id) == ("cancel", found.order_id, "v")
        desk.report(found._replace(state="cancelled"), 0)
        assert desk.next(0) is None
        assert not list(desk.table.live())
    assert not desk.table.fills, "what was filled before is in the account's holdings"


@pytest.mark.parametrize("filled", [math.nan, math.inf, -0.5, 7.0])
def test_an_own_order_that_is_found_with_a_filled_that_is_no_number_may_be_filled_whole(filled):
    desk = Desk(Market(price_step=0.1, lot=0.1), OrderIds("a"), patience=Patience(), wall_clock=lambda: 0)
    desk.adopt(found := Report("hftoldn0000000001", "v", "open", filled, side=-1, price=101.0, size=1.0), 0)
    assert desk.table.in_flight() == (0.0, 1.0)
    assert desk.next(0).kind == "cancel"
    desk.report(found._replace(state="cancelled", filled=0.0), 0)
    assert (desk.table.in_flight(), list(desk.table.live())) == ((0.0, 0.0), [])


def test_fills_that_the_venue_has_told_of_and_has_forgotten_with_their_order_are_not_waited_for():
    desk = Desk(Market(price_step=0.1, lot=0.1), OrderIds("a"), patience=Patience(), wall_clock=lambda: 0)
    desk.want(Wanted(99.5, 0.0, 1.0, 0.0))
    order = desk.next(0).order
    desk.report(Report(order.ticket.order_id, "v", "cancelled", 0.5), 1)
    assert desk.table.in_flight() == (0.5, 0.0)
    assert desk.next(MINUTE_NS).kind == "look"
    desk.looked(order, MINUTE_NS, report=None, executions=(), now_ns=MINUTE_NS)
    assert not list(desk.table.live())


def test_what_the_venue_was_too_busy_for_is_sent_again_under_another_name():
    desk = Desk(Market(price_step=0.1, lot=0.1), OrderIds("a"), patience=Patience(), wall_clock=lambda: 0)
    desk.want(Wanted(99.5, 0.0, 1.0, 0.0))
    first = desk.next(0).order
    desk.refused(first, 1, final=False)
    second = desk.next(1)
    assert (second.kind, second.order.ticket.size) == ("place", 1.0)
    assert second.order.ticket.order_id != first.ticket.order_id
    desk.refused(second.order, 2)
    assert (desk.next(2), desk.counters.rejected) == (None, 1)


def test_no_minute_sees_more_requests_than_alpaca_allows():
    bucket, now_ns, sent = TokenBucket(190 / 60, burst=10, now_ns=0), 0, []
    while now_ns < 5 * MINUTE_NS:
        wait_s = bucket.delay_s(now_ns)
        if wait_s > 0:
            now_ns += int(wait_s * 1e9) + 1
        else:
            bucket.take()
            sent.append(now_ns)
    busiest = max(sum(start <= at < start + MINUTE_NS for at in sent) for start in sent)
    assert 195 <= busiest <= 200


def test_orders_leave_room_for_cancels_and_a_rest_stops_everything():
    bucket = TokenBucket(1.0, burst=3, now_ns=0)
    bucket.take()
    assert bucket.delay_s(0) == 0
    assert bucket.delay_s(0, spare=2) == 1.0
    bucket.block(5.0, now_ns=0)
    assert bucket.delay_s(0) == 5.0


def test_keys_come_from_the_environment_and_are_never_shown(monkeypatch):
    monkeypatch.setenv("HFTGYM_BINANCE_KEY", "public-part")
    monkeypatch.setenv("HFTGYM_BINANCE_SECRET", "private-part")
    keys = find_keys("binance")
    assert keys == Keys("public-part", "private-part")
    shown = [repr(keys), str(keys), f"{keys}", keys.hidden("error: public-part private-part GET /x?signature=ab12 end")]
    assert not any(word in text for text in shown for word in ("public-part", "private-part", "ab12"))
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(keys)


def test_missing_keys_say_where_they_belong(monkeypatch):
    monkeypatch.delenv("HFTGYM_NOWHERE_KEY", raising=False)
    with pytest.raises(LookupError, match="HFTGYM_NOWHERE_KEY and HFTGYM_NOWHERE_SECRET"):
        find_keys("nowhere")


@dataclass(frozen=True)
class Limits:
    max_inventory: float = 3.0
    max_loss: float = 25.0


@pytest.mark.parametrize(
    ("typed", "answer"), [("BTC/USDT", True), (" BTC/USDT\n", True), ("btc/usdt", False), ("y", False), ("", False)]
)
def test_real_orders_need_the_symbol_typed(typed, answer):
    shown = []
    assert confirm("binance", "BTC/USDT", Limits(), ask=lambda text: shown.append(text) or typed) is answer
    assert all(word in shown[0] for word in ("REAL ORDERS", "binance", "max_inventory", "3.0", "max_loss", "25.0"))


def test_nobody_there_is_a_no():
    def gone(text):
        raise EOFError

    assert confirm("binance", "BTC/USDT", Limits(), ask=gone) is False


@pytest.mark.slow
@pytest.mark.parametrize("exchange_id", ["binance", "binanceusdm"])
def test_the_exchange_refuses_an_order_that_comes_when_it_has_been_given_up(monkeypatch, exchange_id):
    from hftgym.live.brokers.ccxt import open_exchange

    for name in ("KEY", "SECRET"):
        monkeypatch.setenv(f"HFTGYM_{exchange_id}_{name}".upper(), "x" * 20)
    exchange, _ = open_exchange(exchange_id, url="http://127.0.0.1:1")
    section = ["private"] if exchange_id == "binance" else ["fapiPrivate"]
    request = exchange.sign("order", section, "POST", {"symbol": "X"})
    valid_ms = int(parse_qs(request["body"])["recvWindow"][0])
    # The clock of the one that sends may be a second ahead of the exchange's.
    assert valid_ms + 1_000 <= Patience().arrival_s * 1e3


@pytest.mark.parametrize(
    ("account", "others", "right"), [("", 0, 1), ("DU1", 0, 1), ("DU1", 1, 1), ("", 1, 0), ("DU3", 1, 0)]
)
def test_of_a_login_with_several_accounts_one_is_named_and_it_alone_is_counted(account, others, right):
    import asyncio

    from ib_async import Position

    from hftgym.live.brokers.ib import IbVenue
    from tests.servers.exchange import Exchange
    from tests.servers.ib_stub import CONTRACT, IbStub

    stub = IbStub(Exchange(units=2.0))
    stub.others = [Position("DU2", CONTRACT, 40.0, 0.0)] * others

    async def play():
        venue = IbVenue(CONTRACT, account=account, ib=stub)
        await venue.load()
        return await venue.balance()

    if right:
        assert asyncio.run(play())[1] == 2.0
    else:
        with pytest.raises(ValueError, match=f"account must be one of the login's: DU1, DU2, got '{account}'"):
            asyncio.run(play())


@pytest.mark.slow
def test_what_has_waited_for_a_thread_is_not_sent_any_more():
    import asyncio
    import threading
    from concurrent.futures import ThreadPoolExecutor

    from hftgym.live.brokers import alpaca
    from hftgym.live.brokers.venue import LostError, Ticket
    from tests.live.venues import bench

    async def play():
        async with bench("alpaca") as b:
            await b.start()
            hung = threading.Event()  # every thread waits for an answer
            asyncio.get_running_loop().set_default_executor(threads := ThreadPoolExecutor(1))
            threads.submit(hung.wait)
            placing = asyncio.create_task(b.broker.venue.place(Ticket("hftan0000000000", 1, 99.0, 1.0)))
            await asyncio.sleep(1.5 * alpaca._WAIT_S)
            hung.set()
            with pytest.raises(LostError, match="it was not sent"):
                await placing
            assert b.exchange.orders == []

    asyncio.run(play())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ccxt", "alpaca"])
def test_keys_are_in_no_log_no_repr_and_no_error(kind, caplog):
    import asyncio
    import traceback

    from hftgym.live.brokers.venue import RejectedError, VenueError
    from tests.live.venues import bench
    from tests.servers import alpaca, ccxt_exchange

    module = {"ccxt": ccxt_exchange, "alpaca": alpaca}[kind]
    texts = []

    async def play():
        async with bench(kind) as b:
            await b.start()
            b.exchange.upset("place", "refuse", "mute", "busy")
            b.exchange.upset("cancel", "deaf", "busy")
            for price in (99.1, 99.2, 99.3):
                b.quote(price, 0.0, 1.0, 0.0)
                await asyncio.sleep(0.3)
            await b.drop()
            await b.broker.cancel_all()
            for how in ("refuse", "busy", "deaf"):
                b.exchange.upset("look", how)
                try:
                    await b.broker.venue.look("hftn0000000000", "", 0)
                except VenueError as error:
                    texts.extend(traceback.format_exception(error))
            texts.append(repr(b.broker) + repr(b.broker.venue))
            await b.broker.close()
            right, module.KEY = module.KEY, "another"  # the server takes these keys no longer
            try:
                with pytest.raises(RejectedError) as caught:
                    await b.start(keys=right)
            finally:
                module.KEY = right
            texts.extend(traceback.format_exception(caught.value))

    with caplog.at_level(logging.DEBUG):
        asyncio.run(play())
    own = [record.getMessage() for record in caplog.records if not record.name.startswith("aiohttp.access")]
    assert len(own) > 5
    assert texts
    for text in own + texts:
        assert module.KEY not in text.replace(f'KEY = "{module.KEY}"', "")
        assert module.SECRET not in text
