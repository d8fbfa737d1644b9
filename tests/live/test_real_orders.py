"""The live command with real orders, at an exchange on 127.0.0.1: what it sends, books, cancels, and never sends."""

import asyncio
import io
import signal
import sys

import pytest

from hftgym.live.brokers.ids import is_own
from hftgym.live.journal import read_session
from hftgym.live.recovery import recover
from scripts import live as live_script
from tests.live.loopback import COINS, FEE, KEYS, PATIENCE_S, Loopback, command, until, words
from tests.servers.exchange import Exchange
from tests.servers.ib_stub import IbStub

pytestmark = pytest.mark.slow
BOTH = [(-1, 100.03, COINS), (1, 99.97, COINS)]
FLAT = 2.0  # coins


SYMBOL = {"ccxt": "BTCUSDT", "alpaca": "BTC/USD"}


def live(world, folder, **how):
    symbol = SYMBOL[world.broker]
    orders = ("--live", "--broker", world.broker, "--broker-url", world.url, "--broker-symbol", symbol, "--flat", FLAT)
    return command(world, folder, *orders, **({"typed": symbol} | how))


def ended(process, number=signal.SIGTERM):
    process.send_signal(number)
    return process.wait(PATIENCE_S)


def journalled(folder, kind):
    return [values for found, values in read_session(folder / "journal") if found == kind]


def stands(folder, exchange):
    """Assert that the journal's account is the exchange's."""
    left = recover(folder / "journal")
    assert left.cash == pytest.approx(exchange.cash, abs=1e-9)
    assert left.inventory * COINS + FLAT == pytest.approx(exchange.units, abs=1e-9)
    return left


@pytest.mark.parametrize("broker", SYMBOL)
def test_orders_rest_are_filled_and_are_cancelled_at_the_end(tmp_path, broker):
    with Loopback(broker, cash=1_000.0, units=FLAT) as world, live(world, tmp_path) as process:
        until(lambda: world.resting() == BOTH)
        for side, size in ((1, 0.04), (-1, COINS), (1, 0.06)):
            world.fill(side, size)
        until(lambda: len(journalled(tmp_path, "fill")) == 3)
        world.drop()
        held = until(lambda: journalled(tmp_path, "holdings"))
        assert held[0]["cash"] == pytest.approx(world.exchange.cash)
        until(lambda: len(world.resting()) == 2)
        world.fill(1, 0.01)
        assert ended(process) == 0
        assert world.resting() == []
        left = stands(tmp_path, world.exchange)
        assert left.orders == ()
        assert left.stop == "signal SIGTERM"
        names = [order["order_id"] for order in journalled(tmp_path, "order")]
        assert names == sorted(order.client_id for order in world.exchange.orders)
        assert {order["order_id"] for order in journalled(tmp_path, "closed")} == set(names)
        assert all(order["size"] == pytest.approx(1.0) for order in journalled(tmp_path, "order")[:2])
        assert {fill["order_id"] for fill in journalled(tmp_path, "fill")} <= set(names)


def test_a_killed_session_starts_again_where_the_exchange_stands(tmp_path):
    with Loopback(cash=1_000.0, units=FLAT) as world:
        with live(world, tmp_path) as process:
            until(lambda: world.resting() == BOTH)
            world.fill(1, 0.03)
            until(lambda: journalled(tmp_path, "fill"))
            ended(process, signal.SIGKILL)
        before = world.do(lambda exchange: exchange.open())
        assert before
        world.fill(1, 0.02)  # while nobody looks
        with live(world, tmp_path) as process:
            until(lambda: len(journalled(tmp_path, "start")) == 2 and len(world.resting()) == 2)
            assert all(order.status != "open" for order in before)
            assert "the journal has 0.3, the venue 0.5, which counts" in (tmp_path / "err").read_text()
            world.fill(-1, 0.05)
            assert ended(process) == 0
        assert world.resting() == []
        stands(tmp_path, world.exchange)
        names = [order.client_id for order in world.exchange.orders]
        assert all(is_own(name) for name in names)
        numbers = [int(name.rpartition("n")[2]) for name in names]
        assert numbers == sorted(set(numbers))


def test_a_dead_exchange_is_left_and_the_orders_that_may_rest_are_named(tmp_path):
    with Loopback(units=FLAT) as world, live(world, tmp_path) as process:
        until(lambda: world.resting() == BOTH)
        world.do(
            lambda exchange: [exchange.upset(kind, *["deaf"] * 9_999) for kind in ("cancel", "look", "openOrders")]
        )
        assert ended(process) == 1
        err = (tmp_path / "err").read_text()
        resting = world.do(lambda exchange: [order.client_id for order in exchange.open()])
    assert resting
    assert all(name in err for name in resting)
    left = recover(tmp_path / "journal")
    assert sorted(resting) == sorted(order.order_id for order in left.orders)
    assert left.stop == "signal SIGTERM; the venue has not confirmed that every order is cancelled"


def test_nothing_is_sent_where_nobody_sits_at_a_terminal(tmp_path):
    with Loopback() as world, live(world, tmp_path, terminal=False) as process:
        assert process.wait(PATIENCE_S) == 1
        assert "BTCUSDT was not typed at a terminal: no order was sent" in (tmp_path / "err").read_text()
        assert world.exchange.seen == []


def here(monkeypatch, world, folder, *more, broker="ccxt", typed=None, keys=True):
    """Run the command in this process, at a terminal where something is typed."""
    symbol = SYMBOL.get(broker, "BTC/USD")
    usual = ("--live", "--broker", broker, "--broker-symbol", symbol, "--flat", FLAT)
    monkeypatch.setattr(sys, "argv", ["live.py", *words(world, folder, *usual, *more)])
    monkeypatch.setattr(sys, "stdin", Typed(f"{typed or symbol}\n"))
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value if keys else "")
    return live_script.main()


class Typed(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("broker", SYMBOL)
def test_nothing_is_sent_without_keys_or_after_another_word(tmp_path, monkeypatch, capsys, broker):
    with Loopback(broker) as world:
        account = ("--broker-url", world.url)
        assert here(monkeypatch, world, tmp_path, *account, broker=broker, keys=False) == 1
        venue = {"ccxt": "BINANCE", "alpaca": "ALPACA"}[broker]
        assert f"set HFTGYM_{venue}_KEY and HFTGYM_{venue}_SECRET" in capsys.readouterr().err
        assert here(monkeypatch, world, tmp_path, *account, broker=broker, typed="yes") == 1
        assert f"{SYMBOL[broker]} was not typed" in capsys.readouterr().err
        assert world.exchange.seen == []


def test_interactive_brokers_is_traded_through_its_own_interface(tmp_path, monkeypatch):
    from hftgym.live.brokers import ib

    exchange = Exchange(bid=99.99, ask=100.01, fee=FEE, cash=1_000.0, units=FLAT)
    stub = IbStub(exchange)

    def fill_once(order, status, filled, trade):
        if status == "open" and sum(len(each.trades) for each in exchange.orders) < 2 and not order.trades:
            asyncio.get_running_loop().call_later(0.2, lambda: order.status == "open" and exchange.fill(order, 0.03))

    exchange.listen(fill_once)
    monkeypatch.setattr(ib, "IB", lambda: stub)
    with Loopback() as world:
        assert here(monkeypatch, world, tmp_path, "--ticks", 40, broker="ib") == 0
        assert world.exchange.seen == []
    assert {order.side for order in exchange.orders} == {1, -1}
    assert exchange.open() == []
    assert len(journalled(tmp_path, "fill")) >= 2
    stands(tmp_path, exchange)


def test_an_account_that_holds_more_than_the_limit_is_left_alone(tmp_path, monkeypatch, capsys):
    with Loopback(units=FLAT + 11 * COINS) as world:
        assert here(monkeypatch, world, tmp_path, "--broker-url", world.url) == 1
        assert "it has 11 units" in capsys.readouterr().err
        assert world.exchange.orders == []


def test_the_command_without_live_trades_on_paper(tmp_path):
    with Loopback() as world, command(world, tmp_path, "--ticks", 20) as process:
        assert process.wait(PATIENCE_S) == 0
        assert "stopped: 20 ticks have passed" in (tmp_path / "out").read_text()
        assert recover(tmp_path / "journal").ticks == 21
        assert world.exchange.seen == []
