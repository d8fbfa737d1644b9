"""A file that can be trusted acts; every other one is refused with a reason."""

import copy
import dataclasses
import json
import pickle
import subprocess
import sys

import numpy as np
import onnx
import pytest

from agents.export import export
from agents.ppo import PPOConfig, build_model, make_env
from hftgym import EnvParams
from hftgym.policies import OnnxPolicy
from hftgym.policies.onnx import MAX_FILE_BYTES, ModelFileError, seal


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    config = dataclasses.replace(
        PPOConfig.from_toml(), num_envs=8, n_steps=16, batch_size=64, net_arch=(8, 8), params=EnvParams(horizon=60)
    )
    model = build_model(config, make_env(config))
    model.policy.action_net.weight.data *= 300.0
    folder = tmp_path_factory.mktemp("policy")
    model.save(folder / "model.zip")
    export(folder / "model.zip", folder / "model.onnx")
    return folder / "model.onnx"


@pytest.fixture(scope="module")
def policy(path):
    return OnnxPolicy(path)


@pytest.fixture
def altered(path, tmp_path):
    """Return a function that writes the file anew with another graph or manifest, sealed like a good one."""

    def write(*, manifest=None, graph=None):
        model = onnx.load(path)
        values = {entry.key: entry.value for entry in model.metadata_props}
        content = json.loads(values["manifest"])
        if manifest is not None:
            content = manifest(content) or content
        onnx.helper.set_model_props(model, {} if content == "none" else {"manifest": json.dumps(content)})
        if graph is not None:
            graph(model.graph)
        file = tmp_path / "altered.onnx"
        file.write_bytes(seal(model.SerializeToString()))
        return file

    return write


def box(n, seed=3):
    return np.random.default_rng(seed).uniform(-1, 1, size=(n, 8)).astype(np.float32)


def refused(path, message, **arguments):
    with pytest.raises(ModelFileError, match=message) as raised:
        OnnxPolicy(path, **arguments)
    assert path.name in str(raised.value)


def test_a_batch_is_its_singles(policy):
    observations = box(2_000)
    batch, state = policy.predict(observations)
    assert (batch.shape, batch.dtype, state) == ((2_000, 2), np.float32, None)
    singles = np.array([policy.predict(row)[0] for row in observations])
    np.testing.assert_allclose(singles, batch, atol=2e-6, rtol=0)
    assert np.abs(batch).max() == 1.0
    one, _ = policy.predict(observations[:1])
    np.testing.assert_allclose(one[0], singles[0], atol=2e-6, rtol=0)
    assert policy.predict(observations[:0])[0].shape == (0, 2)


def test_predict_returns_its_own_array_and_act_a_view(policy):
    a, b = box(2)
    first, _ = policy.predict(a)
    kept = first.copy()
    view = policy.act(a)
    np.testing.assert_array_equal(view, kept)
    assert policy.act(b) is view
    np.testing.assert_array_equal(view, policy.predict(b)[0])
    np.testing.assert_array_equal(first, kept)


def test_whatever_converts_is_read(policy):
    row = box(1)[0]
    expected, _ = policy.predict(row)
    strided = np.zeros((8, 2), dtype=np.float32)
    strided[:, 0] = row
    for same in (row.astype(np.float64), row.tolist(), tuple(row.tolist()), strided[:, 0]):
        np.testing.assert_array_equal(policy.predict(same)[0], expected)
        np.testing.assert_array_equal(policy.act(same), expected)


def test_state_passes_through(policy):
    state = (np.ones(3),)
    assert policy.predict(box(1)[0], state)[1] is state
    assert policy.predict(box(2), state, np.array([True, False]))[1] is state


def test_a_stochastic_action_is_refused(policy):
    with pytest.raises(ValueError, match="deterministic must be True"):
        policy.predict(box(1)[0], deterministic=False)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("feature", [0, 7])
def test_an_observation_that_is_not_finite_is_refused(policy, value, feature):
    name = ("inventory", "ask_fill")[feature == 7]
    batch = box(3)
    batch[1, feature] = value
    for call, observation in ((policy.act, batch[1]), (policy.predict, batch[1]), (policy.predict, batch)):
        with pytest.raises(ValueError, match=f"finite.*{name}"):
            call(observation)


def test_a_finite_observation_far_out_is_not_mistaken(policy):
    assert np.isfinite(policy.act(np.full(8, 3e38, dtype=np.float32))).all()


@pytest.mark.parametrize("shape", [(), (7,), (9,), (1, 7), (2, 9), (1, 1, 8), (8, 1), (0,)])
def test_another_shape_is_refused(policy, shape):
    observation = np.zeros(shape, dtype=np.float32)
    with pytest.raises(ValueError, match=r"observation must have the shape"):
        policy.predict(observation)
    with pytest.raises(ValueError, match=r"observation must have the shape \(8,\)"):
        policy.act(observation)


@pytest.mark.parametrize("duplicate", [lambda p: pickle.loads(pickle.dumps(p)), copy.deepcopy], ids=["pickle", "copy"])
def test_a_copy_needs_no_file_and_shares_nothing(path, tmp_path, duplicate):
    file = tmp_path / "moved.onnx"
    file.write_bytes(path.read_bytes())
    original = OnnxPolicy(file, env_id="MarketMaking-v0")
    file.unlink()
    twin = duplicate(original)
    a, b = box(2)
    mine, other = original.act(a), twin.act(b)
    np.testing.assert_array_equal(mine, original.predict(a)[0])
    assert not np.shares_memory(mine, other)
    assert twin.manifest == original.manifest
    np.testing.assert_array_equal(twin.predict(a)[0], original.predict(a)[0])


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    refused(tmp_path / "nothing.onnx", r"cannot be read: No such file .*expected an \.onnx file")
    refused(tmp_path, "cannot be read: Is a directory")


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    refused(path, "67,108,865 bytes, a policy has at most 67,108,864")


@pytest.mark.parametrize("data", [b"", b"<html>404</html>", b"\0" * 1_000])
def test_what_is_no_policy_is_refused(tmp_path, data):
    path = tmp_path / "other.onnx"
    path.write_bytes(data)
    refused(path, "must end with its sha256")


def test_an_onnx_model_of_someone_else_is_refused(path, tmp_path):
    model = onnx.load(path)
    other = tmp_path / "other.onnx"
    onnx.save(model, other)  # the entries in metadata_props are all there, the last bytes are the hash's
    assert OnnxPolicy(other).manifest == OnnxPolicy(path).manifest
    del model.metadata_props[-1]
    onnx.save(model, other)
    refused(other, "must end with its sha256")


def test_every_flipped_byte_and_every_cut_is_refused(path):
    """A flipped bit in a weight loads in onnxruntime and acts differently: only the hash sees it."""
    data = path.read_bytes()
    generator = np.random.default_rng(0)
    places = generator.integers(len(data), size=4_000)
    masks = generator.integers(1, 256, size=4_000)
    for place, mask in zip(places.tolist(), masks.tolist(), strict=True):
        broken = bytearray(data)
        broken[place] ^= mask
        with pytest.raises(ModelFileError):
            OnnxPolicy.from_bytes(bytes(broken))
    # Every byte of the hash itself, and a capital letter for a small one.
    for place in range(len(data) - 80, len(data)):
        for mask in (1, 32):
            broken = bytearray(data)
            broken[place] ^= mask
            with pytest.raises(ModelFileError):
                OnnxPolicy.from_bytes(bytes(broken))
    for size in generator.integers(len(data), size=2_000).tolist():
        with pytest.raises(ModelFileError):
            OnnxPolicy.from_bytes(data[:size])
    for more in (b"\0", b"\n", data):
        with pytest.raises(ModelFileError):
            OnnxPolicy.from_bytes(data + more)


def test_what_onnxruntime_refuses_is_refused(altered, tmp_path):
    def unknown(graph):
        graph.node[0].op_type = "Gemmm"

    refused(altered(graph=unknown), "not a model that onnxruntime can load")
    path = tmp_path / "noise.onnx"
    path.write_bytes(seal(b"noise"))
    refused(path, "not a model that onnxruntime can load")


def changed(**values):
    return lambda manifest: manifest.update(values)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (lambda _: "none", "has no manifest"),
        (lambda _: [1, 2], "the manifest is malformed"),
        (changed(format="hftgym.policy/2"), r"format is 'hftgym\.policy/2', expected 'hftgym\.policy/1'"),
        (changed(obs_version=2), "obs_version is 2, expected 1"),
        (lambda m: m.pop("obs_version") and None, "obs_version is None"),
        (lambda m: m["feature_names"].reverse(), r"feature_names is \['ask_fill'.*expected \['inventory'"),
        (changed(probes={}), "the manifest's probes is malformed"),
        (changed(params=None), "the manifest's params are None, expected a market's"),
        (changed(parity={"tolerance": 10**400}), "probes is malformed"),
        (changed(probes={"observations": [], "actions": []}), "the probes must be"),
        (changed(probes={"observations": 5.0, "actions": 5.0}), "the probes must be"),
        (changed(parity={}), "probes is malformed"),
        (changed(parity={"tolerance": 1.1e-3}), "tolerance of at most 0.001"),
        (changed(parity={"tolerance": 0.0}), "tolerance of at most 0.001"),
        (changed(parity={"tolerance": float("nan")}), "tolerance of at most 0.001"),
        (lambda m: m["probes"]["actions"][3].__setitem__(0, 0.123), "a probe's action is off by .* at most 1e-05"),
        (lambda m: m["probes"]["actions"][3].__setitem__(0, float("nan")), "a probe's action is off by nan"),
        (lambda m: m["probes"]["observations"][3].__setitem__(0, float("nan")), "a probe must give a finite action"),
        (lambda m: m["probes"]["observations"][3].append(0.0), "probes is malformed"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(altered, manifest, message):
    refused(altered(manifest=manifest), message)


@pytest.mark.parametrize("tolerance", [1e-5, 1e-3])
def test_a_probe_may_be_off_by_the_tolerance_and_no_more(altered, tolerance):
    def shifted(share):
        def change(manifest):
            manifest["parity"]["tolerance"] = tolerance
            manifest["probes"]["actions"][3][1] += share * tolerance

        return change

    assert OnnxPolicy(altered(manifest=shifted(0.8))).manifest["parity"]["tolerance"] == tolerance
    refused(altered(manifest=shifted(1.2)), f"a probe's action is off by .*, expected at most {tolerance:g}")


def test_another_environment_is_refused_if_one_is_named(path):
    assert OnnxPolicy(path, env_id="MarketMaking-v0").manifest["env_id"] == "MarketMaking-v0"
    refused(path, "env_id is 'MarketMaking-v0', expected 'Other-v0'", env_id="Other-v0")


def rename_input(graph):
    graph.input[0].name = graph.node[0].input[0] = "obs"


def fix_batch(graph):
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def add_output(graph):
    graph.output.append(onnx.helper.make_tensor_value_info("linear_0", onnx.TensorProto.FLOAT, ["batch", 8]))


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (
            rename_input,
            r"the net's inputs are \[\('obs', .*expected \[\('observation', 'tensor\(float\)', \['batch', 8\]",
        ),
        (fix_batch, r"the net's inputs are \[\('observation', .*\[1, 8\]"),
        (add_output, "the net's outputs are .*linear_0"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused(altered, graph, message):
    refused(altered(graph=graph), message)


def test_a_weight_that_is_not_finite_is_refused(altered):
    def poison(graph):
        bias = next(tensor for tensor in graph.initializer if tensor.name == "bias_2")
        bias.raw_data = np.array([np.nan, 0], dtype=np.float32).tobytes()

    refused(altered(graph=poison), "a probe must give a finite action")


def test_an_action_that_is_not_finite_is_not_returned(altered):
    def root(graph):
        graph.node[1].op_type = "Sqrt"  # fine at the origin, where the probes are; NaN below

    probes = {"observations": [[0.0] * 8], "actions": [[0.0, 0.0]]}
    policy = OnnxPolicy(altered(graph=root, manifest=changed(probes=probes)))
    for observation in (box(1)[0], box(3)):
        with pytest.raises(FloatingPointError, match=r"altered\.onnx: the net returned"):
            policy.predict(observation)


def test_the_policy_runs_where_there_is_no_compiler_and_no_net_library(path):
    code = f"""
import sys
for name in ("torch", "numba", "onnx", "stable_baselines3", "agents"):
    sys.modules[name] = None
import numpy as np
from hftgym.policies import OnnxPolicy
print(OnnxPolicy({str(path)!r}).predict(np.zeros(8, np.float32))[0].shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "(2,)\n", done.stderr


def test_without_onnxruntime_the_error_says_what_to_install(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r'pip install "hftgym\[onnx\]"'):
        OnnxPolicy(path)
