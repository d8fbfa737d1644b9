"""What a builder gathers: rows as growing columns, and findings as a count with its first places."""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hftgym.tape.report import KEPT, Findings
from hftgym.tape.types import Int64s

_DTYPES = {"q": np.int64, "d": np.float64, "b": np.int8}


class Log:
    """A count and its first places."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[tuple[int, str]] = []

    def add(self, line: int, what: str) -> None:
        """Count one; its place is kept while there is room."""
        self.count += 1
        if len(self.first) < KEPT:
            self.first.append((line, what))

    def findings(self) -> Findings:
        """Return what was logged."""
        return Findings(count=self.count, first=tuple(self.first))


class Rows:
    """Rows of one kind as growing columns, and the line of each."""

    def __init__(self, codes: str) -> None:
        self._codes = codes
        self.clear()

    def clear(self) -> None:
        """Forget all rows."""
        self.columns = tuple(array(code) for code in self._codes)
        self.lines = array("q")

    def __len__(self) -> int:
        return len(self.lines)

    def append(self, row: Iterable[Any], line: int) -> None:
        """Add one row."""
        self.lines.append(line)
        for column, value in zip(self.columns, row, strict=True):
            column.append(value)

    def extend(self, columns: Sequence[ArrayLike], lines: ArrayLike) -> None:
        """Add many rows: columns and lines, each (n,)."""
        for column, values in zip((*self.columns, self.lines), (*columns, lines), strict=True):
            column.frombytes(np.ascontiguousarray(values, dtype=_DTYPES[column.typecode]).view(np.uint8).data)

    def take(self, names: Sequence[str]) -> tuple[dict[str, np.ndarray], Int64s]:
        """Return the columns by name, not copied, and the lines, and start anew."""
        arrays = [np.frombuffer(c, dtype=_DTYPES[c.typecode]) for c in self.columns]
        lines = np.frombuffer(self.lines, dtype=np.int64)
        for values in arrays:
            values.flags.writeable = False
        self.clear()
        return dict(zip(names, arrays, strict=True)), lines
