"""Blocks of CSV lines as columns: many at once through pyarrow, and where that refuses, line by line with reasons."""

import csv
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from hftgym.tape.builder import TapeBuilder
from hftgym.tape.messages import BadLineError, shown
from hftgym.tape.types import Int64s

_INT = re.compile(r"-?[0-9]{1,19}")
_FLOAT = re.compile(r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|nan|inf|infinity)", re.IGNORECASE)
_BOOLS = {"true": True, "false": False}
_MISSING = ["", "NA", "null", "None"]
_DTYPES = {"int": np.int64, "float": np.float64, "number": np.float64, "bool": np.bool_, "text": np.object_}


Kind = Literal["int", "float", "number", "bool", "text", "skip"]


class Field(NamedTuple):
    """One column of a file; a "number" may be missing, which makes it NaN, and "skip" is not read."""

    name: str
    kind: Kind


class Block:
    """The good lines of a block as columns, and the line of each; bad ones have been told to the builder."""

    def __init__(self, columns: dict[str, np.ndarray], lines: Int64s) -> None:
        self.columns = columns  # each (n,)
        self.lines = lines  # (n,)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.lines)

    def keep(self, good: np.ndarray) -> "Block":
        """Return the rows that are good: bool (n,), or their places."""
        return Block({name: column[good] for name, column in self.columns.items()}, self.lines[good])

    def demand(self, name: str, good: np.ndarray, what: str, builder: TapeBuilder) -> "Block":
        """Return the rows whose column is good, and tell the builder of the bad ones."""
        for i in np.flatnonzero(~good):
            builder.bad(
                int(self.lines[i]), f"field {name!r} must be {what}, got {shown(self[name][i : i + 1].tolist()[0])}"
            )
        return self if good.all() else self.keep(good)

    def positive(self, names: Sequence[str], builder: TapeBuilder) -> "Block":
        """Return the rows whose columns are finite and above 0, and tell the builder of the others."""
        block = self
        for name in names:
            good = np.isfinite(block[name]) & (block[name] > 0)
            block = block.demand(name, good, "finite and above 0", builder)
        return block


def parse(lines: Sequence[bytes], fields: Sequence[Field], *, first: int, builder: TapeBuilder) -> Block:
    """Return the columns of lines that have these fields, separated by commas.

    Args:
        lines: Lines without line feeds.
        fields: What they have.
        first: The number of the first line.
        builder: Is told of the bad ones.
    """
    numbers = np.arange(first, first + len(lines))
    columns = _parse_fast(lines, fields)
    if columns is not None:
        return Block(columns, numbers)
    rows, good = [], []
    for number, line in zip(numbers, lines, strict=True):
        try:
            rows.append(_parse_line(line, fields))
            good.append(number)
        except BadLineError as error:
            builder.bad(int(number), str(error))
    read = [field for field in fields if field.kind != "skip"]
    values = list(zip(*rows, strict=True)) or [()] * len(read)
    columns = {f.name: np.array(v, dtype=_DTYPES[f.kind]) for f, v in zip(read, values, strict=True)}
    return Block(columns, np.array(good, dtype=np.int64))


def _parse_fast(lines: Sequence[bytes], fields: Sequence[Field]) -> dict[str, np.ndarray] | None:
    try:
        import pyarrow as pa
        from pyarrow import csv as pa_csv
    except ImportError as error:
        raise ImportError('CSV recordings need pyarrow: pip install "hftgym[tape]"') from error
    text = b"\n".join(lines)
    # A quote may swallow a line feed, and pyarrow reads hexadecimal numbers.
    if not text or not text.isascii() or any(odd in text for odd in (b'"', b"0x", b"0X")):
        return None
    types = {"int": pa.int64(), "float": pa.float64(), "number": pa.float64(), "bool": pa.bool_(), "text": pa.string()}
    read = [field for field in fields if field.kind != "skip"]
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(text + b"\n"),
            pa_csv.ReadOptions(
                column_names=[field.name for field in fields], use_threads=False, block_size=len(text) + 2
            ),
            pa_csv.ParseOptions(ignore_empty_lines=False),
            pa_csv.ConvertOptions(
                column_types={field.name: types[field.kind] for field in read},
                include_columns=[field.name for field in read],
                null_values=_MISSING,
                true_values=["true", "True", "TRUE"],
                false_values=["false", "False", "FALSE"],
            ),
        )
    except pa.ArrowInvalid:
        return None
    if len(table) != len(lines) or any(table[f.name].null_count for f in read if f.kind != "number"):
        return None
    return {field.name: table[field.name].to_numpy().astype(_DTYPES[field.kind]) for field in read}


def _parse_line(line: bytes, fields: Sequence[Field]) -> list[Any]:
    try:
        text = line.decode().removesuffix("\r")
        cells = next(csv.reader([text], strict=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadLineError(f"no line of comma-separated values: {error}") from None
    if len(cells) != len(fields):
        raise BadLineError(f"{len(fields)} fields are expected, got {len(cells)}")
    return [_value(field, cell) for field, cell in zip(fields, cells, strict=True) if field.kind != "skip"]


def _value(field: Field, cell: str) -> Any:
    text = cell.strip(" \t") if field.kind != "text" else cell
    if field.kind == "text":
        return text
    if field.kind == "int" and _INT.fullmatch(text) and -(2**63) <= int(text) < 2**63:
        return int(text)
    if field.kind == "number" and text in _MISSING:
        return float("nan")
    if field.kind in ("float", "number") and _FLOAT.fullmatch(text):
        return float(text)
    if field.kind == "bool" and text.lower() in _BOOLS:
        return _BOOLS[text.lower()]
    what = {"int": "a whole number", "bool": "true or false"}.get(field.kind, "a number")
    raise BadLineError(f"field {field.name!r} must be {what}, got {shown(cell)}")
