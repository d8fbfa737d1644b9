"""The command, killed, doubled, starved of disk and misused like an operator's."""

import random
import re
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agents.ppo import PPOConfig
from agents.retraining.folder import ChampionFolder
from hftgym.policies import OnnxPolicy
from scripts import retrain

ROOT = Path(__file__).parents[2]
KILLS = 10


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A training of about two seconds: 64 rollouts, a checkpoint after every second one."""
    values = PPOConfig.from_toml().to_dict() | {
        "total_timesteps": 131_072,
        "num_envs": 64,
        "n_steps": 32,
        "batch_size": 512,
        "net_arch": [8, 8],
        "checkpoint_every": 4_096,
    }
    values["params"] |= {"horizon": 60, "window": 12}
    path = tmp_path_factory.mktemp("config") / "tiny.toml"
    path.write_text(PPOConfig.from_dict(values).to_toml())
    return path


def command(folder, config, *words):
    words = words or ("--force", "--episodes", "2000", "--level", "0.49")
    return [
        sys.executable,
        str(ROOT / "scripts/retrain.py"),
        "run",
        "--folder",
        str(folder),
        "--config",
        str(config),
        *words,
    ]


def finished(*words, **kwargs):
    return subprocess.run(words, capture_output=True, text=True, **kwargs)


def other(action, folder, *words):
    return finished(sys.executable, str(ROOT / "scripts/retrain.py"), action, "--folder", str(folder), *words)


def started(folder, config):
    """Start a run and wait until it is past its imports and has begun to work."""
    log = folder / "retrain.log"
    before = log.stat().st_size if log.exists() else 0
    process = subprocess.Popen(command(folder, config), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (log.exists() and log.stat().st_size > before):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return process


class Reader(threading.Thread):
    """A live process that opens the champion all the time, and never finds a damaged one."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.stop, self.opened, self.wrong = path, threading.Event(), 0, []

    def run(self):
        while not self.stop.wait(0.02):
            try:
                if self.path.exists():
                    OnnxPolicy(self.path)
                    self.opened += 1
            except Exception as error:
                self.wrong.append(error)


@pytest.mark.slow
def test_killed_at_any_moment_the_champion_is_whole_and_the_next_run_goes_on(tmp_path, config):
    folder, undisturbed = tmp_path / "champion", tmp_path / "undisturbed"
    state, rng = ChampionFolder(folder), random.Random(0)
    reader = Reader(state.champion)
    reader.start()
    killed = 0
    for _ in range(KILLS):
        process = started(folder, config)
        time.sleep(rng.uniform(0.0, 2.5))
        process.kill()
        process.communicate()
        killed += process.returncode == -9
        records = state.records()
        if state.champion.exists():
            OnnxPolicy(state.champion)
            assert state.digest(state.champion) in {record.sha256 for record in records if record.crowns}
    assert killed >= KILLS // 2
    done = finished(*command(folder, config))
    assert done.returncode == 0, done.stderr
    reader.stop.set()
    reader.join()
    assert reader.wrong == []
    assert reader.opened > 10
    status = other("status", folder)
    assert status.returncode == 0, status.stdout
    # What was killed on the way ends with the bytes of what was not.
    entries = [record.number for record in state.records() if record.period]
    for _ in entries[:2]:
        assert finished(*command(undisturbed, config)).returncode == 0
    for number in entries[:2]:
        models = [ChampionFolder(path).entry(number) / "model.onnx" for path in (folder, undisturbed)]
        assert models[0].read_bytes() == models[1].read_bytes()


@pytest.mark.slow
def test_the_second_of_two_is_refused_and_a_dead_ones_lock_is_none(tmp_path, config):
    process = started(tmp_path, config)
    second = finished(*command(tmp_path, config))
    back = other("rollback", tmp_path)
    process.kill()
    process.communicate()
    for refused in (second, back):
        assert refused.returncode == 3
        assert "nothing done: another process is at work" in refused.stdout
    third = finished(*command(tmp_path, config))
    assert third.returncode == 0, third.stderr
    assert "going on with the training" in third.stdout


@pytest.mark.slow
def test_a_full_disk_leaves_the_champion_and_says_so(tmp_path, config):
    assert finished(*command(tmp_path, config)).returncode == 0
    before = (tmp_path / "champion.onnx").read_bytes()
    # No file may grow beyond 12 kB: the model's does not fit.
    full = finished(
        *command(tmp_path, config), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))
    )
    assert full.returncode == 1
    assert re.search(r"^error: cannot write .*: File too large$", full.stderr, re.MULTILINE)
    assert "Traceback" not in full.stderr
    assert (tmp_path / "champion.onnx").read_bytes() == before
    assert finished(*command(tmp_path, config)).returncode == 0


@pytest.mark.slow
def test_an_operators_day(tmp_path, config):
    folder = tmp_path / "champion"
    words = ("--episodes", "200")
    dry = finished(*command(folder, config, *words, "--dry-run"))
    assert (dry.returncode, folder.exists()) == (0, False)
    assert "would make entry 1" in dry.stdout
    first = finished(*command(folder, config, *words))
    assert first.returncode == 0
    assert first.stderr == ""
    assert re.search(r"^first: .*; the champion is entry 1, ", first.stdout, re.MULTILINE)
    again = finished(*command(folder, config, *words))
    assert (again.returncode, again.stdout) == (3, "nothing to do: this week is done (--force trains again)\n")
    (folder / "champion.onnx").write_bytes(b"damaged")
    for done in (finished(*command(folder, config, *words, "--force")), other("status", folder)):
        assert done.returncode == 1
        assert "rollback --to 1" in done.stderr + done.stdout.replace("\n", " ")
    assert other("rollback", folder, "--to", "1").returncode == 0
    assert (folder / "champion.onnx").read_bytes() == (folder / "history/0001/model.onnx").read_bytes()
    log = (folder / "retrain.log").read_text()
    assert all(word in log for word in ("first:", "nothing to do", "error: the champion cannot be used", "rolled back"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--market", "nowhere.toml"], 1, "market nowhere.toml: No such file"),
        (["--market", "mean-reverting"], 1, "training_reward must be 'raw' or 'innovation_free'"),
        (["--tape", "nowhere.gz"], 1, "--tape nowhere.gz"),
        (["--config", "nowhere.toml"], 1, "nowhere.toml"),
        (["--episodes", "5"], 1, "episodes must be from 100"),
        (["--level", "0.9"], 1, "level must be at least 1e-15 and below 0.5, got 0.9"),
        (["--period", "month"], 2, "period"),
    ],
)
def test_misuse_is_explained(tmp_path, monkeypatch, capsys, words, code, message):
    folder = tmp_path / "champion"
    monkeypatch.setattr(sys, "argv", ["retrain.py", "run", "--folder", str(folder), *words])
    assert exit_code() == code
    assert message in capsys.readouterr().err
    assert not folder.exists()


def test_a_folder_that_cannot_be_made(unwritable, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["retrain.py", "run", "--folder", str(unwritable)])
    assert exit_code() == 1
    assert re.search(r"^error: cannot write into .*file/champion: Not a directory$", capsys.readouterr().err)


def exit_code():
    try:
        return retrain.main()
    except SystemExit as stop:
        return stop.code
