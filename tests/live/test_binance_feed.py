import numpy as np
import pytest

from hftgym.live.binance import BinanceFeed
from hftgym.live.connection import Limits
from hftgym.live.events import Quote, Status, Trade
from hftgym.tape import NO_TIME, read_tape
from tests.live.feeds import (
    QUICK,
    START_MS,
    agg_trade,
    capture,
    has,
    kinds,
    of,
    play,
    quote,
    ticking,
    trade,
    usdm_quote,
)
from tests.servers.binance import SHUTDOWN, BinanceServer
from tests.servers.played import cut, hang, ping, rollover, silent

IN_STEP = ["connected", "resynchronised", "Q"]


def run(scripts, enough, *, market="spot", limits=QUICK, server=None, **more):
    server = server or BinanceServer(scripts)
    return play(server, lambda s: BinanceFeed("btcusdt", market, url=s.url, limits=limits, seed=1, **more), enough)


def test_quotes_and_trades_come_with_the_receivers_times():
    events, feed = run([[quote(1), trade(7)]], has(1, 1), clock=ticking())
    connected, resynchronised, first, second = events
    assert (connected.kind, resynchronised.kind) == ("connected", "resynchronised")
    assert first == Quote(resynchronised.received_ns, NO_TIME, 100.1, 2.5, 100.2, 3.5)
    assert second == Trade(first.received_ns + 10**9, START_MS * 10**6, 100.2, 0.5, +1)
    assert (feed.venue, feed.symbol) == ("binance-spot", "BTCUSDT")
    counters = feed.counters
    assert (counters.messages, counters.quotes, counters.trades, counters.ignored, counters.garbage) == (3, 1, 1, 1, 0)


def test_the_password_of_an_address_is_in_no_event():
    server = BinanceServer([[quote(1), trade(7)]])

    def with_password(s):
        return BinanceFeed("btcusdt", url=f"{s.url.replace('//', '//me:hidden1@')}?token=hidden2", limits=QUICK, seed=1)

    events, _ = play(server, with_password, has(1, 1))
    assert events[0].text.startswith("127.0.0.1")
    assert "hidden" not in str(events)


def test_a_usdm_quote_has_the_venues_time_and_a_forced_trade_is_none():
    forced = trade(2, X="INSURANCE_FUND").replace(b',"M":true', b"")
    events, feed = run([[usdm_quote(1), trade(1), forced, trade(3)]], has(1, 2), market="usdm")
    assert of(Quote, events)[0].exchange_ns == START_MS * 10**6
    assert (feed.counters.gaps, feed.counters.trades) == (0, 2)


def test_aggregated_trades_where_asked_for():
    events, feed = run([[quote(1), agg_trade(5), agg_trade(6)]], has(1, 2), trades="aggTrade")
    assert [t.taker_side for t in of(Trade, events)] == [-1, -1]
    assert feed.counters.gaps == 0


@pytest.mark.parametrize("fault", [cut, hang, rollover], ids=lambda fault: fault.__name__)
def test_a_lost_connection_is_made_anew(fault):
    server = BinanceServer([[quote(5), fault], [quote(3), trade(1)]])  # the numbers may begin anew
    events, feed = run(None, has(2, 1), server=server)
    assert kinds(events) == [*IN_STEP, "disconnected", *IN_STEP, "T"]
    assert (feed.counters.reconnects, feed.counters.garbage, server.connections) == (1, 0, 2)
    assert len(server.requests) == 2


def test_a_shutdown_notice_reconnects_at_once():
    for notice in (SHUTDOWN, b'{"stream":"btcusdt@trade","data":{"e":"serverShutdown","E":1}}'):
        events, _ = run([[quote(1), notice, quote(2)], [quote(1)]], has(2))
        assert kinds(events) == [*IN_STEP, "shutdown", *IN_STEP]


def test_a_refused_subscription_is_told_and_tried_again():
    server = BinanceServer([[quote(1)]], refuse=2)
    events, _ = run(None, has(1), server=server)
    assert kinds(events) == ["connected", "disconnected"] * 2 + IN_STEP
    assert "no such stream" in events[1].text


def test_duplicates_and_what_was_overtaken_are_dropped():
    script = [quote(5), quote(5), quote(4, "1"), quote(6, "100.15"), trade(7), trade(7), trade(6), trade(8)]
    events, feed = run([script], has(2, 2))
    assert kinds(events) == [*IN_STEP, "Q", "T", "T"]
    assert [q.bid for q in of(Quote, events)] == [100.1, 100.15]
    assert (feed.counters.duplicates, feed.counters.gaps) == (4, 0)


def test_missing_trades_are_a_gap():
    events, feed = run([[quote(1), trade(7), trade(10), trade(8), quote(2)]], has(2, 2))
    assert kinds(events) == [*IN_STEP, "T", "gap", "T", "resynchronised", "Q"]
    assert (feed.counters.gaps, feed.counters.duplicates) == (2, 1)


def test_an_absurd_number_does_not_silence_the_feed():
    script = [quote(2**62), *(quote(n) for n in range(200))]
    events, feed = run([script, [quote(1)]], has(2))
    assert kinds(events) == [*IN_STEP, "gap", *IN_STEP]
    assert feed.counters.duplicates == 101


GARBAGE = [
    b"", b"{", b"null", b"[1]", b"\xff\xfe", b'{"stream":', b"1" * 5_000, b"[" * 100_000, b'{"stream":"btcusdt@trade"}',
    quote(9, b=1.5), quote(9, b="NaN"), quote(9, b="-1"), quote(9, b="1e300"), quote(9, b="0"), quote(9, A="inf"),
    quote(9, b=None), quote(9, a=[]), quote(9, u="9"), quote(9, u=-1), quote(9, u=None), quote(9, s="ETHUSDT"),
    quote(9, b="1_0"), quote(9, ps="BTCUSD"), quote(9, e="trade"), quote(9, u=2**70), quote(9, u=True),
    quote(9, b=" 1"), quote(9, B="1 "), quote(9, a="\t1"), quote(9, A="1\n"),
    trade(9, "nan"), trade(9, "-1"), trade(9, q="1e999"), trade(9, m="true"), trade(9, t=1.5), trade(9, E=5),
    trade(9, s="ETHUSDT"), trade(9, e="aggTrade"), trade(9, X=5),
]  # fmt: skip


def test_garbage_is_counted_and_never_becomes_a_price():
    events, feed = run([[quote(1), *GARBAGE, quote(2, extra=1), trade(1, extra=1)]], has(2, 1))
    assert kinds(events) == [*IN_STEP, "Q", "T"]
    assert {q.bid for q in of(Quote, events)} == {100.1}
    # What belongs to a stream that was not subscribed to is not sent.
    assert feed.counters.garbage == len(GARBAGE)


def test_an_oversized_message_ends_the_connection_and_nothing_more():
    limits = Limits(message_bytes=10_000, backoff_s=0.02)
    events, feed = run([[quote(1), b"x" * 10_001], [quote(1)]], has(2), limits=limits)
    assert kinds(events) == [*IN_STEP, "disconnected", *IN_STEP]
    assert feed.counters.garbage == 1


def test_pings_of_the_venue_are_answered_and_counted():
    events, feed = run([[quote(1), ping, ping, quote(2)]], has(2))  # the script waits for the same payload
    assert len(events) == 4
    assert feed.counters.pings == 2


def test_a_silent_stream_is_stale_and_then_given_up():
    limits = Limits(stale_s=0.1, silence_s=0.4, backoff_s=0.02)
    events, _ = run([[quote(1), silent(0.2), quote(2), silent(60)], [quote(1)]], has(3), limits=limits)
    assert kinds(events) == [*IN_STEP, "stale", "resynchronised", "Q", "stale", "disconnected", *IN_STEP]


def test_garbage_alone_is_as_good_as_silence():
    limits = Limits(stale_s=0.1, silence_s=0.4, backoff_s=0.02)
    rubbish = [step for _ in range(100) for step in (b"rubbish", silent(0.01))]
    events, _ = run([[quote(1), *rubbish], [quote(1)]], has(2), limits=limits)
    assert kinds(events) == [*IN_STEP, "stale", "disconnected", *IN_STEP]


@pytest.mark.parametrize(
    ("market", "name"),
    [("spot", "binance_spot_btcusdt_20240808.gz"), ("usdm", "binance_usdm_btcusdt_20240808.gz")],
)
@pytest.mark.slow
def test_a_capture_means_the_same_live_and_recorded(market, name):
    lines, path = capture(name)
    tape = read_tape(path)
    enough = has(len(tape.quotes), len(tape.trades))
    events, feed = run([[line[20:] for line in lines]], enough, market=market, limits=Limits())
    quotes, trades = of(Quote, events), of(Trade, events)
    for column in ("exchange_ns", "bid", "bid_size", "ask", "ask_size"):
        np.testing.assert_array_equal([getattr(q, column) for q in quotes], getattr(tape.quotes, column))
    for column in ("exchange_ns", "price", "size", "taker_side"):
        np.testing.assert_array_equal([getattr(t, column) for t in trades], getattr(tape.trades, column))
    assert kinds(of(Status, events)) == ["connected", "resynchronised"]
    assert (feed.counters.garbage, feed.counters.duplicates, feed.counters.gaps) == (0, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"market": "coinm"}, "market must be one of 'spot', 'usdm', got 'coinm'"),
        ({"symbol": "BTC/USDT"}, "symbol must be letters and digits"),
        ({"quotes": "l3"}, "quotes must be one of"),
        ({"trades": "both"}, "trades must be one of"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BinanceFeed(**{"symbol": "BTCUSDT", **arguments})
