"""A C program while it is written: values of one observation, tables of constants, lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDEST, BLOCK, FEW = 16, 64, 8  # the first two as in arithmetic.h; FEW outputs or less are summed one by one
_HEADERS = Path(__file__).parent
_C_TYPES = MappingProxyType({"f": "float", "b": "uint8_t", "i": "int32_t"})
_KINDS = MappingProxyType({1: "f", 9: "b"})  # by TensorProto.DataType


class NotCoveredError(ValueError):
    """A graph has something that cannot be written as C; the message says what."""


@dataclass(frozen=True)
class Value:
    """A tensor in the C program.

    Attributes:
        c_name: Its array there, padded to whole vectors.
        shape: For a batch of one.
        kind: numpy's letter, "f" float32 or "b" bool.
    """

    c_name: str
    shape: tuple[int, ...]
    kind: str

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def n_bytes(self) -> int:
        """Size in C."""
        return self.size * (4 if self.kind == "f" else 1)


class Program:
    """Collects the parts of the translation unit.

    Args:
        constants: The graph's constants by name; more are added as they become known.

    Attributes:
        constants: The same.
    """

    def __init__(self, constants: dict[str, NDArray[Any]]) -> None:
        self.constants = constants
        self._values: dict[str, Value] = {}
        self._tables: list[str] = []
        self._lines: list[str] = []

    def line(self, text: str) -> None:
        """Add a line to the body of `net`."""
        self._lines.append(f"    {text}")

    def new(self, name: str, shape: Sequence[int], kind: str = "f") -> Value:
        """Declare the buffer of a new value; its padding is zero."""
        value = Value(f"v{len(self._values)}", tuple(shape), kind)
        self._values[name] = value
        zero = " = {0}" if value.size % WIDEST else ""
        self.line(f"BUFFER {_C_TYPES[kind]} {value.c_name}[{padded(max(value.size, 1), WIDEST)}]{zero};")
        return value

    def alias(self, name: str, value: Value, shape: tuple[int, ...]) -> None:
        """Give a value another name and shape."""
        self._values[name] = Value(value.c_name, shape, value.kind)

    def input(self, port: Any, place: int) -> Value:
        """Copy a port of the graph into a buffer."""
        tensor = port.type.tensor_type
        if tensor.elem_type not in _KINDS:
            raise NotCoveredError(f"the input {port.name}, which is neither float32 nor bool")
        value = self.new(port.name, (1, *(axis.dim_value for axis in tensor.shape.dim[1:])), _KINDS[tensor.elem_type])
        self.line(f"memcpy({value.c_name}, in[{place}], {value.n_bytes});")
        return value

    def output(self, name: str, place: int) -> Value:
        """Copy a value out of the net."""
        value = self.operand(name)
        self.line(f"memcpy(out[{place}], {value.c_name}, {value.n_bytes});")
        return value

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a value or a constant."""
        return self.constants[name].shape if name in self.constants else self._value(name).shape

    def operand(self, name: str) -> Value:
        """Return a value, or a constant as a table."""
        if name not in self.constants:
            return self._value(name)
        array = self.constants[name]
        table = self.table(np.pad(array.ravel(), (0, padded(max(array.size, 1), WIDEST) - array.size)))
        return Value(table, array.shape, array.dtype.kind)

    def term(self, name: str, shape: tuple[int, ...]) -> str:
        """Return the i-th element of an operand in C, broadcast to `shape`."""
        if name in self.constants:
            array = self.constants[name]
            return _literal(array.ravel()[0]) if array.size == 1 else f"{self.table(np.broadcast_to(array, shape))}[i]"
        value = self._value(name)
        if value.size == 1:
            return f"{value.c_name}[0]"
        places = np.broadcast_to(np.arange(value.size).reshape(value.shape), shape).ravel()
        straight = np.array_equal(places, np.arange(value.size))
        return f"{value.c_name}[i]" if straight else f"{value.c_name}[{self.table(places.astype(np.int32))}[i]]"

    def constant(self, array: NDArray[Any]) -> str:
        """Name a constant that the graph does not have."""
        name = f"a constant of our own, {len(self.constants)}"
        self.constants[name] = array
        return name

    def table(self, array: NDArray[Any]) -> str:
        """Write a table and return its name in C."""
        if array.dtype not in (np.float32, np.bool_, np.int32):
            raise NotCoveredError(f"a constant of the type {array.dtype}")
        name = f"t{len(self._tables)}"
        numbers = [_literal(value) for value in array.ravel()]
        rows = [", ".join(numbers[i : i + 8]) for i in range(0, len(numbers), 8)]
        self._tables.append(f"TABLE {_C_TYPES[array.dtype.kind]} {name}[] = {{\n" + ",\n".join(rows) + "};")
        return name

    def text(self, inputs: Sequence[Value], outputs: Sequence[Value]) -> str:
        """Return the translation unit."""
        memories = [value.size for value in outputs[1:]]
        sizes = {"OBSERVATION": inputs[0].size, "ACTIONS": outputs[0].size}
        sizes |= {"MEMORIES": len(memories), "MEMORY": sum(memories)}
        lists = {"WIDTHS": memories or [0]}
        lists |= {f"{which}_BYTES": [v.n_bytes for v in values] for which, values in (("IN", inputs), ("OUT", outputs))}
        return "\n".join(
            [
                (_HEADERS / "arithmetic.h").read_text(encoding="utf-8"),
                f"enum {{ {', '.join(f'{name} = {size}' for name, size in sizes.items())} }};",
                *(f"static const int {name}[] = {{{', '.join(map(str, items))}}};" for name, items in lists.items()),
                *self._tables,
                "static void net(const void *const *in, void *const *out) {",
                *self._lines,
                "}\n",
                (_HEADERS / "binding.h").read_text(encoding="utf-8"),
            ]
        )

    def _value(self, name: str) -> Value:
        if name not in self._values:
            raise NotCoveredError(f"the value {name!r}, which nothing before it computes")
        return self._values[name]


def padded(count: int, multiple: int) -> int:
    """Return the next multiple."""
    return -(-count // multiple) * multiple


def _literal(value: Any) -> str:
    """Return a number in C, exactly."""
    if not isinstance(value, np.floating):
        return str(int(value))
    if np.isnan(value):
        raise NotCoveredError("a constant that is not a number")
    sign = "-" if value < 0 else ""
    return f"{float(value).hex()}f" if np.isfinite(value) else f"{sign}__builtin_inff()"
