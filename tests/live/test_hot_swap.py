"""A model's file may be replaced while it decides."""

import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from hftgym.live.hot_swap import Reloading
from hftgym.policies import OnnxPolicy
from hftgym.policies.artefact import ModelFileError

PRETRAINED = Path(__file__).parents[2] / "agents" / "pretrained"
DEFAULT, OTHER, LSTM = (PRETRAINED / f"{name}.onnx" for name in ("default", "cj", "alpha_lstm"))
OBSERVATION = np.array([0.3, 0.5, -0.2, 0.1, 0.4, -0.1, 0.0, 1.0], dtype=np.float32)


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def put(source, path):
    """Replace a file as a promotion does."""
    new = path.with_suffix(".new")
    shutil.copyfile(source, new)
    os.replace(new, path)  # noqa: PTH105  the very call that is meant


@pytest.fixture
def path(tmp_path):
    shutil.copyfile(DEFAULT, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def action(policy):
    return policy.predict(OBSERVATION)[0].tolist()


def test_the_new_model_decides_after_a_rename(path):
    old, new = action(OnnxPolicy(DEFAULT)), action(OnnxPolicy(OTHER))
    assert old != new
    with Reloading(path, look_every_s=0.01) as policy:
        assert action(policy) == old
        put(OTHER, path)
        until(lambda: action(policy) == new)
        assert (policy.swaps, policy.refused) == (1, 0)
        assert np.array_equal(policy.act(OBSERVATION), np.array(new, dtype=np.float32))


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: data[: len(data) // 2], lambda _: b""])
def test_a_file_that_does_not_verify_is_refused_and_the_old_model_stays(path, damage, caplog):
    old = action(OnnxPolicy(DEFAULT))
    with Reloading(path, look_every_s=0.01) as policy:
        path.write_bytes(damage(OTHER.read_bytes()))
        until(lambda: policy.refused)
        assert action(policy) == old
        assert policy.swaps == 0
        assert "the new model is refused, the old one goes on" in caplog.text
        path.unlink()
        until(lambda: policy.refused == 2)
        assert action(policy) == old
        put(OTHER, path)  # and it goes on looking
        until(lambda: action(policy) != old)


def test_the_same_file_written_again_changes_nothing(path):
    with Reloading(path, look_every_s=0.01) as policy:
        put(DEFAULT, path)
        path.write_bytes(b"x")
        until(lambda: policy.refused)  # so the one before was looked at, or never seen
        action(policy)
        assert policy.swaps == 0


def test_a_model_with_a_memory_starts_with_an_empty_one(path):
    expected = OnnxPolicy(LSTM).predict(OBSERVATION, None, np.array([False]))
    with Reloading(path, look_every_s=0.01) as policy:
        put(LSTM, path)
        until(lambda: policy._next is not None)
        got = policy.predict(OBSERVATION, None, np.array([False]))
        assert np.array_equal(got[0], expected[0])
        put(DEFAULT, path)
        until(lambda: policy._next is not None)
        answer, state = policy.predict(OBSERVATION, got[1], np.array([False]))  # the memory of the one before
        assert (answer.tolist(), state) == (action(OnnxPolicy(DEFAULT)), None)


def test_every_decision_during_replacements_is_that_of_one_of_the_models(path):
    allowed = [action(OnnxPolicy(DEFAULT)), action(OnnxPolicy(OTHER))]
    done = threading.Event()

    def replace():
        for k in range(20):
            put((OTHER, DEFAULT)[k % 2], path)
            path.with_suffix(".noise").write_bytes(b"")
        done.set()

    writer = threading.Thread(target=replace)
    with Reloading(path, look_every_s=0.001) as policy:
        writer.start()
        while not done.is_set() or writer.is_alive():
            assert action(policy) in allowed
        writer.join()
        assert policy.refused == 0  # a rename never shows half a file


def test_a_first_file_that_does_not_verify_is_no_policy(tmp_path):
    with pytest.raises(ModelFileError, match="cannot be read"):
        Reloading(tmp_path / "absent.onnx")
