import json
import random
import re
from collections import Counter

import pytest

from hftgym.live.binance import BinanceReader
from hftgym.live.coinbase import CoinbaseReader
from hftgym.live.coinbase_advanced import CoinbaseAdvancedReader
from hftgym.live.events import Quote, Status, Trade
from hftgym.live.feed import BrokenStreamError, LostBookError
from tests.live import test_coinbase_feed as coinbase
from tests.live.feeds import agg_trade, quote, trade, usdm_quote

DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
VALUES = [
    *(
        b'"1"',
        b'"1e5"',
        b'"1_0"',
        b'" 1"',
        b'"+1"',
        b'"nan"',
        b'"NaN"',
        b'"inf"',
        b'"-1"',
        b'"0"',
        b'"1e300"',
        b'"1e999"',
    ),
    *(b'""', b'"x"', b"1", b"1.5", b"-0", b"1e999", b"NaN", b"Infinity", b"9" * 30, b"1" * 5_000, b"true", b"null"),
    *(b"{}", b"[]", b"[[]]", b'[["1","1"]]', b'[{"side":"bid"}]', b'"trade"', b'"ETHUSDT"', b'"buy"', b'"\\ud800"'),
    *(b'"\xc3\xa9"', b'"\xff"', b'"\xd9\xa1"', b"[" * 5_000, b'"9999-99-99T99:99:99Z"', b'"0000-01-01T00:00:00Z"'),
]
PIECES = [b'"', b"{", b"}", b",", b":", b"[", b"]", b" ", b"\n", b"\\", b"0", b"9", b"e", b"-", b".", b"\xff", b"\x00"]
VALUE = re.compile(rb'(?<=[:,\[])("[^"]*"|-?[0-9.]+|true|false|null)')


def damaged(message, rng):
    """A message with bytes or whole values changed, cut or doubled."""
    for _ in range(rng.choice((1, 1, 2))):
        if rng.random() < 0.5 and (places := [*VALUE.finditer(message)]):
            place = rng.choice(places)
            message = message[: place.start()] + rng.choice(VALUES) + message[place.end() :]
        else:
            at = rng.randrange(len(message) + 1)
            message = message[:at] + rng.choice(PIECES) + message[at + rng.randrange(3) :]
        if rng.random() < 0.05:
            message = message[: rng.randrange(len(message) + 1)]
    return message


def binance_samples(n):
    return [quote(n), trade(n), usdm_quote(n), agg_trade(n), quote(n, e="bookTicker"), trade(n, X="MARKET")]


def coinbase_samples(n):
    changes = coinbase.update(["buy", "100.15", "3"], ["sell", "100.3", "0"])
    return [
        coinbase.snapshot(),
        changes,
        coinbase.match(n),
        coinbase.heartbeat(n),
        coinbase.match(n, kind="last_match"),
    ]


def advanced_samples(n):
    return [coinbase.book(n), coinbase.level2(n, ("bid", "100.15", "3")), coinbase.trades(n, n), coinbase.beat(n)]


READERS = {
    "spot": (lambda: BinanceReader("BTCUSDT", "spot", trades="trade"), binance_samples),
    "usdm": (lambda: BinanceReader("BTCUSDT", "usdm", trades="aggTrade"), binance_samples),
    "coinbase": (lambda: CoinbaseReader("BTC-USD"), coinbase_samples),
    "advanced": (lambda: CoinbaseAdvancedReader("BTC-USD"), advanced_samples),
}


def told(message, key):
    """What an event may say, according to the standard library's parser and a strict pattern."""
    text = json.loads(message)["data"][key]
    assert DECIMAL.fullmatch(text), message
    return float(text)


def check(event, message, *, is_binance):
    values = event[2:6] if type(event) is Quote else event[2:4]
    assert all(0 < value < 1e18 for value in values), (event, message)
    if is_binance:
        assert values == tuple(told(message, key) for key in ("bBaA" if type(event) is Quote else "pq")), message
    assert type(event) is Quote or event.taker_side in (-1, 1)


def fuzz(name, rounds, seed=0):
    make, samples = READERS[name]
    rng, reader, outcomes = random.Random(seed), make(), Counter()
    good = samples(1)
    for n in range(rounds):
        if n % 500 == 0:
            good = samples(n)
        message = damaged(rng.choice(good), rng)
        before = reader.counters.garbage
        try:
            events = list(reader.read(message, n))
        except (BrokenStreamError, LostBookError):
            outcomes["broken"] += 1
            reader.connected()
            continue
        outcomes["garbage"] += reader.counters.garbage - before
        for event in events:
            outcomes[type(event)] += 1
            if type(event) is not Status:
                check(event, message, is_binance=name in ("spot", "usdm"))
        if rng.random() < 0.02:
            reader.connected()
    return outcomes


TEXTS = [
    *(
        "1",
        "100.10",
        "1e5",
        "1E-3",
        "0.1",
        "61800.123456789012345",
        "123456789012345678",
        "9" * 30,
        "1" * 400,
        "1e-400",
    ),
    *(" 1", "1 ", "\t1", "1\n", "1_0", "+1", "-1", "0", "01", ".5", "5.", "", "nan", "inf", "1e999", "\u0661", '"1"'),
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("key", "bBaA")
def test_a_quote_means_the_same_read_quickly_and_with_care(key, text):
    quick, careful = (READERS["spot"][0]() for _ in range(2))
    message = quote(1, **{key: text})
    odd = message.replace(b'{"stream"', b'{ "stream"')  # the same to JSON, and nothing that the venue sends
    assert odd != message
    assert list(quick.read(message, 1)) == list(careful.read(odd, 1))
    assert quick.counters == careful.counters


@pytest.mark.parametrize("name", READERS)
def test_garbage_never_breaks_a_reader_and_never_becomes_a_price(name):
    outcomes = fuzz(name, 3_000)
    assert outcomes["garbage"] > 1_000
    assert outcomes[Quote] + outcomes[Trade] > 5  # some damage leaves a good message


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_quarter_of_a_million_pieces_of_garbage_each(name):
    assert fuzz(name, 250_000, seed=1)["garbage"] > 100_000
