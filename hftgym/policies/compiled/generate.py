"""From a policy's ONNX graph to C, op by op, for one observation at a time.

Covered: Gemm and MatMul with constant weights, LSTM (one step, one direction), Tanh, Sigmoid, and element by element
Add, Sub, Mul, Div, Min, Max, Clip, Relu, Where, Not, all with numpy's broadcasting; whatever only moves numbers
(Concat, Split, Slice, Gather, Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Expand, Identity); and any op on
constants alone, such as the DequantizeLinear of int8 weights.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WIDEST, _BLOCK, _FEW = 16, 64, 8  # as in arithmetic.h; so few outputs are summed one by one
_HEADERS = Path(__file__).parent
_C_TYPES = MappingProxyType({"f": "float", "b": "uint8_t"})

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


class NotCovered(ValueError):
    """A graph has something that cannot be written as C; the message says what."""


@dataclass(frozen=True)
class _Value:
    """A tensor in the C program: its name there, its shape for a batch of one, "f" float or "b" bool."""

    c_name: str
    shape: tuple[int, ...]
    kind: str

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


def c_source(model: Any) -> str:
    """Return the C program of an ONNX model: one translation unit with the weights in it.

    Args:
        model: `onnx.ModelProto` with the ports of a policy; their first axis is the batch.

    Raises:
        NotCovered: An op, an attribute or a type is not covered.
    """
    return _Program(model).source()


class _Program:
    """The C program while it is being written."""

    def __init__(self, model: Any) -> None:
        from onnx import numpy_helper

        graph = model.graph
        self._opsets = model.opset_import
        self._constants: dict[str, NDArray[Any]] = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self._values: dict[str, _Value] = {}
        self._tables: list[str] = []
        self._lines: list[str] = []
        self._inputs = [self._port(port) for port in graph.input]
        for place, value in enumerate(self._inputs):
            self._declare(value)
            self._lines.append(f"memcpy({value.c_name}, in[{place}], {_bytes(value)});")
        for node in graph.node:
            self._lines.append(f"/* {node.op_type} */")
            self._write(node)
        self._outputs = [self._operand(port.name) for port in graph.output]
        for place, value in enumerate(self._outputs):
            self._lines.append(f"memcpy(out[{place}], {value.c_name}, {_bytes(value)});")

    def source(self) -> str:
        """Return the whole translation unit."""
        memories = [value.size for value in self._outputs[1:]]
        constants = {"OBSERVATION": self._inputs[0].size, "ACTIONS": self._outputs[0].size}
        constants |= {"MEMORIES": len(memories), "MEMORY": sum(memories)}
        lists = {"WIDTHS": memories or [0], "IN_BYTES": map(_bytes, self._inputs), "OUT_BYTES": map(_bytes, self._outputs)}
        return "\n".join(
            [
                (_HEADERS / "arithmetic.h").read_text(encoding="utf-8"),
                f"enum {{ {', '.join(f'{name} = {value}' for name, value in constants.items())} }};",
                *(f"static const int {name}[] = {{{', '.join(map(str, items))}}};" for name, items in lists.items()),
                *self._tables,
                "static void net(const void *const *in, void *const *out) {",
                *(f"    {line}" for line in self._lines),
                "}",
                (_HEADERS / "binding.h").read_text(encoding="utf-8"),
            ]
        )

    def _port(self, port: Any) -> _Value:
        """Return a port of the graph as a value of one row."""
        tensor = port.type.tensor_type
        kind = {1: "f", 9: "b"}.get(tensor.elem_type)
        if kind is None:
            raise NotCovered(f"input {port.name} is neither float32 nor bool")
        return self._new(port.name, (1, *(axis.dim_value for axis in tensor.shape.dim[1:])), kind, declare=False)

    def _write(self, node: Any) -> None:
        """Write one node."""
        if node.domain not in ("", "ai.onnx"):
            raise NotCovered(f"op {node.domain}.{node.op_type}")
        if all(name in self._constants for name in node.input if name):
            arrays = _evaluate(node, [self._constants[name] for name in node.input if name], self._opsets)
            self._constants |= dict(zip(node.output, arrays, strict=True))
        elif node.op_type in _FORMULAS:
            self._write_formula(node)
        elif node.op_type in _MOVES:
            self._write_move(node)
        elif node.op_type in _WRITERS:
            _WRITERS[node.op_type](self, node, {a.name: _attribute(a) for a in node.attribute})
        else:
            raise NotCovered(f"op {node.op_type}")

    def _write_formula(self, node: Any) -> None:
        """Write an op that works element by element."""
        names, formula = list(node.input), _FORMULAS[node.op_type]
        if node.op_type == "Clip":  # an end that is not named is infinite
            names = [*names, *[""] * (3 - len(names))]
            ends = (self._constant(np.float32(end)) for end in (0, -np.inf, np.inf))
            names = [name or end for name, end in zip(names, ends, strict=True)]
        if f"{{{len(names) - 1}}}" not in formula or f"{{{len(names)}}}" in formula or node.attribute:
            raise NotCovered(f"op {node.op_type} with {len(names)} inputs")
        shape = np.broadcast_shapes(*map(self.shape, names))
        terms = [self._term(name, shape) for name in names]
        kind = "b" if node.op_type == "Not" else "f"
        result = self._new(node.output[0], shape, kind)
        self._lines.append(f"for (int i = 0; i < {result.size}; i++) {result.c_name}[i] = {formula.format(*terms)};")

    def _write_move(self, node: Any) -> None:
        """Write an op that moves numbers: it is played on their places, and the result says which goes where."""
        moved = [name for name in node.input if name and name not in self._constants]
        if node.op_type == "Concat":
            moved = [name for name in node.input if name]
        values = [self._operand(name) for name in moved]
        ends = np.cumsum([0, *(value.size for value in values)])
        places = {
            name: np.arange(start, start + value.size).reshape(value.shape)
            for name, value, start in zip(moved, values, ends[:-1], strict=True)
        }
        arrays = _evaluate(node, [places.get(n, self._constants.get(n)) for n in node.input if n], self._opsets)
        for name, array in zip(node.output, arrays, strict=True):
            result = self._new(name, array.shape, values[0].kind)
            for at, start, count in _runs(array.ravel()):
                source = int(np.searchsorted(ends, start, side="right")) - 1
                self._lines.append(
                    f"memcpy({result.c_name} + {at}, {values[source].c_name} + {start - ends[source]}, "
                    f"{count} * sizeof *{result.c_name});"
                )

    def write_linear(self, name: str, x: str, weights: NDArray[Any], bias: NDArray[Any], shape: tuple[int, ...]) -> None:
        """Write `name` = bias (n,) + weights (n, k) x."""
        source = self._operand(x)
        outputs, inputs = weights.shape
        if source.size != inputs:
            raise NotCovered(f"a product of the shapes {source.shape} and {weights.shape[::-1]}")
        result = self._new(name, shape, "f")
        if outputs <= _FEW:
            wide = _padded(inputs, _WIDEST)
            packed, function, count = np.pad(weights, ((0, 0), (0, wide - inputs))), "linear_few", outputs
        else:
            wide, count = _padded(inputs, 4), _padded(outputs, _WIDEST)
            padded = np.pad(weights, ((0, count - outputs), (0, wide - inputs)))
            blocks = [padded[first : first + _BLOCK].T.ravel() for first in range(0, count, _BLOCK)]
            packed, function = np.concatenate(blocks), "linear"
        table, start = self._table(packed), self._table(np.pad(bias, (0, _padded(outputs, _WIDEST) - outputs)))
        self._lines.append(f"{function}({source.c_name}, {wide}, {table}, {start}, {result.c_name}, {count});")

    def write_each(self, name: str, x: str, function: str) -> None:
        """Write `name` = function(x), in vectors."""
        source = self._operand(x)
        result = self._new(name, source.shape, "f")
        self._lines.append(f"{function}({source.c_name}, {result.c_name}, {_padded(result.size, _WIDEST)});")

    def write_lstm(self, node: Any, sums: NDArray[Any], bias: NDArray[Any], width: int) -> None:
        """Write an LSTM's step with weights (4 width, k + width) over its input and hidden state."""
        names = [*node.input, *[""] * (8 - len(node.input))]
        h, c = (name or self._constant(np.zeros((1, 1, width), np.float32)) for name in names[5:7])
        prefix = f"{node.output[0] or node.output[1]}__"
        joined = self._new(f"{prefix}input", (sums.shape[1],), "f")
        parts = [self._operand(names[0]), self._operand(h)]
        for at, part in zip((0, parts[0].size), parts, strict=True):
            self._lines.append(f"memcpy({joined.c_name} + {at}, {part.c_name}, {_bytes(part)});")
        wide = _padded(width, _WIDEST)
        gates = np.pad(sums.reshape(4, width, -1), ((0, 0), (0, wide - width), (0, 0))).reshape(4 * wide, -1)
        begun = np.pad(bias.reshape(4, width), ((0, 0), (0, wide - width))).ravel()
        self.write_linear(f"{prefix}sums", f"{prefix}input", gates, begun, (4 * wide,))
        outputs = [*node.output, *[""] * (3 - len(node.output))]
        hidden = self._new(outputs[1] or f"{prefix}hidden", (1, 1, width), "f")
        cell = self._new(outputs[2] or f"{prefix}cell", (1, 1, width), "f")
        if outputs[0]:
            self._values[outputs[0]] = _Value(hidden.c_name, (1, 1, 1, width), "f")
        total, old = self._values[f"{prefix}sums"].c_name, self._operand(c).c_name
        self._lines.append(f"lstm_gates({total}, {old}, {hidden.c_name}, {cell.c_name}, {wide});")

    def constant(self, name: str, what: str) -> NDArray[np.float32]:
        """Return a constant of the graph, float32."""
        if name not in self._constants or self._constants[name].dtype != np.float32:
            raise NotCovered(f"{what} that is not a float32 constant")
        return self._constants[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a value or a constant, for a batch of one."""
        return self._constants[name].shape if name in self._constants else self._value(name).shape

    def _new(self, name: str, shape: Sequence[int], kind: str, *, declare: bool = True) -> _Value:
        value = _Value(f"v{len(self._values)}", tuple(shape), kind)
        self._values[name] = value
        if declare:
            self._declare(value)
        return value

    def _declare(self, value: _Value) -> None:
        """Declare the buffer of a value; its padding is zero."""
        zero = " = {0}" if value.size % _WIDEST else ""
        length = _padded(max(value.size, 1), _WIDEST)
        self._lines.append(f"BUFFER {_C_TYPES[value.kind]} {value.c_name}[{length}]{zero};")

    def _value(self, name: str) -> _Value:
        if name not in self._values:
            raise NotCovered(f"the value {name!r}, which nothing computes")
        return self._values[name]

    def _operand(self, name: str) -> _Value:
        """Return a value, or a constant as a table."""
        if name not in self._constants:
            return self._value(name)
        array = self._constants[name]
        if array.dtype not in (np.float32, np.bool_):
            raise NotCovered(f"the constant {name} of the type {array.dtype}")
        padded = np.pad(array.ravel(), (0, _padded(max(array.size, 1), _WIDEST) - array.size))
        return _Value(self._table(padded), array.shape, "f" if array.dtype == np.float32 else "b")

    def _term(self, name: str, shape: tuple[int, ...]) -> str:
        """Return an operand's i-th element in C, broadcast to the shape of the result."""
        array = self._constants.get(name)
        if array is not None:
            if array.dtype not in (np.float32, np.bool_):
                raise NotCovered(f"the constant {name} of the type {array.dtype}")
            return _literal(array.ravel()[0]) if array.size == 1 else f"{self._table(np.broadcast_to(array, shape))}[i]"
        value = self._value(name)
        places = np.broadcast_to(np.arange(value.size).reshape(value.shape), shape).ravel()
        if value.size == 1:
            return f"{value.c_name}[0]"
        if np.array_equal(places, np.arange(value.size)):
            return f"{value.c_name}[i]"
        return f"{value.c_name}[{self._table(places.astype(np.int32))}[i]]"

    def _constant(self, array: Any) -> str:
        """Name a constant of our own."""
        name = f"__constant_{len(self._constants)}"
        self._constants[name] = np.asarray(array)
        return name

    def _table(self, array: NDArray[Any]) -> str:
        """Write a table and return its name."""
        name = f"t{len(self._tables)}"
        c_type = {"f": "float", "b": "uint8_t", "i": "int32_t"}[array.dtype.kind]
        numbers = [_literal(value) for value in array.ravel()]
        rows = [", ".join(numbers[i : i + 8]) for i in range(0, len(numbers), 8)]
        self._tables.append(f"TABLE {c_type} {name}[] = {{\n" + ",\n".join(rows) + "};")
        return name


def _write_gemm(program: _Program, node: Any, attributes: dict[str, Any]) -> None:
    if attributes.get("transA", 0):
        raise NotCovered("Gemm with transA")
    weights = program.constant(node.input[1], "Gemm with a second factor") * np.float32(attributes.get("alpha", 1.0))
    weights = weights if attributes.get("transB", 0) else weights.T
    bias = np.zeros(len(weights), np.float32)
    if len(node.input) > 2 and node.input[2]:
        bias = program.constant(node.input[2], "Gemm with a bias") * np.float32(attributes.get("beta", 1.0))
    program.write_linear(
        node.output[0], node.input[0], weights, np.broadcast_to(bias.ravel(), len(weights)), (1, len(weights))
    )


def _write_matmul(program: _Program, node: Any, attributes: dict[str, Any]) -> None:
    del attributes
    weights, shape = program.constant(node.input[1], "MatMul with a second factor"), program.shape(node.input[0])
    if weights.ndim != 2 or any(axis != 1 for axis in shape[:-1]):
        raise NotCovered(f"MatMul of the shapes {shape} and {weights.shape}")
    outputs = weights.shape[1]
    program.write_linear(
        node.output[0], node.input[0], weights.T, np.zeros(outputs, np.float32), (*shape[:-1], outputs)
    )


def _write_lstm(program: _Program, node: Any, attributes: dict[str, Any]) -> None:
    width = attributes.pop("hidden_size", 0)
    if attributes.pop("direction", "forward") != "forward" or any(attributes.values()):
        raise NotCovered(f"LSTM with {', '.join(attributes) or 'another direction'}")
    names = [*node.input, *[""] * (8 - len(node.input))]
    if names[4] or names[7] or program.shape(names[0])[:-1] != (1, 1):
        raise NotCovered("LSTM with peepholes, or over more than one step")
    w, r = (program.constant(name, "LSTM with weights")[0] for name in names[1:3])
    bias = np.zeros(8 * width, np.float32)
    if names[3]:
        bias = program.constant(names[3], "LSTM with a bias")[0]
    program.write_lstm(node, np.hstack([w, r]), bias[: 4 * width] + bias[4 * width :], width)


_WRITERS: Mapping[str, Callable[[_Program, Any, dict[str, Any]], None]] = MappingProxyType(
    {
        "Gemm": _write_gemm,
        "MatMul": _write_matmul,
        "LSTM": _write_lstm,
        "Tanh": lambda program, node, _: program.write_each(node.output[0], node.input[0], "tanh_each"),
        "Sigmoid": lambda program, node, _: program.write_each(node.output[0], node.input[0], "sigmoid_each"),
    }
)


def _evaluate(node: Any, arrays: list[Any], opsets: Any) -> list[NDArray[Any]]:
    """Return what ONNX's reference implementation makes of a node and its inputs."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    names = [name for name in node.input if name]
    ports = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in zip(names, arrays, strict=True)]
    results = [helper.make_empty_tensor_value_info(name) for name in node.output]
    model = helper.make_model(helper.make_graph([node], "one", ports, results), opset_imports=opsets)
    try:
        return [np.asarray(array) for array in ReferenceEvaluator(model).run(None, dict(zip(names, arrays, strict=True)))]
    except Exception as error:  # of whatever kind its operators raise
        raise NotCovered(f"op {node.op_type}: {error}") from error


def _attribute(attribute: Any) -> Any:
    from onnx import helper

    value = helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def _runs(places: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Return (at, from, count) of every stretch of consecutive places."""
    breaks = np.flatnonzero(np.diff(places) != 1) + 1
    starts = np.concatenate([[0], breaks]) if places.size else np.array([], dtype=np.int64)
    return [(int(at), int(places[at]), int(end - at)) for at, end in zip(starts, [*breaks, places.size], strict=True)]


def _literal(value: Any) -> str:
    """Return a number in C, exactly."""
    if isinstance(value, np.floating):
        if np.isnan(value):
            raise NotCovered("a constant that is not a number")
        return f"{float(value).hex()}f" if np.isfinite(value) else "-"[: value < 0] + "__builtin_inff()"
    return str(int(value))


def _padded(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def _bytes(value: _Value) -> int:
    return value.size * (4 if value.kind == "f" else 1)
