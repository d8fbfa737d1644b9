"""Forecasters as files: the same windows and actions over whole episodes, and nothing written that differs."""

import dataclasses

import gymnasium as gym
import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from agents.forecasters.catalogue import ON_BARS, ON_MOVES
from agents.forecasters.export import ExportError, export_signal
from agents.forecasters.feeds import simulated_feed
from agents.forecasters.models import Trees
from agents.forecasters.tree_nodes import below, tree_attributes
from hftgym.policies import OnnxPolicy, SignalPolicy
from hftgym.policies.onnx import ModelFileError
from hftgym.policies.signal import WINDOW
from hftgym.rollout import rollout

ENTRY = 0.5003
LEARNERS = [name for name in ON_MOVES if name != "constant"]


@pytest.fixture(scope="module")
def feed():
    feed = simulated_feed("regime", paths=8, seed=2**32)
    return dataclasses.replace(feed, params=dataclasses.replace(feed.params, horizon=100))


@pytest.fixture(scope="module")
def fitted(feed, hasty):
    """Forecasters that were hardly trained: parity does not care."""
    X, y = feed.examples(np.arange(600))
    forecasters = {name: hasty[name](0) for name in LEARNERS}
    for forecaster in forecasters.values():
        forecaster.fit(X, y)
    return forecasters


@pytest.mark.parametrize("name", LEARNERS)
def test_the_file_plays_episodes_as_the_forecaster_does(name, fitted, feed, tmp_path):
    path = tmp_path / "model.onnx"
    manifest = export_signal(fitted[name], path, entry=ENTRY, params=feed.params, data="here")
    assert manifest["state"] == {"h": WINDOW}
    assert manifest["parity"]["max_abs_probability"] <= 1e-5
    assert manifest["data"] == "here"
    policy, source = OnnxPolicy(path, env_id="MarketMaking-v0"), SignalPolicy(fitted[name], ENTRY)
    ours, theirs = (rollout(p, episodes=10, seed=100, params=feed.params).figures for p in (policy, source))
    assert np.array_equal(ours.pnl, theirs.pnl)
    assert ours.fills.sum() > 0
    # One observation at a time, with its own memory, over two episodes.
    env = gym.make("MarketMaking-v0", params=feed.params)
    for seed in (1, 2):
        observation, state, done = env.reset(seed=seed)[0], None, False
        policy.reset()
        while not done:
            action, state = source.predict(observation, state)
            assert np.array_equal(policy.act(observation), action)
            observation, _, done, _, _ = env.step(action)


def test_the_same_forecaster_gives_the_same_bytes(fitted, feed, tmp_path):
    for name in ("one", "two"):
        export_signal(fitted["trees"], tmp_path / name, entry=ENTRY, params=feed.params)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_damaged_file_is_refused(fitted, feed, tmp_path):
    path = tmp_path / "model.onnx"
    export_signal(fitted["linear"], path, entry=ENTRY, params=feed.params)
    data = path.read_bytes()
    for place in range(0, len(data), len(data) // 50):
        with pytest.raises(ModelFileError):
            OnnxPolicy.from_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])


class Other(Trees):
    """Says something else than its trees."""

    def proba(self, X):
        return 0.9 * super().proba(X)


def test_what_differs_is_not_written(feed, tmp_path):
    X, y = feed.examples(np.arange(600))
    other = Other(ON_MOVES["trees"](0).table, rounds=3)
    other.fit(X, y)
    with pytest.raises(ExportError, match=r"a probability is off by 0\.\d+, at most 1e-05 is allowed"):
        export_signal(other, tmp_path / "model.onnx", entry=ENTRY, params=feed.params)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_a_graph_is_refused(feed, fitted, tmp_path):
    X, y = feed.examples(np.arange(600))
    on_bars, constant = ON_BARS["trees"](0), ON_MOVES["constant"](0)
    for forecaster in (on_bars, constant):
        forecaster.fit(X, y)
        with pytest.raises(ExportError, match="only forecasters that read windows of moves have a graph"):
            export_signal(forecaster, tmp_path / "model.onnx", entry=ENTRY, params=feed.params)
    broken = ON_MOVES["linear"](0)
    broken.fit(X, y)
    broken.bias = np.nan
    with pytest.raises((ExportError, ValueError), match=r"not finite|probabilities"):
        export_signal(broken, tmp_path / "model.onnx", entry=ENTRY, params=feed.params)
    assert not list(tmp_path.iterdir())


@given(st.floats(width=64, min_value=-1e30, max_value=1e30).filter(lambda x: not -1.1e-35 < x < 0))
def test_a_rounded_threshold_divides_float32_numbers_as_the_float64_one_does(threshold):
    rounded = np.float32(below(threshold))
    near = [rounded, np.nextafter(rounded, np.float32(np.inf)), np.nextafter(rounded, np.float32(-np.inf))]
    for x in near:
        assert (float(x) <= threshold) == bool(x <= rounded)


def test_trees_agree_on_the_numbers_next_to_every_threshold(generator):
    X = generator.normal(size=(4_000, 3)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] + generator.normal(size=4_000) > 0).astype(np.float32)
    trees = Trees(rounds=30)
    trees.fit(X, y)
    attributes = tree_attributes(trees.booster)
    branch = np.array(attributes["nodes_modes"]) == "BRANCH_LEQ"
    thresholds = np.array(attributes["nodes_values"], dtype=np.float32)[branch]
    assert len(thresholds) > 100
    above = np.nextafter(thresholds, np.float32(np.inf))
    hard = np.stack([generator.choice(np.concatenate([thresholds, above]), 5_000) for _ in range(3)], axis=1)
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **attributes)
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", k]) for name, k in (("x", 3), ("y", 1))]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(
        helper.make_graph([node], "trees", ports[:1], ports[1:]), opset_imports=imports, ir_version=8
    )
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": hard})[0][:, 0]
    np.testing.assert_allclose(found, trees.booster.predict(hard, raw_score=True), rtol=0, atol=2e-6)
