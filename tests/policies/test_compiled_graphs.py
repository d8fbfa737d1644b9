"""Every op that the generator covers computes what onnxruntime computes."""

import copy

import numpy as np
import pytest
from onnx import helper

from tests.reference.nets import both, box, lstm, mlp, sealed, small
from tests.reference.remembering import remembering_model, remembering_weights

node = helper.make_node
INT8 = {
    "bias": np.zeros(8, np.float32),
    "q": np.random.default_rng(4).integers(-127, 128, size=(8, 8)).astype(np.int8),
    "s": np.float32([0.01] * 8),
}
GRAPHS = {
    "mlp 8": mlp((8,)),
    "mlp 64-64": mlp((64, 64)),
    "mlp 7-130-33": mlp((7, 130, 33)),
    "mlp 48": mlp((48,)),
    "relu": mlp((32, 20), activation="Relu"),
    "sigmoid": mlp((17,), activation="Sigmoid"),
    "lstm 1": lstm(1, seed=1),
    "lstm 13": lstm(13),
    "lstm 64": lstm(64),
    "remembering": remembering_model(remembering_weights()),
    "sub mul div": small(
        node("Sub", ["observation", "one"], ["a"]), node("Mul", ["a", "m"], ["b"]), node("Div", ["b", "one"], ["y"])
    ),
    "min max": small(node("Min", ["observation", "m"], ["a"]), node("Max", ["a", "low"], ["y"])),
    "clip one end": small(node("Clip", ["observation", "", "low"], ["a"]), node("Add", ["a", "high"], ["y"])),
    "concat slice": small(
        node("Concat", ["observation", "observation", "observation"], ["a"], axis=1),
        node("Slice", ["a", "i2", "i8", "i1"], ["b"]),
        node("Split", ["b"], ["c", "d"], axis=1),
        node("Concat", ["d", "c", "d"], ["e"], axis=1),
        node("Slice", ["e", "n1", "i0", "i1", "n1"], ["y"]),
    ),
    "transpose": small(
        node("Reshape", ["observation", "shape"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=[0, 2, 1]),
        node("Flatten", ["b"], ["c"]),
        node("Gather", ["c", "order"], ["y"], axis=1),
        shape=np.array([-1, 2, 4]),
        order=np.array([7, 6, 5, 4, 0, 0, 1, 2]),
    ),
    "outer": small(
        node("Unsqueeze", ["observation", "i2"], ["a"]),
        node("Mul", ["a", "row"], ["b"]),
        node("Slice", ["b", "i1", "i2", "i2"], ["c"]),
        node("Squeeze", ["c", "i2"], ["y"]),
        row=np.float32([[[1, 2, 3]]]),
    ),
    "int8": small(
        node("DequantizeLinear", ["q", "s"], ["w"], axis=0),
        node("Gemm", ["observation", "w", "bias"], ["y"], transB=1),
        **INT8,
    ),
}


SLOW = ("mlp 8", "mlp 48", "sigmoid", "lstm 1", "min max", "clip one end", "outer", "transpose")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in GRAPHS])
def test_decides_as_onnxruntime_does(name):
    reference, compiled = both(sealed(copy.deepcopy(GRAPHS[name])))
    states = [None, None]
    start = np.random.default_rng(0).random((40, 50)) < 0.1
    bounds = 0
    for t, observations in enumerate(box(40, 50)):
        expected, states[0] = reference.predict(observations, states[0], start[t])
        actions, states[1] = compiled.predict(observations, states[1], start[t])
        np.testing.assert_allclose(actions, expected, atol=1e-5, rtol=0)
        for ours, theirs in zip(states[1] or (), states[0] or (), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-5)
        bounds += int((np.abs(expected) < 1).sum())
    assert bounds > 400  # not all of it was clipped
