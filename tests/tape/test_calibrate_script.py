"""The command that calibrates, and its picture."""

import importlib.util
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hftgym.params import EnvParams
from hftgym.plots_calibration import calibration
from hftgym.tape import calibrate, estimate, read_tape
from hftgym.tape.simulate import simulate_tape
from hftgym.theme import DARK, LIGHT

ROOT = Path(__file__).parents[2]
MARKET = EnvParams(symbol="BTCUSDT", tick_s=0.1, arrival_intensity=2.0, initial_price=500.0)


def run(monkeypatch, *words):
    """Run the command in this process."""
    spec = importlib.util.spec_from_file_location("calibrate_script", ROOT / "scripts" / "calibrate.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, script)
    spec.loader.exec_module(script)
    monkeypatch.setattr(sys, "argv", ["calibrate.py", *map(str, words)])
    return script.main()


@pytest.fixture
def capture(tmp_path, wire):
    """A simulated market in a file as a recorder of Binance writes it."""
    tape = simulate_tape(MARKET, ticks=1_000, seed=8, price_step=0.01)
    lines = []
    for i, at in enumerate(tape.quotes.local_ns):
        prices = {"b": f"{tape.quotes.bid[i]:.2f}", "a": f"{tape.quotes.ask[i]:.2f}"}
        lines.append((at, wire.quote(local_ns=at, E=int(at) // 10**6, **prices)))
    for i, at in enumerate(tape.trades.local_ns):
        bought = bool(tape.trades.taker_side[i] > 0)
        fields = {"p": f"{tape.trades.price[i]:.2f}", "m": not bought, "E": int(at) // 10**6}
        lines.append((at, wire.trade(local_ns=at, **fields)))
    return wire.write(tmp_path / "capture", [line for _, line in sorted(lines, key=lambda row: row[0])])


@pytest.mark.slow
def test_the_command_writes_a_market_to_train_in(tmp_path, monkeypatch, capsys, capture):
    assert run(monkeypatch, capture, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "fill_decay" in printed
    assert "±" in printed
    params = EnvParams.from_json((tmp_path / "out" / "params.json").read_text())
    found = json.loads((tmp_path / "out" / "calibration.json").read_text())
    for name in ("arrival_intensity", "fill_decay"):
        one = found["estimates"][name]
        assert one["value"] == getattr(params, name)
        assert abs(one["value"] - getattr(MARKET, name)) < 3 * one["error"] + 0.1 * one["value"]  # the grid's share
    assert (found["price_step"], found["ticks"], params.maker_fee_bps) == (0.01, 1_000, 2.0)
    assert (tmp_path / "out" / "calibration.png").stat().st_size > 50_000
    # Its own output is a base for the next one, and units may be parts of coins.
    words = ["--market", tmp_path / "out" / "params.json", "--coins", "0.1", "--out", tmp_path / "again"]
    assert run(monkeypatch, capture, *words) == 0
    again = EnvParams.from_json((tmp_path / "again" / "params.json").read_text())
    assert again.initial_price == pytest.approx(params.initial_price / 10)
    assert again.fill_decay == pytest.approx(params.fill_decay)
    # A part of the tape, with quotes that may lie further out.
    words = ["--split", "0.5", "--offset-high", "20", "--out", tmp_path / "half"]
    assert run(monkeypatch, capture, *words) == 0
    half = EnvParams.from_json((tmp_path / "half" / "params.json").read_text())
    before, _ = read_tape(capture).split(0.5)
    plain = calibrate(before)
    assert half == calibrate(before, base=replace(plain, offset_high=20.0))
    assert (half.offset_high, half.horizon, half.maker_fee_bps) == (20.0, plain.horizon, 2.0)
    assert abs(half.horizon - 500) <= 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.gz"], "nowhere.gz"),
        (["CAPTURE", "--tick-s", "1000"], "tick_s must be below the 100.000 s"),
        (["CAPTURE", "--market", "nothing"], "market must be one of default"),
        (["CAPTURE", "--symbol", "XYZ"], "no quotes or trades of symbol 'XYZ'"),
    ],
)
def test_what_cannot_be_measured_is_one_line(tmp_path, monkeypatch, capsys, capture, words, message):
    words = [capture if word == "CAPTURE" else word for word in words]
    assert run(monkeypatch, *words, "--out", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("market", "theme"),
    [(MARKET, DARK), (EnvParams(tick_s=0.1, arrival_intensity=0.0), LIGHT)],
    ids=["trades", "none"],
)
def test_the_picture_shows_what_was_measured(market, theme):
    tape = simulate_tape(market, ticks=600, seed=1)
    found = estimate(tape)
    figure = calibration(tape, simulate_tape(found.params, ticks=600, seed=2), found, theme=theme)
    figure.canvas.draw()
    assert len(figure.axes) == 6
    volatility, *_, reach, counts = figure.axes
    recorded = volatility.lines[0].get_ydata()
    moves = np.diff(tape.mid) / tape.mid[:-1]
    assert recorded[0] == pytest.approx(1e4 * np.sqrt(np.mean(moves**2) / 0.1))
    if len(tape.trades):
        assert reach.lines[0].get_ydata()[0] == pytest.approx(len(tape.trades) / 1_200, rel=1e-3)
    shares = [bar.get_height() for bar in counts.patches[:16]]
    assert sum(shares) == pytest.approx(1)
    assert shares[0] == pytest.approx(1 - found.statistics.get("orders_share", 0.0))


def test_the_shortest_tape_has_a_picture():
    tape = simulate_tape(MARKET, ticks=4, seed=0)
    calibration(tape, tape, estimate(tape)).canvas.draw()


def test_what_is_not_known_is_a_dash_and_an_oddity_is_said(tmp_path, monkeypatch, capsys, wire):
    tape = simulate_tape(MARKET, ticks=100, seed=8, price_step=0.01)
    lines = []
    for i, at in enumerate(tape.quotes.local_ns):
        prices = {"b": f"{tape.quotes.bid[i]:.2f}", "a": f"{tape.quotes.ask[i]:.2f}"}
        ahead = 60 * 10**9 * (i == 80)
        lines.append(wire.quote(local_ns=at + ahead, E=int(at) // 10**6, **prices))
    assert run(monkeypatch, wire.write(tmp_path / "x", lines), "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "nan" not in printed.split()
    assert re.search(r"arrival_intensity +- +-\s", printed)
    assert "1 steps back in local time" in printed
    assert "warning: 20 of 101 rows come more than 1 s behind" in printed
