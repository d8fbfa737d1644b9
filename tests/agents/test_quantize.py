"""An int8 file acts and earns like the float32 one, is sealed and checked as it is, or there is none."""

import json

import numpy as np
import onnx
import pytest

from agents import quantize as module
from agents.quantize import ACTION_TOLERANCE, ExportError, candidate, difference, quantize
from agents.quantize_graph import int8, rounded_together
from agents.run_folder import RunError
from hftgym.policies import OnnxPolicy
from hftgym.policies.onnx import ModelFileError, seal
from tests.reference.nets import lstm, mlp, sealed


def described(model, origin):
    """Return the file of a model, with the rest of another file's manifest."""
    sealed(model)
    own = json.loads(model.metadata_props[0].value)
    manifest = origin | {"state": own["state"], "probes": own["probes"]}
    onnx.helper.set_model_props(model, {"manifest": json.dumps(manifest)})
    return seal(model.SerializeToString())


@pytest.fixture(params=["mlp", "lstm"])
def source(request, exported, tmp_path):
    model = mlp((64, 64)) if request.param == "mlp" else lstm(32)
    for tensor in model.graph.initializer:
        if tensor.name.startswith("w"):  # as of a trained net: an action is not the sum of 64 wild terms
            numbers = onnx.numpy_helper.to_array(tensor) * np.float32(0.2)
            tensor.CopyFrom(onnx.numpy_helper.from_array(numbers, tensor.name))
    path = tmp_path / "float32.onnx"
    path.write_bytes(described(model, dict(OnnxPolicy(exported).manifest)))
    return path


@pytest.fixture
def lenient(monkeypatch):
    """An untrained agent earns next to nothing, of which nothing much is a large share."""
    monkeypatch.setattr(module, "REWARD_TOLERANCE", np.inf)


def test_the_file_is_smaller_acts_alike_and_says_what_it_is(source, tmp_path, lenient):
    manifest = quantize(source, tmp_path / "int8.onnx", episodes=2)
    policy, reference = OnnxPolicy(tmp_path / "int8.onnx", env_id="MarketMaking-v0"), OnnxPolicy(source)
    assert policy.manifest == manifest
    assert manifest["precision"] == "int8"
    assert manifest["state"] == reference.manifest["state"]
    assert source.stat().st_size > 1.7 * (tmp_path / "int8.onnx").stat().st_size
    found = difference(policy, reference, episodes=2)
    recorded = manifest["quantization"]["action"]
    assert recorded == {"max_abs": found.action, "n": 12_800, "tolerance": ACTION_TOLERANCE}
    assert 1e-4 < found.action <= ACTION_TOLERANCE
    weights = [t for t in onnx.load(tmp_path / "int8.onnx").graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert sum(len(onnx.numpy_helper.to_array(t).ravel()) for t in weights) > 4_000


def test_every_tier_decides_alike(source, tmp_path):
    made = candidate(source, episodes=2)
    compiled = OnnxPolicy.from_bytes(made.data, backend="compiled")
    assert compiled.backend == "compiled"
    for row in np.random.default_rng(0).uniform(-1, 1, size=(200, 8)).astype(np.float32):
        np.testing.assert_allclose(compiled.act(row), made.policy.act(row), atol=1e-5, rtol=0)


def test_equal_files_give_equal_bytes(source):
    assert candidate(source, episodes=2).data == candidate(source, episodes=2).data


@pytest.mark.parametrize("axis", [0, 1])
def test_a_weight_is_off_by_half_a_step_at_most(axis):
    matrix = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    matrix[2] = 0.0
    numbers, scales = int8(matrix, axis)
    assert numbers.dtype == np.int8
    shape = (-1, 1) if axis == 0 else (1, -1)
    errors = np.abs(numbers * scales.reshape(shape) - matrix)
    assert (errors <= 0.5001 * scales.reshape(shape)).all()
    assert np.abs(numbers).max() == 127


@pytest.mark.parametrize("scheme", ["dynamic", "static"])
def test_onnxruntimes_own_schemes_make_policies_too(source, scheme):
    made = candidate(source, scheme=scheme, episodes=2)
    assert made.policy.manifest["quantization"]["scheme"] == scheme
    assert 0 < made.found.action < 0.5


def test_what_acts_differently_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ACTION_TOLERANCE", 1e-5)
    with pytest.raises(ExportError, match=r"an action is off by .*, at most 1e-05 is allowed over 12,800"):
        quantize(source, tmp_path / "int8.onnx", episodes=2)
    assert not (tmp_path / "int8.onnx").exists()


def test_what_earns_less_is_refused_and_what_is_not_known_to_earn_as_much(source, tmp_path, monkeypatch):
    real = module.difference

    def losing(share, se):
        found = real(OnnxPolicy(source), OnnxPolicy(source), episodes=2)
        monkeypatch.setattr(module, "difference", lambda *_, **__: found._replace(loss=share, loss_se=se))

    for share, se in ((0.006, 0.0001), (0.0, 0.003), (float("nan"), 0.0)):
        losing(share, se)
        with pytest.raises(ExportError, match=r"may earn less: J falls by .* at most 0\.5% is allowed"):
            quantize(source, tmp_path / "int8.onnx", episodes=2)
        assert not (tmp_path / "int8.onnx").exists()
    losing(0.004, 0.0004)
    quantize(source, tmp_path / "int8.onnx", episodes=2)


@pytest.mark.parametrize("source", ["mlp"], indirect=True)
def test_the_loss_is_the_paired_difference_of_j(source, exported):
    reference, other = OnnxPolicy(source), OnnxPolicy(exported)
    same, different = difference(reference, reference, episodes=20), difference(other, reference, episodes=20)
    assert (same.action, same.loss, same.loss_se) == (0.0, 0.0, 0.0)
    assert different.action > 0.1
    assert different.loss_se > 0


@pytest.mark.parametrize("source", ["mlp"], indirect=True)
def test_an_agent_that_never_trades_has_no_share_to_lose(source, exported, tmp_path):
    """Its J is 0: a file that never trades either may be used, one that does must not."""
    model = mlp((8, 8))
    for tensor in model.graph.initializer:
        if tensor.name in ("w2", "b2"):
            value = np.full(tuple(tensor.dims), 0.0 if tensor.name == "w2" else 2.0, np.float32)  # withdraws, clipped
            tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
    path = tmp_path / "idle.onnx"
    path.write_bytes(described(model, dict(OnnxPolicy(exported).manifest)))
    quantize(path, tmp_path / "int8.onnx", episodes=2)
    idle = OnnxPolicy(path)
    found = difference(OnnxPolicy(tmp_path / "int8.onnx"), idle, episodes=2)
    assert (found.loss, found.loss_se) == (0.0, 0.0)
    trades = difference(OnnxPolicy(source), idle, episodes=2)._replace(action=0.0)
    made = module.Candidate(data=b"", policy=idle, found=trades)
    assert "cannot be compared: float32's J is 0 over 2 episodes, its own is not" in made.refusal


def test_bad_input_is_refused(source, tmp_path, lenient):
    with pytest.raises(ValueError, match="scheme must be one of weight-only, dynamic, static, got 'int4'"):
        quantize(source, tmp_path / "out.onnx", scheme="int4")
    with pytest.raises(ExportError, match="cannot be read"):
        quantize(tmp_path / "nothing.onnx", tmp_path / "out.onnx")
    quantize(source, tmp_path / "int8.onnx", episodes=2)
    with pytest.raises(ExportError, match="has the precision 'int8', expected a file of the precision 'float32'"):
        quantize(tmp_path / "int8.onnx", tmp_path / "again.onnx")
    with pytest.raises(RunError, match="cannot write"):
        quantize(source, tmp_path / "missing" / "int8.onnx", episodes=2)


@pytest.mark.slow
def test_every_byte_flipped_and_every_cut_is_refused(source):
    """Of both precisions: one bit of every byte, 3,000 bytes by any mask, 3,000 cuts."""
    generator = np.random.default_rng(0)
    for data in (source.read_bytes(), candidate(source, episodes=2).data):
        places = [*range(len(data)), *generator.integers(len(data), size=3_000).tolist()]
        masks = [
            *(1 << generator.integers(8, size=len(data))).tolist(),
            *generator.integers(1, 256, size=3_000).tolist(),
        ]
        for place, mask in zip(places, masks, strict=True):
            broken = bytearray(data)
            broken[place] ^= mask
            with pytest.raises(ModelFileError):
                OnnxPolicy.from_bytes(bytes(broken))
        for size in generator.integers(len(data), size=3_000).tolist():
            with pytest.raises(ModelFileError):
                OnnxPolicy.from_bytes(data[:size])


def test_rounding_together_keeps_the_sums_that_the_layer_computes():
    generator = np.random.default_rng(0)
    weights, bias = generator.normal(size=(12, 20)).astype(np.float32), generator.normal(size=12).astype(np.float32)
    seen = (generator.normal(size=(400, 5)) @ generator.normal(size=(5, 20)) + 0.3).astype(np.float32)  # correlated
    nearest, scales = int8(weights, 0)
    numbers, begun = rounded_together(weights, bias, scales, seen)
    assert np.abs(numbers.astype(int) - nearest).max() >= 1

    def worst(n, b, x):
        return np.abs((x @ (n * scales[:, None]).T + b) - (x @ weights.T + bias)).max()

    assert worst(numbers, begun, seen) < 0.5 * worst(nearest, bias, seen)
    assert worst(numbers, begun, generator.uniform(-1, 1, size=(400, 20))) < 0.2  # elsewhere it is still the layer


def test_inputs_that_never_vary_do_no_harm():
    weights, bias = np.float32([[1.0, -0.3, 0.7]]), np.float32([0.25])
    for seen in (np.zeros((50, 3), np.float32), np.ones((50, 3), np.float32)):
        numbers, begun = rounded_together(weights, bias, np.float32([1 / 127]), seen)
        assert np.isfinite(begun).all()
        np.testing.assert_allclose(seen @ (numbers / 127.0).T + begun, seen @ weights.T + bias, atol=0.01)
