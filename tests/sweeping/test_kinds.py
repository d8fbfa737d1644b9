"""A task yields what its command yields: there is one implementation of each."""

import json
import sys
from dataclasses import replace

import polars as pl
import pytest

from agents.curve import read_curve
from hftgym.tape import simulate_tape, write_tape
from scripts import backtest, calibrate, evaluate
from scripts.sweeping import kinds
from scripts.sweeping.file import load
from scripts.sweeping.kinds import perform
from tests.conftest import MARKETS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    market = replace(MARKETS["default"], tick_s=0.1, horizon=1_000)
    path = tmp_path_factory.mktemp("tapes") / "made.parquet"
    write_tape(simulate_tape(market, ticks=1_000, seed=0), path)
    return path


def task_of(tmp_path, text):
    path = tmp_path / "one.toml"
    path.write_text(text)
    (task,) = load(path)
    return task


def command(monkeypatch, module, *words):
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, words)])
    assert module.main() == 0


def assert_same(rows, table, names):
    assert len(rows) == len(table)
    for row, told in zip(rows, table.to_dicts(), strict=True):
        for name in names:
            assert row[name] == (pytest.approx(told[name], rel=1e-9) if isinstance(told[name], float) else told[name])


def test_evaluate(tmp_path, monkeypatch):
    task = task_of(
        tmp_path,
        'kind = "evaluate"\n[fixed]\npolicies = ["z-score", "optimal"]\nepisodes = 30\nseed = 4\n'
        "params.horizon = 50\nparams.maker_fee_bps = -0.5\n",
    )
    rows = perform(task)
    words = ("--episodes", 30, "--seed", 4, "--params.horizon", 50, "--params.maker-fee-bps", -0.5, "--out", tmp_path)
    command(monkeypatch, evaluate, "z-score", "optimal", *words)
    table = pl.read_csv(tmp_path / "results.csv")
    assert_same(rows, table, ["policy", "j_mean", "j_low", "pnl_mean", "fills_mean", "gap_closed_se"])
    assert all(row["unknown_because"] == "" and row["hftgym"] and row["machine"] for row in rows)


def test_backtest(tmp_path, tape, monkeypatch):
    text = f'kind = "backtest"\n[fixed]\ntape = "{tape}"\npolicies = ["z-score", "fixed-spread"]\nlatency_s = 0.2\n'
    rows = perform(task_of(tmp_path, f"{text}split = 0.5\nparams.inventory_limit = 3\n"))
    words = ("--latency-s", 0.2, "--split", 0.5, "--params.inventory-limit", 3, "--out", tmp_path)
    command(monkeypatch, backtest, tape, "z-score", "fixed-spread", *words)
    table = pl.read_csv(tmp_path / "results.csv").rename({"fees": "fees_paid"})
    assert_same(rows, table, ["policy", "pnl", "pnl_low", "fees_paid", "fills", "inventory_rms", "less_z_score"])


def test_calibrate(tmp_path, tape, monkeypatch):
    (row,) = perform(task_of(tmp_path, f'kind = "calibrate"\n[fixed]\ntape = "{tape}"\ntick_s = 0.2\nsplit = 0.6\n'))
    command(monkeypatch, calibrate, tape, "--tick-s", 0.2, "--split", 0.6, "--out", tmp_path)
    told = json.loads((tmp_path / "calibration.json").read_text())
    for name, one in told["estimates"].items():
        assert row[name] == (one["value"] if one["value"] is not None else pytest.approx(float("nan"), nan_ok=True))
    assert row["return_kurtosis"] == told["statistics"]["return_kurtosis"]
    assert row["ticks"] == told["ticks"]
    assert json.loads(row["params"]) == json.loads((tmp_path / "params.json").read_text())


def test_train_once_however_often_it_is_asked_for(tmp_path):
    task = task_of(
        tmp_path,
        'kind = "train"\n[fixed]\nconfig = "agents/configs/cj.toml"\nseed = 3\ntotal_timesteps = 20_000\n',
    )
    (row,) = perform(task, runs=tmp_path)
    (last,) = read_curve(tmp_path / task.key / "curve.csv")[-1:]
    assert (row["share"], row["j"], row["timesteps"]) == (last.share, last.j, last.timesteps)
    assert row["cpu_s"] > 0
    model = tmp_path / task.key / "model.zip"
    assert row["model"] == str(model)
    before = model.stat().st_mtime_ns
    (again,) = perform(task, runs=tmp_path)
    assert again == row
    assert model.stat().st_mtime_ns == before


def test_a_tape_that_changes_under_the_sweep_is_an_error(tmp_path, tape):
    copy = tmp_path / "copy.parquet"
    copy.write_bytes(tape.read_bytes())
    task = task_of(tmp_path, f'kind = "calibrate"\n[fixed]\ntape = "{copy}"\n')
    copy.write_bytes(tape.read_bytes()[:-1])
    with pytest.raises(ValueError, match="was changed while the sweep was running"):
        perform(task)


def test_a_tape_that_changes_while_it_is_measured_has_no_result(tape, tmp_path, monkeypatch):
    copy = tmp_path / tape.name
    copy.write_bytes(tape.read_bytes())
    task = task_of(tmp_path, f'kind = "calibrate"\n[fixed]\ntape = "{copy}"\n')

    def measures_and_changes(arguments, folder):
        copy.write_bytes(tape.read_bytes()[:-1])
        return [{"volatility": 1.0}]

    kind = replace(kinds.KINDS["calibrate"], perform=measures_and_changes)
    monkeypatch.setattr(kinds, "KINDS", {"calibrate": kind})
    with pytest.raises(ValueError, match="was changed while the sweep was running"):
        perform(task)
