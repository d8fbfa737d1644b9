"""From a policy's ONNX graph to C, op by op, for one observation at a time.

Covered: Gemm and MatMul with constant weights, LSTM (one step, one direction), Tanh, Sigmoid, and element by element
Add, Sub, Mul, Div, Min, Max, Clip, Relu, Where, Not, all with numpy's broadcasting; whatever only moves numbers
(Concat, Split, Slice, Gather, Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Expand, Identity); and any op on
constants alone, such as the DequantizeLinear of int8 weights.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hftgym.policies.compiled.program import BLOCK, FEW, WIDEST, NotCoveredError, Program, padded

# Element by element; NaN stays NaN.
_FORMULAS: Mapping[str, str] = MappingProxyType(
    {
        "Add": "{0} + {1}",
        "Sub": "{0} - {1}",
        "Mul": "{0} * {1}",
        "Div": "{0} / {1}",
        "Min": "{1} < {0} ? {1} : {0}",
        "Max": "{1} > {0} ? {1} : {0}",
        "Relu": "{0} < 0 ? 0 : {0}",
        "Not": "!{0}",
        "Where": "{0} ? {1} : {2}",
        "Clip": "{0} < {1} ? {1} : {0} > {2} ? {2} : {0}",
    }
)
_MOVES = ("Concat", "Split", "Slice", "Gather", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand")
_MOVES += ("Identity",)


def c_source(model: Any) -> str:
    """Return the C program of an ONNX model: one translation unit with the weights in it.

    Args:
        model: `onnx.ModelProto` with the ports of a policy; their first axis is the batch.

    Raises:
        NotCoveredError: An op, an attribute or a type is not covered.
    """
    from onnx import numpy_helper

    graph = model.graph
    program = Program({tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer})
    inputs = [program.input(port, place) for place, port in enumerate(graph.input)]
    for node in graph.node:
        program.line(f"/* {node.op_type} */")
        if node.domain not in ("", "ai.onnx"):
            raise NotCoveredError(f"the op {node.domain}.{node.op_type}")
        if all(name in program.constants for name in node.input if name):
            arrays = _evaluate(node, [program.constants[name] for name in node.input if name], model.opset_import)
            program.constants |= dict(zip(node.output, arrays, strict=True))
        elif node.op_type in _FORMULAS:
            _write_formula(program, node)
        elif node.op_type in _MOVES:
            _write_move(program, node, model.opset_import)
        elif node.op_type in _WRITERS:
            _WRITERS[node.op_type](program, node, {a.name: _attribute(a) for a in node.attribute})
        else:
            raise NotCoveredError(f"the op {node.op_type}")
    outputs = [program.output(port.name, place) for place, port in enumerate(graph.output)]
    return program.text(inputs, outputs)


def _write_formula(program: Program, node: Any) -> None:
    """Write an op that works element by element."""
    names, formula = list(node.input), _FORMULAS[node.op_type]
    if node.op_type == "Clip":  # an end that is not named is infinite
        names += [""] * (3 - len(names))
        ends = (program.constant(np.array(end, np.float32)) for end in (0, -np.inf, np.inf))
        names = [name or end for name, end in zip(names, ends, strict=True)]
    if f"{{{len(names) - 1}}}" not in formula or f"{{{len(names)}}}" in formula or node.attribute:
        raise NotCoveredError(f"the op {node.op_type} with {len(names)} inputs")
    shape = np.broadcast_shapes(*map(program.shape, names))
    terms = [program.term(name, shape) for name in names]
    result = program.new(node.output[0], shape, "b" if node.op_type == "Not" else "f")
    program.line(f"for (int i = 0; i < {result.size}; i++) {result.c_name}[i] = {formula.format(*terms)};")


def _write_move(program: Program, node: Any, opsets: Any) -> None:
    """Write an op that moves numbers: it is played on their places, and the result says which goes where."""
    inputs = [name for name in node.input if name]
    moved = [name for name in inputs if node.op_type == "Concat" or name not in program.constants]
    values = [program.operand(name) for name in moved]
    ends = np.cumsum([0, *(value.size for value in values)])
    places = {
        name: np.arange(start, start + value.size).reshape(value.shape)
        for name, value, start in zip(moved, values, ends[:-1], strict=True)
    }
    arrays = _evaluate(node, [places[n] if n in places else program.constants[n] for n in inputs], opsets)
    for name, array in zip(node.output, arrays, strict=True):
        result = program.new(name, array.shape, values[0].kind)
        sources = np.searchsorted(ends, array.ravel(), side="right") - 1
        for at, start, count in _runs(array.ravel(), sources):
            source = sources[at]
            what = f"{values[source].c_name} + {start - ends[source]}, {count} * sizeof *{result.c_name}"
            program.line(f"memcpy({result.c_name} + {at}, {what});")


def _write_linear(
    program: Program, name: str, x: str, weights: NDArray[Any], *, bias: NDArray[Any], shape: tuple[int, ...]
) -> None:
    """Write `name` = bias (n,) + weights (n, k) x, with the weights in the order in which they are read."""
    source, (outputs, inputs) = program.operand(x), weights.shape
    if source.size != inputs:
        raise NotCoveredError(f"a product of the shapes {source.shape} and {weights.shape[::-1]}")
    result = program.new(name, shape)
    if outputs <= FEW:
        function, count, wide = "linear_few", outputs, padded(inputs, WIDEST)
        packed = np.pad(weights, ((0, 0), (0, wide - inputs)))
    else:
        function, count, wide = "linear", padded(outputs, WIDEST), padded(inputs, 4)
        whole = np.pad(weights, ((0, count - outputs), (0, wide - inputs)))
        packed = np.concatenate([whole[first : first + BLOCK].T.ravel() for first in range(0, count, BLOCK)])
    table, begun = program.table(packed), program.table(np.pad(bias, (0, padded(outputs, WIDEST) - outputs)))
    program.line(f"{function}({source.c_name}, {wide}, {table}, {begun}, {result.c_name}, {count});")


def _write_gemm(program: Program, node: Any, attributes: dict[str, Any]) -> None:
    if attributes.get("transA", 0):
        raise NotCoveredError("Gemm with transA")
    weights = _weights(program, node.input[1]) * np.float32(attributes.get("alpha", 1.0))
    weights = weights if attributes.get("transB", 0) else weights.T
    outputs = len(weights)
    bias = np.zeros(outputs, np.float32)
    if len(node.input) > 2 and node.input[2]:
        bias = bias + _weights(program, node.input[2]).ravel() * np.float32(attributes.get("beta", 1.0))
    _write_linear(program, node.output[0], node.input[0], weights, bias=bias, shape=(1, outputs))


def _write_matmul(program: Program, node: Any, attributes: dict[str, Any]) -> None:
    del attributes  # it has none
    weights, shape = _weights(program, node.input[1]), program.shape(node.input[0])
    if weights.ndim != 2 or any(axis != 1 for axis in shape[:-1]):
        raise NotCoveredError(f"MatMul of the shapes {shape} and {weights.shape}")
    outputs = weights.shape[1]
    bias = np.zeros(outputs, np.float32)
    _write_linear(program, node.output[0], node.input[0], weights.T, bias=bias, shape=(*shape[:-1], outputs))


def _write_each(function: str) -> Callable[[Program, Any, dict[str, Any]], None]:
    """Return what writes a function of arithmetic.h that works on whole vectors."""

    def write(program: Program, node: Any, attributes: dict[str, Any]) -> None:
        del attributes  # neither has any
        source = program.operand(node.input[0])
        result = program.new(node.output[0], source.shape)
        program.line(f"{function}({source.c_name}, {result.c_name}, {padded(result.size, WIDEST)});")

    return write


def _write_lstm(program: Program, node: Any, attributes: dict[str, Any]) -> None:
    """Write one step: the sums of the four gates over the input and the hidden state, then the gates."""
    x, w, r, b, lengths, h, c, peepholes = [*node.input, *[""] * (8 - len(node.input))]
    y, y_h, y_c = [*node.output, *[""] * (3 - len(node.output))]
    width = attributes.pop("hidden_size")
    if attributes.pop("direction", "forward") != "forward" or any(attributes.values()):
        raise NotCoveredError(f"LSTM with another {', '.join(attributes) or 'direction'}")
    if lengths or peepholes or program.shape(x)[:-1] != (1, 1):
        raise NotCoveredError("LSTM with peepholes, or over more than one step")
    nothing = np.zeros((1, 1, width), np.float32)
    hidden, cell = (program.operand(name or program.constant(nothing)) for name in (h, c))
    wide = padded(width, WIDEST)
    gates = np.hstack([_weights(program, name)[0] for name in (w, r)]).reshape(4, width, -1)
    bias = _weights(program, b).reshape(2, 4, width).sum(axis=0) if b else np.zeros((4, width), np.float32)
    joined = program.new(f"{node.name} input", (gates.shape[2],))
    at = 0
    for part in (program.operand(x), hidden):
        program.line(f"memcpy({joined.c_name} + {at}, {part.c_name}, {part.n_bytes});")
        at += part.size
    gates, bias = (np.pad(a, ((0, 0), (0, wide - width), *[(0, 0)] * (a.ndim - 2))) for a in (gates, bias))
    weights, sums = gates.reshape(4 * wide, -1), f"{node.name} sums"
    _write_linear(program, sums, f"{node.name} input", weights, bias=bias.ravel(), shape=(4 * wide,))
    new_h, new_c = (program.new(name or f"{node.name} {k}", (1, 1, width)) for k, name in enumerate((y_h, y_c)))
    if y:
        program.alias(y, new_h, (1, 1, 1, width))
    names = (program.operand(sums).c_name, cell.c_name, new_h.c_name, new_c.c_name)
    program.line(f"lstm_gates({', '.join(names)}, {wide});")


_WRITERS: Mapping[str, Callable[[Program, Any, dict[str, Any]], None]] = MappingProxyType(
    {
        "Gemm": _write_gemm,
        "MatMul": _write_matmul,
        "LSTM": _write_lstm,
        "Tanh": _write_each("tanh_each"),
        "Sigmoid": _write_each("sigmoid_each"),
    }
)


def _weights(program: Program, name: str) -> NDArray[np.float32]:
    """Return a constant of the graph."""
    if name not in program.constants or program.constants[name].dtype != np.float32:
        raise NotCoveredError(f"the weights {name!r}, which are not float32 constants")
    return program.constants[name]


def _evaluate(node: Any, arrays: list[NDArray[Any]], opsets: Any) -> list[NDArray[Any]]:
    """Return what ONNX's reference implementation makes of a node and its inputs."""
    if node.op_type == "DequantizeLinear":  # which it does not have for every opset
        return [_dequantized(*arrays, **{a.name: _attribute(a) for a in node.attribute})]
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    given = dict(zip([name for name in node.input if name], arrays, strict=True))
    ports = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in given.items()
    ]
    results = [helper.make_empty_tensor_value_info(name) for name in node.output]
    model = helper.make_model(helper.make_graph([node], "one", ports, results), opset_imports=opsets)
    try:
        return [np.asarray(array) for array in ReferenceEvaluator(model).run(None, given)]
    except Exception as error:  # of whatever kind its operators raise
        raise NotCoveredError(f"the op {node.op_type}: {error}") from error


def _dequantized(
    numbers: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any] | int = 0, *, axis: int = 1, block_size: int = 0
) -> NDArray[np.float32]:
    """Return (numbers - zero) * scale, with one scale and one zero for all or for each place along the axis."""
    if scale.ndim > 1 or block_size:
        raise NotCoveredError("DequantizeLinear in blocks")
    along = [-1 if place == axis % max(numbers.ndim, 1) else 1 for place in range(numbers.ndim)]
    scale, zero = (np.asarray(x).reshape(along if np.ndim(x) else ()) for x in (scale, zero))
    return ((numbers.astype(np.int32) - zero.astype(np.int32)) * scale).astype(np.float32)


def _attribute(attribute: Any) -> Any:
    from onnx import helper

    value = helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def _runs(places: NDArray[np.int64], sources: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Return (at, from, count) of every stretch of consecutive places in one source."""
    breaks = np.flatnonzero((np.diff(places) != 1) | (np.diff(sources) != 0)) + 1
    ends = [*breaks.tolist(), places.size] if places.size else []
    return [(at, int(places[at]), end - at) for at, end in zip([0, *ends], ends, strict=False)]
