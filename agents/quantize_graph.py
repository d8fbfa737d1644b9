"""ONNX graphs with int8 weights: one matrix at a time, or by onnxruntime's own quantiser."""

import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static

from hftgym.policies.engine import open_session

Scheme = Literal["weight-only", "dynamic", "static"]

# The inputs of a float32 net at many moments: port -> (n, width).
Feed = Mapping[str, NDArray[Any]]

# The inputs that are matrices, by op: (place, the axis that the outputs lie along).
_MATRICES: Mapping[str, tuple[tuple[int, int], ...]] = {
    "Gemm": ((1, 1),),
    "MatMul": ((1, 1),),
    "LSTM": ((1, 1), (2, 1)),
}


def quantized(model: onnx.ModelProto, scheme: Scheme, feed: Feed) -> onnx.ModelProto:
    """Return a model with int8 weights and without metadata.

    Args:
        model: The float32 model; it is left as it is.
        scheme: "weight-only", "dynamic" or "static".
        feed: What the net sees: numbers are rounded so that its sums stay what they are on this, and "static" takes
            its ranges from it.
    """
    if scheme == "weight-only":
        small = _weight_only(model, feed)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "int8.onnx"
            _by_onnxruntime(model, path, scheme, feed)
            small = onnx.load(path)
    del small.metadata_props[:]
    return small


def _weight_only(model: onnx.ModelProto, feed: Feed) -> onnx.ModelProto:
    """Replace every constant matrix by int8 numbers and one scale per output, which DequantizeLinear multiplies."""
    small = onnx.ModelProto()
    small.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in small.graph.initializer}
    seen = _factors(model, [node.input[0] for node in model.graph.node if node.op_type == "Gemm"], feed)
    nodes: list[Any] = []
    for node in small.graph.node:
        for place, axis in _MATRICES.get(node.op_type, ()):
            name = node.input[place]
            if name not in constants:
                continue
            if any(a.name == "transB" and a.i for a in node.attribute):
                axis = 0
            matrix = numpy_helper.to_array(constants[name])
            numbers, scales = int8(matrix, axis)
            if node.op_type == "Gemm" and node.input[2:] and node.input[2] in constants:
                bias = constants[node.input[2]]
                rows, begun = matrix if axis == 0 else matrix.T, numpy_helper.to_array(bias)
                rounded, begun = rounded_together(rows, begun, scales, seen[node.input[0]])
                numbers = rounded if axis == 0 else np.ascontiguousarray(rounded.T)
                bias.CopyFrom(numpy_helper.from_array(begun, bias.name))
            constants[name].CopyFrom(numpy_helper.from_array(numbers, f"{name}_q"))
            small.graph.initializer.append(numpy_helper.from_array(scales, f"{name}_s"))
            nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_s"], [name], axis=axis))
        nodes.append(node)
    del small.graph.node[:]
    small.graph.node.extend(nodes)
    return small


def int8(matrix: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return (numbers, scales): the largest weight of every place along the axis becomes 127 or -127."""
    others = tuple(place for place in range(matrix.ndim) if place != axis)
    largest = np.abs(matrix).max(axis=others, keepdims=True)
    scales = np.where(largest > 0, largest, 1.0).astype(np.float32) / np.float32(127)
    return np.rint(matrix / scales).astype(np.int8), scales.ravel()


def rounded_together(
    weights: NDArray[np.float32], bias: NDArray[np.float32], scales: NDArray[np.float32], seen: NDArray[np.float32]
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round a layer's weights so that errors cancel: what one is off by is made up for by those after it, and the bias.

    Column by column, as optimal brain surgery does it for rounding (Frantar et al. 2022, "GPTQ").

    Args:
        weights: float32 (n, k).
        bias: float32 (n,).
        scales: Of every row, float32 (n,).
        seen: What the layer sees, float32 (m, k).

    Returns:
        The weights' numbers, int8 (n, k), and the new bias.
    """
    # The weights that matter most first, while there are others to make up for them; the bias, which stays float, last.
    order = np.argsort(-np.square(seen).mean(axis=0), kind="stable")
    inputs = np.column_stack([seen[:, order], np.ones(len(seen))]).astype(np.float64)
    gram = inputs.T @ inputs / len(inputs)
    gram += 1e-4 * np.diag(gram).mean() * np.eye(len(gram))
    # Row j says how an error in column j is spread over the later ones.
    spread = np.linalg.cholesky(np.linalg.inv(gram)).T
    left = np.column_stack([weights[:, order], bias]).astype(np.float64)
    numbers = np.zeros(weights.shape, dtype=np.int8)
    for j, place in enumerate(order):
        numbers[:, place] = np.clip(np.rint(left[:, j] / scales), -127, 127)
        error = (left[:, j] - numbers[:, place] * scales.astype(np.float64)) / spread[j, j]
        left[:, j + 1 :] -= error[:, None] * spread[j, j + 1 :]
    return numbers, left[:, -1].astype(np.float32)


def _factors(model: onnx.ModelProto, names: list[str], feed: Feed) -> dict[str, NDArray[np.float32]]:
    """Return what values inside a net are, for every row of the feed."""
    inside = [name for name in dict.fromkeys(names) if name not in feed]
    open_model = onnx.ModelProto()
    open_model.CopyFrom(model)
    open_model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in inside)
    found = open_session(open_model.SerializeToString(), "the float32 net").run(inside, dict(feed)) if inside else []
    return dict(feed) | dict(zip(inside, found, strict=True))


def _by_onnxruntime(model: onnx.ModelProto, path: Path, scheme: Scheme, feed: Feed) -> None:
    """Write what onnxruntime's quantiser makes of a model."""
    logging.disable(logging.WARNING)  # it advises a preprocessing that is for nets with convolutions
    try:
        if scheme == "dynamic":
            quantize_dynamic(model, path, per_channel=True)
        else:
            # The default, all ops, quantises the features too, and is far off.
            ops = ["Gemm", "MatMul"]
            quantize_static(
                model,
                path,
                _Rows(feed),
                quant_format=QuantFormat.QOperator,
                op_types_to_quantize=ops,
                per_channel=True,
            )
    finally:
        logging.disable(logging.NOTSET)


class _Rows(CalibrationDataReader):
    """Feeds one row after the other to onnxruntime's calibration."""

    def __init__(self, feed: Feed) -> None:
        self._rows = self._each(feed)

    def get_next(self) -> Any:
        """Return the next row, None at the end."""
        return next(self._rows, None)

    @staticmethod
    def _each(feed: Feed) -> Iterator[dict[str, NDArray[Any]]]:
        for i in range(len(next(iter(feed.values())))):
            yield {name: rows[i : i + 1] for name, rows in feed.items()}
