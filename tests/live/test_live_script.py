"""The command that trades: everything together, offline."""

import asyncio
import hashlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import types
import urllib.request
from pathlib import Path

import pytest

import hftgym
from hftgym.live.journal import read_session
from hftgym.live.measuring import measured
from hftgym.live.recorded import TapeFeed
from hftgym.live.recovery import recover
from hftgym.live.risk import RiskLimits
from hftgym.live.units import UnitFeed, Units
from hftgym.tape import TapeWriter, simulate_tape
from scripts import live, live_orders
from tests.tapes import random_tape, rows_of

ROOT = Path(__file__).parents[2]
AGENT = ROOT / "agents" / "pretrained" / "default.onnx"


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    path = tmp_path_factory.mktemp("tape") / "t.parquet"
    tape = simulate_tape(hftgym.EnvParams(tick_s=0.1, symbol="BTCUSDT"), ticks=300, seed=1, price_step=0.01)
    with TapeWriter(path) as writer:
        for quotes, trades in tape.chunks():
            writer.write(quotes, trades)
        writer.close(venue="binance-spot", symbol="BTCUSDT", report=tape.report)
    return path


def words(capture, *more):
    return ["live.py", "binance", "BTCUSDT", str(AGENT), "--replay", str(capture), "--unit", "1", *map(str, more)]


def run(monkeypatch, *args):
    monkeypatch.setattr(sys, "argv", list(args))
    return live.main()


def started(capture, *more):
    """The command as a process, at the pace of the recording."""
    return subprocess.Popen(
        [sys.executable, *words(capture, *more)],
        cwd=ROOT / "scripts",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_recording_is_traded_on_paper_as_fast_as_it_goes(monkeypatch, capsys, capture, tmp_path):
    log, journal = tmp_path / "log", tmp_path / "journal"
    assert run(monkeypatch, *words(capture, "--speed", 0, "--log", log, "--journal", journal)) == 0
    out = capsys.readouterr().out
    assert "stopped: the feed ended" in out
    told = int(re.search(r"301 ticks, ([1-9]\d*) fills", out)[1])
    assert told == sum(kind == "fill" for kind, _ in read_session(journal))
    position, gain = re.search(r"position (\S+) units, equity \S+ \((\S+) since the start\)", out).groups()
    assert float(position) == pytest.approx(recover(journal).inventory)
    assert float(gain) == pytest.approx(float(re.search(r"PnL (\S+)", out)[1].replace(",", "")), abs=1e-3)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"venue": "binance-spot", "symbol": "BTCUSDT", "policy": str(AGENT)}.items() <= lines[0].items()
    assert lines[0]["message"] == "start"
    assert lines[0]["limits"]["max_order_size"] == 1.0
    assert ("trading", "waiting") in [(line["message"], line.get("before")) for line in lines]
    assert sum(line["message"] == "fill" for line in lines) == told
    assert (lines[-1]["message"], lines[-1]["reason"]) == ("stop", "the feed ended")
    assert json.loads(journal.read_text().splitlines()[-1].partition(" ")[2])["record"] == "stop"
    models = [values for kind, values in read_session(journal) if kind == "model"]
    assert models == [{"tick": 0, "file": str(AGENT), "sha256": hashlib.sha256(AGENT.read_bytes()).hexdigest()}]
    # What is started again with its journal goes on with what the account held.
    left = recover(journal)
    assert left.cash != hftgym.EnvParams().initial_cash
    assert run(monkeypatch, *words(capture, "--speed", 0, "--ticks", 0, "--journal", journal)) == 0
    assert (recover(journal).cash, recover(journal).inventory) == (left.cash, left.inventory)
    capsys.readouterr()
    assert run(monkeypatch, *words(capture, "--speed", 0, "--ticks", 100)) == 0
    assert "100 ticks have passed" in capsys.readouterr().out


@pytest.mark.parametrize("other", [("--unit", "0.5"), ("--replay", "other")])
def test_the_journal_of_another_market_or_unit_is_refused(monkeypatch, capsys, capture, tmp_path, other):
    tape = random_tape(3)  # of another symbol
    with TapeWriter(tmp_path / "other.parquet") as writer:
        for quotes, trades in tape.chunks():
            writer.write(quotes, trades)
        writer.close(venue=tape.venue, symbol="ETHUSDT", report=tape.report)
    other = tuple(word if word != "other" else str(tmp_path / "other.parquet") for word in other)
    journal = tmp_path / "journal"
    assert run(monkeypatch, *words(capture, "--speed", 0, "--ticks", 20, "--journal", journal)) == 0
    before = journal.read_bytes()
    command = [*words(capture, "--speed", 0, "--ticks", 20, "--journal", journal), *other]
    command[2] = "ETHUSDT" if "--replay" in other else command[2]
    assert run(monkeypatch, *command) == 1
    assert f"--journal {journal} is of binance-spot BTCUSDT, this session of " in capsys.readouterr().err
    assert journal.read_bytes() == before


def test_what_cannot_be_done_is_said(monkeypatch, capsys, capture, tmp_path):
    for more, said in (
        (("--speed", "-1"), "--speed must be a finite number, 0 or above, got -1.0"),
        (("--speed", "nan"), "--speed must be a finite number, 0 or above, got nan"),
        (("--ticks", "-5"), "--ticks must be a finite number, 0 or above, got -5"),
        (("--latency-s", "-1"), "--latency-s must be a finite number, 0 or above"),
        (("--tick-s", "0"), "--tick-s must be a finite number above 0, got 0.0"),
        (("--measure-s", "0"), "--measure-s must be a finite number above 0"),
        (("--unit", "0"), "--unit must be a finite number above 0"),
        (("--metrics-port", "70000"), "--metrics-port must be a port, 0 to 65535"),
        (("--max-loss", "0"), "--max-loss must be a finite number above 0"),
        (("--journal", tmp_path / "no" / "folder"), "folder"),
    ):
        assert run(monkeypatch, *words(capture, *more)) == 1
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--live",), "--replay plays a recording: it does not go with --live"),
        (("--feed-url", "ws://127.0.0.1:1"), "--replay plays a recording: it does not go with --feed-url"),
        (("--broker", "ccxt"), "--broker is for real orders: it needs --live"),
        (("--account", "real"), "--account is for real orders: it needs --live"),
        (("--flat", 1), "--flat is for real orders: it needs --live"),
    ],
)
def test_a_recording_and_paper_take_no_option_of_real_orders(monkeypatch, capsys, capture, more, said):
    assert run(monkeypatch, *words(capture, *more)) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--broker", "ccxt"), "--live needs --journal: every order is written down before it is sent"),
        (("--journal", "j"), "--live needs --broker: ccxt, alpaca or ib"),
        (("--broker", "alpaca", "--journal", "j"), "--broker alpaca needs --broker-symbol"),
        (("--broker", "ib", "--journal", "j"), "--broker ib needs --broker-symbol"),
        (("--broker", "ib", "--broker-url", "http://x"), "--broker-url is for --broker ccxt or alpaca, not for ib"),
        (("--broker", "ccxt", "--ib-port", 1), "--ib-port is for --broker ib, not for ccxt"),
        (("--broker", "ccxt", "--journal", "j", "--broker-url", "localhost:1"), "--broker-url must begin with http://"),
        (("--broker", "ib", "--account", "real"), "--account is for --broker ccxt or alpaca, not for ib"),
    ],
)
def test_real_orders_need_what_they_need(monkeypatch, capsys, tmp_path, more, said):
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "live.py", "binance", "BTCUSDT", "z-score", "--live", *map(str, more)) == 1
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "option",
    ["--metrics-port", pytest.param("--dashboard-port", marks=pytest.mark.slow)],  # a process of its own
)
def test_a_taken_port_is_named_with_its_option(monkeypatch, capsys, capture, option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        dashboard = ("--dashboard",) if option == "--dashboard-port" else ()
        assert run(monkeypatch, *words(capture, option, port, *dashboard)) == 1
    assert f"{option} {port} cannot be opened: take another port, or 0 for any" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("port", "whose"),
    [
        *[(port, "paper account") for port in (4002, 7497)],
        *[(port, "REAL MONEY") for port in (4001, 7496)],
        (5000, "account unknown: treat it as REAL MONEY"),
    ],
)
def test_whoever_types_the_symbol_for_interactive_brokers_reads_whose_money_it_is(monkeypatch, capsys, port, whose):
    stdin = io.StringIO("no\n")
    stdin.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", stdin)
    arguments = live.Arguments(venue="coinbase", symbol="BTC-USD", policy="z-score", broker="ib", ib_port=port)
    venue = types.SimpleNamespace(name="Interactive Brokers")
    limits = RiskLimits(max_inventory=1, max_order_size=1, max_loss=1)
    assert not live_orders.confirmed(arguments, venue, limits)
    assert f"at Interactive Brokers, {whose} (" in capsys.readouterr().out


def test_a_policy_that_there_is_not_is_refused_first_of_all(monkeypatch, capsys, tmp_path):
    missing = str(tmp_path / "none")
    assert run(monkeypatch, "live.py", "binance", "BTCUSDT", "nonsense", "--replay", missing) == 1
    assert "policy must be one of" in capsys.readouterr().err


def test_a_loss_beyond_the_limit_ends_it(monkeypatch, capsys, capture):
    assert run(monkeypatch, *words(capture, "--speed", 0, "--max-loss", 0.5)) == 0
    out = capsys.readouterr().out
    assert "loss" in re.search(r"stopped: (.*)", out)[1]


def test_the_stop_file_ends_it_before_it_begins(monkeypatch, capsys, capture, tmp_path):
    (tmp_path / "stop").touch()
    assert run(monkeypatch, *words(capture, "--stop-file", tmp_path / "stop")) == 0
    assert f"stopped: file {tmp_path / 'stop'}" in capsys.readouterr().out


@pytest.mark.slow
def test_a_signal_ends_it_and_whoever_watches_is_told(capture):
    with started(capture, "--metrics-port", 0, "--dashboard", "--dashboard-port", 0) as process:
        lines = {}
        while lines.keys() < {"metrics", "dashboard"}:
            name, _, address = (line := process.stdout.readline()).partition(": ")
            assert line, "it ended"
            lines |= {name: address.strip()} if name in ("metrics", "dashboard") else {}
        for name in ("metrics", "dashboard"):
            assert lines[name].startswith("http://127.0.0.1:")
            with urllib.request.urlopen(lines[name], timeout=30) as answer:
                assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "stopped: signal SIGTERM" in out


@pytest.mark.slow
def test_the_plot_is_drawn(monkeypatch, capsys, capture):
    pytest.importorskip("pygame", reason="the window is pygame's")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    assert run(monkeypatch, *words(capture, "--speed", 0, "--plot")) == 0
    assert "301 ticks" in capsys.readouterr().out


async def listed(events):
    return [event async for event in events]


@pytest.mark.parametrize("coins", [1.0, 0.001])
def test_a_feed_that_is_measured_first_goes_on_where_that_ended_in_the_same_units_as_a_tape(coins):
    tape = random_tape(3)

    async def both():
        feed = TapeFeed(tape, speed=0)
        events = feed.events()
        first = await measured(feed, events, seconds=5.0)
        step = first.in_units_of(coins).price_step
        counted = UnitFeed(feed, events, units=Units(coins, price_step=step))
        assert counted.symbol == tape.in_units_of(coins).symbol  # which tells what a journal counts
        return first, await listed(counted.events())

    first, rest = asyncio.run(both())
    measured_rows = len(first.quotes) + len(first.trades)
    assert first.duration_s == pytest.approx(5.0, abs=0.3)
    expected = [(time, *values) for time, _, values in rows_of(tape.in_units_of(coins))][-len(rest) :]
    assert [(event.received_ns, *event[2:]) for event in rest] == [
        (time, *(pytest.approx(value, rel=1e-12) for value in values)) for time, *values in expected
    ]
    prices = {event.price for event in rest if len(event) == 5} | {event.bid for event in rest if len(event) == 6}
    assert prices <= set(tape.in_units_of(coins).quotes.bid) | set(tape.in_units_of(coins).trades.price)  # to the bit
    assert measured_rows + len(rest) <= len(tape.quotes) + len(tape.trades)
