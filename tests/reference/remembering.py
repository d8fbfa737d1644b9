"""A small policy with two memories, as a file and as a few lines of numpy."""

import json

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from hftgym import FEATURE_NAMES, OBS_VERSION
from hftgym.policies.onnx import FORMAT, seal

WIDTHS = {"h": 3, "c": 2}


def remembering_weights(seed=0):
    """Return float32 A (8, 3), B (3, 3), C (8, 2), D (2, 2), E (3, 2), F (2, 2)."""
    generator = np.random.default_rng(seed)
    shapes = {"A": (8, 3), "B": (3, 3), "C": (8, 2), "D": (2, 2), "E": (3, 2), "F": (2, 2)}
    return {name: generator.normal(0, 0.5, size=shape).astype(np.float32) for name, shape in shapes.items()}


def remembering_model(weights):
    """Return h' = tanh(xA + hB), c' = xC + cD, action = clip(h'E + c'F), both memories zero where an episode starts."""
    node = helper.make_node
    nodes = [
        node("Where", ["episode_start", "zero", "h"], ["h_0"]),
        node("Where", ["episode_start", "zero", "c"], ["c_0"]),
        *(node("MatMul", pair, [out]) for pair, out in ((["observation", "A"], "xA"), (["h_0", "B"], "hB"))),
        node("Add", ["xA", "hB"], ["h_1"]),
        node("Tanh", ["h_1"], ["h_out"]),
        *(node("MatMul", pair, [out]) for pair, out in ((["observation", "C"], "xC"), (["c_0", "D"], "cD"))),
        node("Add", ["xC", "cD"], ["c_out"]),
        *(node("MatMul", pair, [out]) for pair, out in ((["h_out", "E"], "hE"), (["c_out", "F"], "cF"))),
        node("Add", ["hE", "cF"], ["raw"]),
        node("Clip", ["raw", "low", "high"], ["action"]),
    ]
    constants = weights | {"zero": np.float32(0), "low": np.float32(-1), "high": np.float32(1)}
    port = helper.make_tensor_value_info
    inputs = [
        port("observation", TensorProto.FLOAT, ["batch", 8]),
        port("episode_start", TensorProto.BOOL, ["batch", 1]),
        *(port(name, TensorProto.FLOAT, ["batch", width]) for name, width in WIDTHS.items()),
    ]
    outputs = [
        port("action", TensorProto.FLOAT, ["batch", 2]),
        *(port(f"{name}_out", TensorProto.FLOAT, ["batch", width]) for name, width in WIDTHS.items()),
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "remembering", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def remembering_step(weights, observation, start, state):
    """Return (action, (h, c)) of a batch as `remembering_model` computes them, in float64."""
    h, c = (np.where(start[:, None], 0.0, part.astype(np.float64)) for part in state)
    x, w = observation.astype(np.float64), {name: value.astype(np.float64) for name, value in weights.items()}
    h, c = np.tanh(x @ w["A"] + h @ w["B"]), x @ w["C"] + c @ w["D"]
    return np.clip(h @ w["E"] + c @ w["F"], -1, 1), (h, c)


def remembering_bytes(weights=None, *, alter=lambda manifest: None, graph=lambda graph: None):
    """Return a sealed file of `remembering_model`; `alter` and `graph` may change the manifest and the graph."""
    weights = weights or remembering_weights()
    observations = np.random.default_rng(1).uniform(-1, 1, size=(16, 8)).astype(np.float32)
    state, actions = tuple(np.zeros((1, width)) for width in WIDTHS.values()), []
    for t, row in enumerate(observations):
        action, state = remembering_step(weights, row[None], np.array([t == 0]), state)
        actions.append(action[0].tolist())
    manifest = {
        "format": FORMAT,
        "env_id": "MarketMaking-v0",
        "obs_version": OBS_VERSION,
        "params": {},
        "feature_names": list(FEATURE_NAMES),
        "state": dict(WIDTHS),
        "parity": {"tolerance": 1e-5},
        "probes": {"observations": observations.tolist(), "actions": actions},
    }
    alter(manifest)
    model = remembering_model(weights)
    graph(model.graph)
    helper.set_model_props(model, {"manifest": json.dumps(manifest)})
    return seal(model.SerializeToString())
