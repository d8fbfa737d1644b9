"""The live command with real orders, at an exchange on 127.0.0.1: what it sends, books, cancels, and never sends."""

import signal

import pytest

from hftgym.live.brokers.ids import is_own
from hftgym.live.journal import read_session
from hftgym.live.recovery import recover
from tests.live.loopback import COINS, PATIENCE_S, Loopback, command, until

pytestmark = pytest.mark.slow
BOTH = [(-1, 100.03, COINS), (1, 99.97, COINS)]
FLAT = 2.0  # coins


def live(world, folder, **how):
    orders = ("--live", "--broker", "ccxt", "--broker-url", world.url, "--flat", FLAT)
    return command(world, folder, *orders, **({"typed": "BTCUSDT"} | how))


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


def test_orders_rest_are_filled_and_are_cancelled_at_the_end(tmp_path):
    with Loopback(cash=1_000.0, units=FLAT) as world, live(world, tmp_path) as process:
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
        assert names == [order.client_id for order in world.exchange.orders]
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


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"typed": "yes"}, "BTCUSDT was not typed at a terminal: no order was sent"),
        ({"terminal": False}, "BTCUSDT was not typed at a terminal: no order was sent"),
        ({"keys": False}, "set HFTGYM_BINANCE_KEY and HFTGYM_BINANCE_SECRET"),
    ],
    ids=lambda how: next(iter(how)) if isinstance(how, dict) else "",
)
def test_nothing_is_sent_without_keys_or_a_yes(tmp_path, how, said):
    with Loopback() as world, live(world, tmp_path, **how) as process:
        assert process.wait(PATIENCE_S) == 1
        assert said in (tmp_path / "err").read_text()
        assert world.exchange.seen == []


def test_an_account_that_holds_more_than_the_limit_is_left_alone(tmp_path):
    with Loopback(units=FLAT + 11 * COINS) as world, live(world, tmp_path) as process:
        assert process.wait(PATIENCE_S) == 1
        assert "it has 11 units" in (tmp_path / "err").read_text()
        assert world.exchange.orders == []


def test_the_command_without_live_trades_on_paper(tmp_path):
    with Loopback() as world, command(world, tmp_path, "--ticks", 20) as process:
        assert process.wait(PATIENCE_S) == 0
        assert "stopped: 20 ticks have passed" in (tmp_path / "out").read_text()
        assert recover(tmp_path / "journal").ticks == 21
        assert world.exchange.seen == []
