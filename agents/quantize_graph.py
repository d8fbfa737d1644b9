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
        feed: "static" takes its ranges from what the net computes from this.
    """
    if scheme == "weight-only":
        small = _weight_only(model)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "int8.onnx"
            _by_onnxruntime(model, path, scheme, feed)
            small = onnx.load(path)
    del small.metadata_props[:]
    return small


def _weight_only(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace every constant matrix by int8 numbers and one scale per output, which DequantizeLinear multiplies."""
    small = onnx.ModelProto()
    small.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in small.graph.initializer}
    nodes: list[Any] = []
    for node in small.graph.node:
        for place, axis in _MATRICES.get(node.op_type, ()):
            name = node.input[place]
            if name not in constants:
                continue
            if any(a.name == "transB" and a.i for a in node.attribute):
                axis = 0
            numbers, scales = int8(numpy_helper.to_array(constants[name]), axis)
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
