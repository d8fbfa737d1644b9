"""A forecaster and its entry rule as one ONNX graph: observation and window in, action and window out.

    observation, episode_start, h (50 moves)
      -> h_out: the reset, the newest move on the grid at its end
      -> features (float64, exact) -> model -> P(up) -> action: cross beyond the entry, else withdraw

Features are summed in float64, where they are exact, and cast to float32 as in training: trees compare the same numbers
with the same thresholds as LightGBM does, on every observation.
"""

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from agents.forecasters.graph_builder import MEMORY, PROBABILITY, GraphBuilder
from agents.forecasters.models import Forecaster, Linear, Trees
from agents.forecasters.nets import LSTM, Transformer
from agents.forecasters.transformer_nodes import transformer_nodes
from agents.forecasters.tree_nodes import tree_attributes
from agents.onnx_graph import ExportError
from hftgym.observation import CLIP_SD, FEATURE_NAMES
from hftgym.policies.base import CROSS, WITHDRAW
from hftgym.policies.onnx import INPUT, NEXT, OUTPUT, START
from hftgym.policies.signal import GRID, WINDOW


def signal_graph(forecaster: Forecaster, entry: float, *, with_probability: bool = False) -> ModelProto:
    """Return the graph of `SignalPolicy(forecaster, entry)`.

    Args:
        forecaster: A trained linear model, trees, LSTM or Transformer on windows of moves.
        entry: Probability beyond which it trades.
        with_probability: Whether to add P(up) as an output.

    Raises:
        ExportError: There is no graph for this forecaster, or a weight is not finite.
    """
    g = GraphBuilder()
    window = _window(g)
    odds = _log_odds(g, forecaster, window)
    _rule(g, g.node("Sigmoid", odds, out=PROBABILITY), entry)
    model = g.build(with_probability=with_probability)
    for constant in model.graph.initializer:
        if not np.isfinite(numpy_helper.to_array(constant)).all():
            raise ExportError(f"cannot export this forecaster: {constant.name} has a weight that is not finite")
    return model


def _log_odds(g: GraphBuilder, forecaster: Forecaster, window: str) -> str:
    """Add the forecaster itself."""
    if isinstance(forecaster, LSTM):
        return _lstm(g, forecaster, window)
    if isinstance(forecaster, Transformer):
        return transformer_nodes(g, forecaster, window)
    if isinstance(forecaster, Linear) and forecaster.table is not None:
        weights, bias = g.constant("weights", forecaster.weights[:, None]), g.constant("bias", [forecaster.bias])
        return g.node("Gemm", _features(g, forecaster.table, window), weights, bias, out="log_odds")
    if isinstance(forecaster, Trees) and forecaster.table is not None:
        features, trees = _features(g, forecaster.table, window), tree_attributes(forecaster.booster)
        return g.node("TreeEnsembleRegressor", features, out="log_odds", domain="ai.onnx.ml", **trees)
    what = type(forecaster).__name__
    raise ExportError(f"cannot export a {what}: only forecasters that read windows of moves have a graph")


def _window(g: GraphBuilder) -> str:
    """Add the memory: the reset, and the newest move, on the grid, behind the others."""
    zero, column = g.constant("zero", 0.0), g.constant("return_at", [FEATURE_NAMES.index("last_return")], np.int64)
    before = g.node("Where", START, zero, MEMORY, out="remembered")
    newest = g.node("Gather", INPUT, column, out="last_return", axis=1)
    steps = g.node("Round", g.node("Div", newest, g.constant("grid", GRID), out="steps"), out="whole_steps")
    move = g.node("Mul", steps, "grid", out="move")
    bounds = [g.constant(name, [value], np.int64) for name, value in (("one", 1), ("end", WINDOW), ("axis", 1))]
    return g.node("Concat", g.node("Slice", before, *bounds, out="moved_on"), move, out=MEMORY + NEXT, axis=1)


def _features(g: GraphBuilder, table: NDArray[np.float64], window: str) -> str:
    exact = g.node("Cast", window, out="window_float64", to=TensorProto.DOUBLE)
    sums = g.node("MatMul", exact, g.constant("table", table, np.float64), out="features_float64")
    return g.node("Cast", sums, out="features", to=TensorProto.FLOAT)


def _lstm(g: GraphBuilder, forecaster: LSTM, window: str) -> str:
    """Add the net over the window. ONNX orders the gates as (input, output, forget, cell), torch as (i, f, c, o)."""
    weights = {name: value.detach().numpy() for name, value in forecaster.net.state_dict().items()}
    hidden = forecaster.hidden
    order = np.concatenate([np.arange(hidden) + gate * hidden for gate in (0, 3, 1, 2)])
    moves = g.node("Mul", window, g.constant("clip_sd", CLIP_SD), out="moves_sd")
    sequence = g.node("Transpose", moves, out="sequence", perm=[1, 0])
    steps = g.node("Unsqueeze", sequence, g.constant("last_axis", [2], np.int64), out="steps_in")
    g.constant("lstm_w", weights["lstm.weight_ih_l0"][order][None])
    g.constant("lstm_r", weights["lstm.weight_hh_l0"][order][None])
    biases = [weights[f"lstm.bias_{kind}_l0"][order] for kind in ("ih", "hh")]
    g.constant("lstm_b", np.concatenate(biases)[None])
    g.nodes.append(
        helper.make_node(
            "LSTM", [steps, "lstm_w", "lstm_r", "lstm_b"], ["", "lstm_last"], name="lstm", hidden_size=hidden
        )
    )
    read = g.node("Squeeze", "lstm_last", g.constant("first_axis", [0], np.int64), out="read")
    head, bias = g.constant("head", weights["head.weight"].T), g.constant("head_bias", weights["head.bias"])
    return g.node("Gemm", read, head, bias, out="log_odds")


def _rule(g: GraphBuilder, up: str, entry: float) -> None:
    """Add the entry rule of `SignalPolicy`: a side crosses or is withdrawn."""
    column = g.constant("inventory_at", [FEATURE_NAMES.index("inventory")], np.int64)
    held = g.node("Gather", INPUT, column, out="inventory", axis=1)
    sure_up = g.node("Greater", up, g.constant("entry_up", entry), out="sure_up")
    sure_down = g.node("Less", up, g.constant("entry_down", 1.0 - entry), out="sure_down")
    may_buy = g.node("Less", held, g.constant("limit", 1.0), out="may_buy")
    may_sell = g.node("Greater", held, g.constant("minus_limit", -1.0), out="may_sell")
    buys = g.node("And", sure_up, may_buy, out="buys")
    sells = g.node("And", sure_down, may_sell, out="sells")
    sides = g.node("Concat", buys, sells, out="sides", axis=1)
    g.node("Where", sides, g.constant("cross", CROSS), g.constant("withdraw", WITHDRAW), out=OUTPUT)
