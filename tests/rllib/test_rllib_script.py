"""The command, as a user runs, interrupts, kills and misuses it; whatever happens, its processes end."""

import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents.curve import read_curve
from tests.rllib.processes import addresses, marked_processes

ROOT = Path(__file__).parents[2]
SMALL = ["--num-envs", "16", "--n-steps", "16", "--batch-size", "64", "--net-arch", "8", "8", "--workers", "1"]
BUDGET = ["--total-timesteps", "40960", "--checkpoint-every", "1024", "--evaluate-every", "1024"]

pytestmark = pytest.mark.slow


def command(runs, *words):
    return [sys.executable, str(ROOT / "scripts" / "train_rllib.py"), "--runs", str(runs), "--name", "run", *words]


def finished(runs, environment, *words):
    return subprocess.run(command(runs, *words), capture_output=True, text=True, cwd=runs, env=environment, timeout=240)


def started(runs, environment):
    """Start a training and wait until it has saved twice."""
    process = subprocess.Popen(
        command(runs, *SMALL, *BUDGET), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    deadline = time.monotonic() + 200
    while len(list((runs / "run" / "checkpoints").glob("*.zip"))) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def steps_saved(runs):
    return max(int(path.stem.removeprefix("step_")) for path in (runs / "run" / "checkpoints").glob("*.zip"))


def test_it_listens_on_loopback_alone_and_survives_kill_9_and_ctrl_c(tmp_path):
    with marked_processes() as environment:
        process = started(tmp_path, environment)
        assert addresses(environment) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
        assert addresses(environment)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (tmp_path / "run" / "model.zip").exists()
        saved = steps_saved(tmp_path)
        with marked_processes() as another:
            refused = finished(tmp_path, another, *SMALL, *BUDGET)
            assert refused.returncode == 1
            assert re.search(r"^error: .* holds an unfinished run: .*--resume", refused.stderr, re.M)
            # The folder's own configuration is the default of a resumed run.
            resumed = subprocess.Popen(
                command(tmp_path, "--resume"), stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=another
            )
            deadline = time.monotonic() + 200
            while steps_saved(tmp_path) == saved:
                assert resumed.poll() is None, resumed.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            resumed.send_signal(signal.SIGINT)
            _, stderr = resumed.communicate(timeout=200)
    # Every process of Ray has ended by now, though nobody told it to; the last ones do so in a minute.
    assert resumed.returncode == 130
    assert re.search(r"^stopped after [\d,]+ steps; the model so far is .*model\.zip, --resume continues", stderr, re.M)
    stopped = steps_saved(tmp_path)
    assert stopped > saved
    with marked_processes() as environment:
        done = finished(tmp_path, environment, "--resume", "--total-timesteps", str(stopped + 2_048), "--workers", "0")
        assert done.returncode == 0, done.stderr
    assert "scripts/export.py" in done.stdout
    assert read_curve(tmp_path / "run" / "curve.csv")[-1].timesteps >= stopped + 2_048
    assert (tmp_path / "run" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "run" / "command.txt").read_text().splitlines()) == 3


def test_misuse_is_explained(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        unreachable = ["--address", f"127.0.0.1:{port}"]
        with marked_processes() as environment:
            for words, message in (
                (unreachable, f"no Ray cluster can be used at 127.0.0.1:{port}"),
                (["--address", "here"], "address must be host:port of a Ray cluster's head, got 'here'"),
                (["--workers", "7"], "env_runners must divide num_envs = 512, got 7"),
                (["--config", str(ROOT / "agents" / "configs" / "alpha_lstm.toml")], "is of RecurrentPPO"),
                (["--name", "../run"], "--name must be the name of a folder"),
            ):
                failed = finished(tmp_path, environment, *words)
                assert failed.returncode == 1, words
                assert message in failed.stderr
                assert "Traceback" not in failed.stderr
    assert not (tmp_path / "run").exists()
