"""The command, used and misused like a user's."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from scripts.forecast import main

ROOT = Path(__file__).parents[3]
QUICK = ["--paths", "8", "--seeds", "1", "--episodes", "4"]
ENDLESS = ["--paths", "1000", "--seeds", "1000"]


def command(runs, *words):
    return [sys.executable, str(ROOT / "scripts" / "forecast.py"), "--runs", str(runs), *words]


def finished(runs, *words):
    return subprocess.run(command(runs, *words), capture_output=True, text=True, cwd=runs)


@pytest.mark.slow
def test_a_random_walk_shows_nothing_and_says_so(tmp_path):
    done = finished(tmp_path, "--feed", "gbm", *QUICK, "--export")
    assert done.returncode == 0, done.stderr
    assert "Nothing to see: every forecaster is within 4 standard errors of 50 %." in " ".join(done.stdout.split())
    folder = tmp_path / "forecast-gbm"
    names = {"accuracy.png", "summary.json", "runs.parquet", "trading.parquet"}
    names |= {"linear.onnx", "trees.onnx", "lstm.onnx", "transformer.onnx"}
    assert {path.name for path in folder.iterdir()} == names
    facts = json.loads((folder / "summary.json").read_text())
    assert facts["verdict"].startswith("Nothing to see")
    assert pl.read_parquet(folder / "runs.parquet").height == 7


@pytest.mark.slow
def test_bars(tmp_path):
    done = finished(tmp_path, "--feed", "ohlcv", *QUICK, "--name", "bars")
    assert done.returncode == 0, done.stderr
    assert "hidden trend" in done.stdout
    assert not (tmp_path / "bars" / "trading.parquet").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--feed", "nothing"], "--feed must be one of gbm"),
        (["--feed", "tape"], "--tape FILE goes with --feed tape"),
        (["--feed", "tape", "--tape", "nowhere.gz"], "nowhere.gz"),
        (["--paths", "1"], "--paths must be at least 2"),
        (["--seeds", "0"], "seeds must be at least 1"),
        (["--folds", "0"], "folds must be at least 1"),
        (["--forecasters", "oracle"], "--forecasters must be among"),
        (["--entry", "0.4", *ENDLESS], "entry must be a probability from 0.5 to below 1, got 0.4"),
        (["--entry", "nan", *ENDLESS], "entry must be a probability"),
        (["--episodes", "1", *ENDLESS], "--episodes must be at least 2, or 0 for none, got 1"),
        (["--episodes", "-1", *ENDLESS], "--episodes must be at least 2, or 0 for none, got -1"),
        (["--feed", "ohlcv", "--bar-s", "0"], "--bar-s must be from 0.001 to 86,400 seconds, got 0.0"),
        (["--feed", "ohlcv", "--bar-s", "1e-7"], "--bar-s must be from 0.001 to 86,400 seconds, got 1e-07"),
        (["--feed", "ohlcv", "--bar-s", "-1"], "--bar-s must be from 0.001 to 86,400 seconds, got -1.0"),
        (["--feed", "tape", "--tick-s", "nan"], "--tick-s must be from 0.001 to 86,400 seconds, got nan"),
        (["--paths", "2", "--folds", "5000"], "are too few for 5000 folds"),
        (["--feed", "ohlcv", "--export"], "--export is for ticks"),
    ],
)
def test_misuse_is_explained(tmp_path, words, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["forecast.py", "--runs", str(tmp_path), *words])
    assert main() == 1
    stderr = capsys.readouterr().err
    assert stderr.startswith("error: ")
    assert message in stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_ctrl_c_writes_nothing(tmp_path):
    process = subprocess.Popen(
        command(tmp_path, "--feed", "gbm", "--paths", "2000"), stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    while not (tmp_path / "forecast-gbm").exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "interrupted: nothing was written" in stderr
    assert not (tmp_path / "forecast-gbm").exists()


@pytest.mark.slow
def test_help_teaches(tmp_path):
    done = finished(tmp_path, "--help")
    assert done.returncode == 0
    for word in ("--feed", "gbm, regime", "default: 0.55", "random walk", "neither trained nor scored on"):
        assert word in " ".join(done.stdout.split())
