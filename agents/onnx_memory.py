"""What a policy remembers, as the first part of its ONNX graph."""

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import helper

from agents.return_memory import FEATURE, ReturnMemory
from hftgym.observation import FEATURE_NAMES
from hftgym.policies.onnx import INPUT, NEXT, START


class ExportError(ValueError):
    """A model cannot be exported faithfully; nothing has been written."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A part of a graph.

    Attributes:
        output: Name of the value that the next part reads.
        nodes: ONNX nodes, in order.
        constants: Their constants, by name.
    """

    output: str
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Averages:
    """Weighted averages of returns, behind the observation."""

    memory: ReturnMemory

    @property
    def widths(self) -> dict[str, int]:
        """One memory, h."""
        return {"h": len(self.memory.weights)}

    def part(self) -> Part:
        """Return h_out = keep * h + gain * last_return, and (observation, h_out)."""
        constants = {
            "zero": np.float32(0),
            "keep": self.memory.keep,
            "gain": self.memory.gain,
            "last_return_at": np.array([FEATURE_NAMES.index(FEATURE)], dtype=np.int64),
        }
        nodes = [
            _forget("h"),
            _node("Mul", ["h_before", "keep"], "h_kept"),
            _node("Gather", [INPUT, "last_return_at"], "last_return", axis=1),
            _node("Mul", ["last_return", "gain"], "h_added"),
            _node("Add", ["h_kept", "h_added"], "h" + NEXT),
            _node("Concat", [INPUT, "h" + NEXT], "seen", axis=1),
        ]
        return Part(output="seen", nodes=nodes, constants=constants)


@dataclass(frozen=True, kw_only=True, eq=False)
class Lstm:
    """One LSTM layer with its weights in torch's order of gates: i, f, g, o.

    Attributes:
        inputs: float32 (4 n, 8).
        recurrence: float32 (4 n, n).
        bias: Of the inputs and of the recurrence, float32 (2, 4 n).
        observed: The layers read (h, observation), not h alone.
    """

    inputs: NDArray[np.float32]
    recurrence: NDArray[np.float32]
    bias: NDArray[np.float32]
    observed: bool

    @classmethod
    def of(cls, lstm: torch.nn.LSTM, *, observed: bool) -> Self:
        """Return the weights of a torch LSTM.

        Raises:
            ExportError: It has several layers or directions, no bias or a projection, or a weight is not finite.
        """
        shape = (lstm.num_layers, lstm.bidirectional, lstm.bias, lstm.proj_size)
        if shape != (1, False, True, 0):
            raise ExportError(f"cannot export this model: its LSTM is {lstm}, expected one layer, one way, with bias")
        weights = {name: value.detach().numpy().astype(np.float32) for name, value in lstm.named_parameters()}
        if not all(np.isfinite(value).all() for value in weights.values()):
            raise ExportError("cannot export this model: its LSTM has a weight that is not finite")
        bias = np.stack([weights["bias_ih_l0"], weights["bias_hh_l0"]])
        return cls(inputs=weights["weight_ih_l0"], recurrence=weights["weight_hh_l0"], bias=bias, observed=observed)

    @property
    def size(self) -> int:
        """Numbers in h, and in c."""
        return self.recurrence.shape[1]

    @property
    def widths(self) -> dict[str, int]:
        """Two memories, h and c."""
        return {"h": self.size, "c": self.size}

    def part(self) -> Part:
        """Return h_out and c_out, gate by gate, and what the layers read.

        ONNX's own LSTM does the same and takes longer: its three dimensions need five more nodes.
        """
        n = self.size
        constants = {
            "zero": np.float32(0),
            "cell_weights": _sigmoids_first(np.concatenate([self.inputs, self.recurrence], axis=1)),
            "cell_bias": _sigmoids_first(self.bias.sum(axis=0)),
            "sigmoids_and_tanh": np.array([3 * n, n], dtype=np.int64),
            "one_each": np.array([n, n, n], dtype=np.int64),
        }
        nodes = [
            *(_forget(name) for name in self.widths),
            _node("Concat", [INPUT, "h_before"], "seen", axis=1),
            _node("Gemm", ["seen", "cell_weights", "cell_bias"], "gates", transB=1),
            helper.make_node("Split", ["gates", "sigmoids_and_tanh"], ["ifo_raw", "g_raw"], name="gates_split", axis=1),
            _node("Sigmoid", ["ifo_raw"], "ifo"),
            _node("Tanh", ["g_raw"], "g"),
            helper.make_node("Split", ["ifo", "one_each"], ["i", "f", "o"], name="ifo_split", axis=1),
            _node("Mul", ["f", "c_before"], "c_kept"),
            _node("Mul", ["i", "g"], "c_added"),
            _node("Add", ["c_kept", "c_added"], "c" + NEXT),
            _node("Tanh", ["c" + NEXT], "c_tanh"),
            _node("Mul", ["o", "c_tanh"], "h" + NEXT),
        ]
        if not self.observed:
            return Part(output="h" + NEXT, nodes=nodes, constants=constants)
        nodes.append(_node("Concat", ["h" + NEXT, INPUT], "remembered_and_seen", axis=1))
        return Part(output="remembered_and_seen", nodes=nodes, constants=constants)


def _forget(name: str) -> Any:
    """Return the node that empties a memory where an episode starts; a product would keep what is no number."""
    return _node("Where", [START, "zero", name], f"{name}_before")


def _sigmoids_first(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows by gate in the order i, f, o, g, of rows in torch's order i, f, g, o."""
    i, f, g, o = np.split(rows, 4)
    return np.concatenate([i, f, o, g])


def _node(op: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    return helper.make_node(op, inputs, [output], name=output, **attributes)
