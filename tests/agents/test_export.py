"""The exported file acts like the model, or there is no file."""

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from stable_baselines3 import PPO

from agents import export as module
from agents.export import ExportError, export
from agents.ppo import build_model, make_env
from agents.run_folder import RunError
from hftgym import FEATURE_NAMES, OBS_VERSION, EnvParams
from hftgym.policies import OnnxPolicy
from hftgym.policies.row import Row

ROOT = Path(__file__).parents[2]


def box(n, seed=5):
    return np.random.default_rng(seed).uniform(-1, 1, size=(n, 8)).astype(np.float32)


@pytest.mark.parametrize("widths", [(8, 8), (16,), (8, 12, 4)])
def test_acts_like_the_model_over_the_whole_box(tiny, tmp_path, widths):
    config = dataclasses.replace(tiny, net_arch=widths)
    model = build_model(config, make_env(config))
    model.policy.action_net.weight.data *= 300.0
    model.save(tmp_path / "model.zip")
    manifest = export(tmp_path / "model.zip", tmp_path / "model.onnx")
    policy = OnnxPolicy(tmp_path / "model.onnx", env_id="MarketMaking-v0")
    observations = box(5_000)
    expected, _ = model.predict(observations, deterministic=True)
    actions, _ = policy.predict(observations)
    assert np.abs(actions - expected).max() <= 1e-5
    at_a_bound = np.abs(expected) == 1.0
    assert 0.1 < at_a_bound.mean() < 0.9  # the clip is tested, and what it leaves alone
    assert manifest["parity"] == {"max_abs": manifest["parity"]["max_abs"], "n": 10_000, "tolerance": 1e-5}
    assert manifest["parity"]["max_abs"] <= 1e-5


def test_the_manifest_says_where_the_policy_comes_from(tiny, exported):
    manifest = OnnxPolicy(exported).manifest
    assert manifest["env_id"] == "MarketMaking-v0"
    assert manifest["obs_version"] == OBS_VERSION
    assert manifest["feature_names"] == list(FEATURE_NAMES)
    assert EnvParams.from_dict(manifest["params"]) == tiny.params
    assert (manifest["algo"], manifest["seed"], manifest["timesteps"]) == ("PPO", 0, 0)
    assert set(manifest["versions"]) == {"hftgym", "sb3", "sb3_contrib", "torch", "onnx", "numpy"}
    assert manifest["config_sha256"] == hashlib.sha256(tiny.to_toml().encode()).hexdigest()
    assert np.shape(manifest["probes"]["observations"]) == (16, 8)
    assert (manifest["action"]["low"], manifest["action"]["high"]) == (-1.0, 1.0)


def test_equal_models_give_equal_bytes(model_zip, exported, tmp_path):
    export(model_zip, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == exported.read_bytes()


def test_the_file_is_an_ordinary_onnx_model(exported):
    model = onnx.load(exported)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Gemm", "Tanh", "Gemm", "Tanh", "Gemm", "Clip"]
    assert (model.opset_import[0].version, model.ir_version) == (17, 8)
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["observation", "action"]
    assert [entry.key for entry in model.metadata_props] == ["manifest", "sha256"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_refused(model, tmp_path, value):
    model.policy.mlp_extractor.policy_net[2].bias.data[3] = value
    model.save(tmp_path / "model.zip")
    refused(tmp_path, "layer 1 has a weight that is not finite")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policy_kwargs": {"activation_fn": torch.nn.ReLU}}, r"activation is .*ReLU.*, expected .*Tanh"),
        ({"use_sde": True}, "use_sde is True, expected False"),
        ({"use_sde": True, "policy_kwargs": {"squash_output": True}}, "squash_output is True"),
    ],
)
def test_another_architecture_is_refused(tiny, tmp_path, changes, message):
    PPO("MlpPolicy", make_env(tiny), device="cpu", n_steps=16, **changes).save(tmp_path / "model.zip")
    refused(tmp_path, message)


def test_a_graph_that_acts_differently_is_refused(model_zip, tmp_path, monkeypatch):
    build = module.build_graph

    def off_by_a_little(net, space):
        (weights, bias), *rest = net.layers
        return build(dataclasses.replace(net, layers=[(weights, bias + np.float32(1e-3)), *rest]), space)

    monkeypatch.setattr(module, "build_graph", off_by_a_little)
    refused(tmp_path, "does not act like the model")


def test_a_difference_that_the_probes_do_not_see_is_found(model, model_zip, tmp_path, monkeypatch):
    origin = np.zeros((16, 8), dtype=np.float32)
    actions, _ = model.predict(origin, deterministic=True)
    probes = {"observations": origin.tolist(), "actions": actions.tolist()}
    monkeypatch.setattr(module, "probes_of", lambda _: probes)
    build = module.build_graph

    def different_away_from_the_origin(net, space):
        (weights, bias), *rest = net.layers
        return build(dataclasses.replace(net, layers=[(weights * np.float32(1.0001), bias), *rest]), space)

    monkeypatch.setattr(module, "build_graph", different_away_from_the_origin)
    refused(tmp_path, r"an action is off by .*, at most 1e-05 is allowed over 10,000 observations")


@pytest.mark.parametrize(("kind", "way"), [(Row, "act"), (OnnxPolicy, "_run")], ids=["one by one", "as a batch"])
def test_one_by_one_and_as_a_batch_the_file_acts_like_the_model(model_zip, tmp_path, monkeypatch, kind, way):
    right = getattr(kind, way)
    probes = export(model_zip, tmp_path / "model.onnx")["probes"]["observations"]
    known = np.array(probes, dtype=np.float32).tolist()
    (tmp_path / "model.onnx").unlink()

    def off_beside_the_probes(self, given):
        answer = right(self, given)
        if way == "act" and given.tolist() not in known:
            return answer + 2e-5
        return [answer[0] + 2e-5, *answer[1:]] if way == "_run" else answer

    monkeypatch.setattr(kind, way, off_beside_the_probes)
    refused(tmp_path, r"an action is off by .*e-05, at most 1e-05 is allowed over 10,000 observations")


def test_a_plain_sb3_file_needs_the_market(tiny, tmp_path):
    path = tmp_path / "model.zip"
    PPO("MlpPolicy", make_env(tiny), device="cpu", n_steps=16).save(path)
    refused(tmp_path, "pass params=")
    manifest = export(path, tmp_path / "model.onnx", params=EnvParams(), env_id="MarketMaking-v0")
    assert manifest["params"] == EnvParams().to_dict()
    assert manifest["config_sha256"] is None


def test_a_contradiction_about_the_market_is_refused(model_zip, tmp_path):
    refused(tmp_path, "was trained with params", params=EnvParams(spread=0.25))


def test_what_is_no_model_is_refused(tmp_path):
    refused(tmp_path, r"there is no file .*model\.zip")
    (tmp_path / "model.zip").write_bytes(b"PK\x03\x04 not a zip")
    refused(tmp_path, r"model\.zip cannot be read")


def test_a_file_that_cannot_be_written_is_named(model_zip, tmp_path):
    with pytest.raises(RunError, match=r"cannot write .*missing/model\.onnx"):
        export(model_zip, tmp_path / "missing" / "model.onnx")


def refused(folder, message, **arguments):
    before = sorted(folder.iterdir())
    with pytest.raises(ExportError, match=message):
        export(folder / "model.zip", folder / "model.onnx", **arguments)
    assert sorted(folder.iterdir()) == before


@pytest.mark.slow
def test_the_command(model_zip):
    def run(*words):
        script = [sys.executable, str(ROOT / "scripts" / "export.py")]
        return subprocess.run([*script, *words], capture_output=True, text=True, cwd=model_zip.parent)

    done = run(str(model_zip.parent), "--episodes", "3", "--calls", "400")
    assert done.returncode == 0, done.stderr
    for word in ("model.onnx", "bytes", "smaller", "J less the model's", "p99.9", "float32", "int8", "compiled act"):
        assert word in done.stdout
    written = {path.name for path in model_zip.parent.iterdir()} - {"model.zip"}
    assert written in ({"model.onnx", "latency.png"}, {"model.onnx", "model.int8.onnx", "latency.png"})
    assert ("not written: int8" in done.stdout) == ("model.int8.onnx" not in written)
    failed = run("nowhere")
    assert (failed.returncode, failed.stderr[:7]) == (1, "error: ")
