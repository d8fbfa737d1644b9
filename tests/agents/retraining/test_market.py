"""A market comes from where it says, and nothing is measured on the ticks that are held out."""

import dataclasses
import json

import numpy as np
import pytest

from agents.retraining import market
from agents.retraining.market import load_market, split
from hftgym import PRESETS, EnvParams
from hftgym.tape.calibration import calibrate

BASE = EnvParams(horizon=77, volatility=0.001)


def test_a_preset_a_file_or_the_configurations_own(tmp_path):
    wanted = EnvParams(fill_decay=0.9, trade_through=True)
    (tmp_path / "m.json").write_text(wanted.to_json())
    (tmp_path / "m.toml").write_text("fill_decay = 0.9\ntrade_through = true\n")
    for given, params in (
        ("", BASE),
        ("adverse", PRESETS["adverse"]),
        (str(tmp_path / "m.json"), wanted),
        (str(tmp_path / "m.toml"), wanted),
    ):
        found = load_market(given, base=BASE)
        assert (found.params, found.held_out) == (params, None)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.json", "{", "m.json: Expecting"),
        ("m.json", "[1]", "expected an object of EnvParams' fields, got list"),
        ("m.json", json.dumps({"spred": 1}), "did you mean 'spread'"),
        ("m.toml", "spread = -1", "spread must be greater than 0, got -1"),
        ("m.toml", 'spread = "wide"', "spread must be a number"),
        ("m.yaml", "", "must be one of default,.*or a .json or .toml file"),
        ("nowhere.toml", None, "No such file"),
    ],
)
def test_a_file_that_is_no_market_is_refused_by_name(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        load_market(str(tmp_path / name), base=BASE)


def test_a_split_loses_nothing_and_keeps_the_order(tape):
    whole = tape(50.0)
    first, last = split(whole, 0.7)
    for name in ("quotes", "trades"):
        for field in dataclasses.fields(getattr(whole, name)):
            parts = [getattr(getattr(part, name), field.name) for part in (first, last)]
            assert np.array_equal(np.concatenate(parts), getattr(getattr(whole, name), field.name))
    assert first.quotes.local_ns.max() < last.quotes.local_ns.min()
    assert first.duration_s == pytest.approx(0.7 * whole.duration_s, rel=0.01)


def test_nothing_is_measured_on_the_held_out_ticks(tape, monkeypatch, tmp_path):
    calm = tape(80.0)
    late = calm.quotes.local_ns > calm.quotes.local_ns[0] + 57 * 10**9
    prices = {"bid": calm.quotes.bid, "ask": calm.quotes.ask}
    tripled = {side: np.where(late, 3 * price, price) for side, price in prices.items()}
    shaken = dataclasses.replace(calm, quotes=dataclasses.replace(calm.quotes, **tripled))
    found = []
    for one in (calm, shaken):
        monkeypatch.setattr(market, "read_tape", lambda _path, one=one: one)
        found.append(load_market("adverse", tape=tmp_path / "capture.gz", base=BASE))
    assert found[0].params == found[1].params
    assert calibrate(calm).volatility != calibrate(shaken).volatility
    params = found[0].params
    assert params.symbol == "TEST"
    assert params.volatility == pytest.approx(2e-4, rel=0.2)
    # What is not measured is the named market's.
    assert (params.jump_probability, params.horizon, params.maker_fee_bps) == (
        PRESETS["adverse"].jump_probability,
        PRESETS["adverse"].horizon,
        PRESETS["adverse"].maker_fee_bps,
    )
    assert "the rest of adverse" in found[0].source


@pytest.mark.parametrize(
    ("seconds", "keep", "message"),
    [
        (0.6, slice(None), r"recorded ticks must be at least 667 of 0\.1 s, got [56]: record more"),
        (0.0, slice(None), r"recorded ticks must be at least 667 of 0\.1 s, got 0: record more"),
        (80.0, [0, 1, *range(600, 801)], r"measured ticks must be at least 200 of 0\.1 s, got [01]:"),
        (80.0, [*range(500), 799, 800], r"held-out ticks must be at least 200 of 0\.1 s, got [01]:"),
    ],
)
def test_a_tape_too_short_to_measure_or_to_compare_on_is_refused(tape, monkeypatch, tmp_path, seconds, keep, message):
    whole = tape(seconds)
    columns = {field.name: getattr(whole.quotes, field.name)[keep] for field in dataclasses.fields(whole.quotes)}
    gappy = dataclasses.replace(whole, quotes=type(whole.quotes)(**columns))
    monkeypatch.setattr(market, "read_tape", lambda _path: gappy)
    with pytest.raises(ValueError, match=rf"--tape .*capture\.gz: the {message}"):
        load_market("", tape=tmp_path / "capture.gz", base=BASE)


def test_a_file_that_is_no_tape_is_named(tmp_path):
    (tmp_path / "capture.gz").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"--tape .*capture\.gz: .*not a recording"):
        load_market("", tape=tmp_path / "capture.gz", base=BASE)
