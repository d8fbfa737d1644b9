"""Sealed policy files with random weights, made without training."""

import json

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from hftgym import FEATURE_NAMES, FEATURES, OBS_VERSION
from hftgym.policies import OnnxPolicy
from hftgym.policies.onnx import FORMAT, seal

_START = helper.make_tensor_value_info("episode_start", TensorProto.BOOL, ["batch", 1])


def policy_model(nodes, constants, widths=None):
    """Return a model with a policy's ports: observation (and memories) in, "action" (and memories) out."""
    widths = widths or {}

    def port(name, width):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])

    graph = helper.make_graph(
        nodes,
        "policy",
        [port("observation", 8), *([_START] if widths else []), *(port(*item) for item in widths.items())],
        [port("action", 2), *(port(f"{name}_out", width) for name, width in widths.items())],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def sealed(model):
    """Return the file of a model, with 16 probes answered by onnxruntime."""
    observations = np.random.default_rng(1).uniform(-1, 1, size=(16, 8)).astype(np.float32)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options)
    widths = {port.name: port.shape[1] for port in session.get_inputs()[2:]}
    memories, actions = [np.zeros((1, width), np.float32) for width in widths.values()], []
    for t, row in enumerate(observations):
        past = {"episode_start": np.array([[t == 0]]), **dict(zip(widths, memories, strict=True))} if widths else {}
        action, *memories = session.run(None, {"observation": row[None], **past})
        actions.append(action[0].tolist())
    manifest = {
        "format": FORMAT,
        "env_id": "MarketMaking-v0",
        "obs_version": OBS_VERSION,
        "params": {},
        "feature_names": list(FEATURE_NAMES),
        "state": widths,
        "parity": {"tolerance": 1e-5},
        "probes": {"observations": observations.tolist(), "actions": actions},
    }
    helper.set_model_props(model, {"manifest": json.dumps(manifest)})
    return seal(model.SerializeToString())


def mlp(widths=(16, 16), *, seed=0, activation="Tanh"):
    """Return Gemm, activation, ..., Gemm, Clip, with actions that reach the bounds."""
    generator, nodes, constants, value, inputs = np.random.default_rng(seed), [], {}, "observation", 8
    for i, outputs in enumerate((*widths, 2)):
        constants[f"w{i}"] = generator.normal(0, 2 / np.sqrt(inputs), size=(outputs, inputs)).astype(np.float32)
        constants[f"b{i}"] = generator.normal(0, 0.1, size=outputs).astype(np.float32)
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [f"linear{i}"], transB=1))
        value, inputs = f"linear{i}", outputs
        if i < len(widths):
            nodes.append(helper.make_node(activation, [value], [f"hidden{i}"]))
            value = f"hidden{i}"
    nodes.append(helper.make_node("Clip", [value, "low", "high"], ["action"]))
    return policy_model(nodes, constants | {"low": np.float32(-1), "high": np.float32(1)})


def lstm(width=16, *, seed=0):
    """Return Where (the reset), LSTM, Gemm, Clip."""
    generator, node = np.random.default_rng(seed), helper.make_node
    scale = 1 / np.sqrt(width)
    shapes = {"w": (1, 4 * width, 8), "r": (1, 4 * width, width), "b": (1, 8 * width), "out": (2, width), "bias": (2,)}
    constants = {name: generator.normal(0, scale, size=shape).astype(np.float32) for name, shape in shapes.items()}
    constants |= {"zero": np.float32(0), "first": np.array([0]), "low": np.float32(-1), "high": np.float32(1)}
    nodes = [
        *(node("Where", ["episode_start", "zero", name], [f"{name}_0"]) for name in "hc"),
        *(node("Unsqueeze", [v, "first"], [f"{v}_1"]) for v in ("observation", "h_0", "c_0")),
        node("LSTM", ["observation_1", "w", "r", "b", "", "h_0_1", "c_0_1"], ["", "h_2", "c_2"], hidden_size=width),
        *(node("Squeeze", [f"{name}_2", "first"], [f"{name}_out"]) for name in "hc"),
        node("Gemm", ["h_out", "out", "bias"], ["raw"], transB=1, alpha=0.7),
        node("Clip", ["raw", "low", "high"], ["action"]),
    ]
    return policy_model(nodes, constants, {"h": width, "c": width})


_ONE = {"one": np.float32([1, 2, 3, 4, 5, 6, 7, 8]), "low": np.float32(-1), "high": np.float32(1)}
_TWO = {"pick": np.random.default_rng(2).normal(0, 0.6, size=(8, 2)).astype(np.float32)}
_END = [
    helper.make_node("MatMul", ["y", "pick"], ["raw"]),
    helper.make_node("Clip", ["raw", "low", "high"], ["action"]),
]
_INDEX = {name: np.array(value) for name, value in {"i0": [0], "i1": [1], "i2": [2], "i8": [8], "n1": [-1]}.items()}
_MATRIX = {"m": np.random.default_rng(3).normal(0, 0.5, size=(1, 8)).astype(np.float32)}


def small(*nodes, **constants):
    """Return a model of nodes from "observation" to "y", both (batch, 8), and "y" mixed into two actions."""
    return policy_model([*nodes, *_END], _ONE | _TWO | _INDEX | _MATRIX | constants)


def both(data):
    """Return the policy of a file by onnxruntime, and compiled."""
    policies = [OnnxPolicy.from_bytes(data, backend=backend) for backend in ("onnxruntime", "compiled")]
    assert [policy.backend for policy in policies] == ["onnxruntime", "compiled"]
    return policies


def box(*shape, seed=3):
    """Return observations from all over their box, float32 (*shape, 8)."""
    low, high = [f.low for f in FEATURES], [f.high for f in FEATURES]
    return np.random.default_rng(seed).uniform(low, high, size=(*shape, 8)).astype(np.float32)
