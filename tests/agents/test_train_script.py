"""The command, killed, interrupted and misused like a user's."""

import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from stable_baselines3 import PPO

from agents.checkpoint import load_model
from agents.ppo_config import PPOConfig
from hftgym.params import EnvParams

ROOT = Path(__file__).parents[2]
SMALL = ["--params.horizon", "60", "--num-envs", "16", "--n-steps", "16", "--batch-size", "64", "--net-arch", "8", "8"]
BUDGET = ["--total-timesteps", "40960", "--checkpoint-every", "2048"]

pytestmark = pytest.mark.slow


def command(runs, *words):
    return [sys.executable, str(ROOT / "scripts" / "train.py"), "--runs", str(runs), "--name", "run", *words]


def finished(runs, *words):
    return subprocess.run(command(runs, *words), capture_output=True, text=True, cwd=runs)


def started(runs):
    """Start a training and wait until it has saved twice."""
    process = subprocess.Popen(
        command(runs, *SMALL, *BUDGET), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=runs
    )
    deadline = time.monotonic() + 60
    while len(list((runs / "run" / "checkpoints").glob("*.zip"))) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process


def weights(runs):
    return PPO.load(runs / "run" / "model.zip", device="cpu").policy.state_dict()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    runs = tmp_path_factory.mktemp("undisturbed")
    done = finished(runs, *SMALL, *BUDGET)
    assert done.returncode == 0, done.stderr
    assert "scripts/export.py" in done.stdout
    return weights(runs)


def test_kill_9_and_resume(tmp_path, undisturbed):
    process = started(tmp_path)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "run" / "model.zip").exists()
    refused = finished(tmp_path, *SMALL, *BUDGET)
    assert refused.returncode == 1
    assert re.search(r"^error: .* holds an unfinished run: .*--resume", refused.stderr)
    # The folder's own configuration is the default of a resumed run.
    resumed = finished(tmp_path, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert all(torch.equal(value, undisturbed[name]) for name, value in weights(tmp_path).items())


def test_ctrl_c_and_resume(tmp_path, undisturbed):
    process = started(tmp_path)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert re.search(r"^stopped after [\d,]+ steps; the model so far is .*model\.zip, --resume continues", stderr, re.M)
    assert "Traceback" not in stderr
    assert 0 < PPO.load(tmp_path / "run" / "model.zip", device="cpu").num_timesteps < 40960
    assert finished(tmp_path, "--resume").returncode == 0
    assert all(torch.equal(value, undisturbed[name]) for name, value in weights(tmp_path).items())


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--gamma", "2"], 1, "gamma must be greater than 0.0 and at most 1.0, got 2.0"),
        (["--gamma", "x"], 2, "gamma"),
        (["--gama", "0.9"], 2, "--gamma"),
        (["--config", "nowhere.toml"], 1, "nowhere.toml"),
        (["--params.sized-actions"], 1, "params.sized_actions must be false for training"),
        (["--params.spread", "-1"], 2, "spread must be greater than 0, got -1"),
    ],
)
def test_misuse_is_explained(tmp_path, words, code, message):
    done = finished(tmp_path, *words)
    assert done.returncode == code
    assert message in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_help_teaches(tmp_path):
    done = finished(tmp_path, "--help")
    assert done.returncode == 0
    for word in ("--resume", "--learning-rate", "default: 0.003", "--params.volatility", "tensorboard --logdir"):
        assert word in done.stdout


def test_the_file_of_the_configuration_names_the_algorithm(tmp_path):
    recipe = ["--config", str(ROOT / "agents" / "configs" / "alpha_lstm.toml"), "--lstm-size", "4"]
    small = ["--num-envs", "16", "--n-steps", "16", "--batch-size", "64", "--net-arch", "8"]
    done = finished(tmp_path, *recipe, *small, "--total-timesteps", "2048", "--checkpoint-every", "512")
    assert done.returncode == 0, done.stderr
    assert load_model(tmp_path / "run" / "model.zip").policy.lstm_actor.hidden_size == 4
    resumed = finished(tmp_path, "--resume", "--total-timesteps", "4096")
    assert resumed.returncode == 0, resumed.stderr
    assert load_model(tmp_path / "run" / "model.zip").num_timesteps == 4096
    assert "--lstm-size" in finished(tmp_path, *recipe, "--help").stdout
    wrong = finished(tmp_path, "--lstm-size", "4")
    assert (wrong.returncode, "--lstm-size" in wrong.stderr + wrong.stdout) == (2, True)


def test_a_market_comes_from_a_file(tmp_path):
    market = EnvParams(symbol="X", fill_decay=0.9, trade_through=True, horizon=60)
    (tmp_path / "params.json").write_text(market.to_json())
    words = ["--market", "params.json", *SMALL[2:], "--total-timesteps", "512"]
    done = finished(tmp_path, *words, "--params.inventory-limit", "3")
    assert done.returncode == 0, done.stderr
    trained = PPOConfig.from_toml(tmp_path / "run" / "config.toml").params
    assert trained == replace(market, inventory_limit=3)
    other = finished(tmp_path, "--resume", "--market", "adverse", "--total-timesteps", "1024")
    assert other.returncode == 1
    assert "params" in other.stderr


def test_several_seeds_make_several_runs_a_table_and_a_picture(tmp_path):
    words = [*SMALL, *BUDGET, "--evaluate-every", "10240", "--seeds", "3", "5"]
    done = finished(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert re.search(r"2 seeds +median +lowest +highest", done.stdout)
    assert (tmp_path / "run" / "curve.png").read_bytes().startswith(b"\x89PNG")
    models = [tmp_path / "run" / f"seed_{seed}" / "model.zip" for seed in (3, 5)]
    before = [model.stat() for model in models]
    assert finished(tmp_path, *words).returncode == 1
    again = finished(tmp_path, *words, "--resume")
    assert again.returncode == 0, again.stderr
    assert [model.stat() for model in models] == before
