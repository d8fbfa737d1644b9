"""Nodes and constants on their way to an ONNX model of a policy that remembers a window."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import hftgym
from agents.onnx_graph import IR_VERSION, OPSET
from hftgym.observation import N_FEATURES
from hftgym.policies.onnx import BATCH_AXIS, INPUT, N_ACTIONS, NEXT, OUTPUT, START
from hftgym.policies.signal import WINDOW

MEMORY = "h"
PROBABILITY = "probability"
_ML_OPSET = 3


class GraphBuilder:
    """Collects nodes and constants."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self._constants: dict[str, NDArray[Any]] = {}

    def node(self, operator: str, *inputs: str, out: str, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        self.nodes.append(helper.make_node(operator, [*inputs], [out], name=out, **attributes))
        return out

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        """Add a constant and return its name."""
        self._constants[name] = np.asarray(value, dtype=dtype)
        return name

    def build(self, *, with_probability: bool) -> ModelProto:
        """Return the model; with P(up) as one more output for comparisons, which a deployed policy must not have."""
        number, truth = TensorProto.FLOAT, TensorProto.BOOL
        ports = [(INPUT, number, N_FEATURES), (START, truth, 1), (MEMORY, number, WINDOW)]
        outputs = [(OUTPUT, N_ACTIONS), (MEMORY + NEXT, WINDOW), *([(PROBABILITY, 1)] if with_probability else [])]
        graph = helper.make_graph(
            self.nodes,
            "forecaster",
            [helper.make_tensor_value_info(name, kind, [BATCH_AXIS, width]) for name, kind, width in ports],
            [helper.make_tensor_value_info(name, number, [BATCH_AXIS, width]) for name, width in outputs],
            [numpy_helper.from_array(value, name) for name, value in self._constants.items()],
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)],
            ir_version=IR_VERSION,
            producer_name="hftgym",
            producer_version=hftgym.__version__,
        )
