"""The causal Transformer as ONNX nodes: only the last position asks, as when it forecasts."""

import math

import numpy as np
from torch import Tensor

from agents.forecasters.graph_builder import GraphBuilder
from agents.forecasters.nets import Transformer
from hftgym.observation import CLIP_SD
from hftgym.policies.signal import WINDOW

_NORM_EPSILON = 1e-5  # torch's


def transformer_nodes(g: GraphBuilder, forecaster: Transformer, window: str) -> str:
    """Add the net over the window (batch, 50) and return the name of its log-odds (batch, 1)."""
    weights = forecaster.net.state_dict()
    width, heads = forecaster.width, forecaster.heads
    column = g.node("Unsqueeze", window, g.constant("last_axis", [2], np.int64), out="column")
    moves = g.node("Mul", column, g.constant("clip_sd", CLIP_SD), out="moves_sd")
    x = _linear(g, moves, "embed", weights)
    read = _norm(g, x, "before", weights)
    newest = g.constant("newest", [WINDOW - 1], np.int64)
    asking = g.node("Gather", read, newest, out="asking", axis=1)
    parts = {"query": asking, "key": read, "value": read}
    shape = g.constant("heads_shape", [0, -1, heads, width // heads], np.int64)
    for name, value in parts.items():
        whole = g.node("Reshape", _linear(g, value, name, weights), shape, out=f"{name}_split")
        parts[name] = g.node(
            "Transpose", whole, out=f"{name}_heads", perm=[0, 2, 3, 1] if name == "key" else [0, 2, 1, 3]
        )
    products = g.node("MatMul", parts["query"], parts["key"], out="products")
    scores = g.node("Mul", products, g.constant("per_root", 1.0 / math.sqrt(width // heads)), out="scores")
    penalty = forecaster.net.get_buffer("mask")[None, :, -1:].numpy()  # the last position sees every other
    shares = g.node("Softmax", g.node("Add", scores, g.constant("age", penalty), out="aged"), out="shares", axis=-1)
    mixed = g.node("Transpose", g.node("MatMul", shares, parts["value"], out="mixed"), out="joined", perm=[0, 2, 1, 3])
    flat = g.node("Reshape", mixed, g.constant("flat_shape", [0, 1, width], np.int64), out="flat")
    x = g.node("Add", g.node("Gather", x, newest, out="last", axis=1), _linear(g, flat, "mix", weights), out="attended")
    wide = g.node("Relu", _linear(g, _norm(g, x, "between", weights), "widen", weights), out="relu")
    x = g.node("Add", x, _linear(g, wide, "narrow", weights), out="transformed")
    odds = _linear(g, _norm(g, x, "after", weights), "head", weights)
    return g.node("Squeeze", odds, g.constant("middle_axis", [1], np.int64), out="log_odds")


def _linear(g: GraphBuilder, value: str, name: str, weights: dict[str, Tensor]) -> str:
    matrix = g.constant(f"{name}_weight", weights[f"{name}.weight"].numpy().T)
    product = g.node("MatMul", value, matrix, out=f"{name}_product")
    return g.node("Add", product, g.constant(f"{name}_bias", weights[f"{name}.bias"].numpy()), out=name)


def _norm(g: GraphBuilder, value: str, name: str, weights: dict[str, Tensor]) -> str:
    scale, bias = (g.constant(f"{name}_{part}", weights[f"{name}.{part}"].numpy()) for part in ("weight", "bias"))
    return g.node("LayerNormalization", value, scale, bias, out=name, axis=-1, epsilon=_NORM_EPSILON)
