"""The journal of a recording: all its rows so far as raw records in a plain file, which survives a kill.

Its first line is JSON that names the market; then come records of 49 bytes, the columns of `hftgym.tape.columns` in
the processor's own byte order. It only lives while a tape is being recorded.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hftgym.tape.columns import DTYPES, Columns, Parts
from hftgym.tape.report import TapeError
from hftgym.tape.rows import Quotes, Trades

_KEY, _VERSION = "hftgym.tape.journal", 1
_RECORD = np.dtype([(name, dtype) for name, dtype in DTYPES.items()])  # packed
_PIECE = 1 << 18  # records read at once
_SYNC_S = 1.0  # what a loss of power may cost


def journal_path(tape: Path) -> Path:
    """Return where the journal of a tape lies."""
    return tape.with_name(f"{tape.name}.journal")


def market_of(path: Path) -> tuple[str, str]:
    """Return the venue and symbol of a journal.

    Raises:
        TapeError: There is no such file, or it is no journal.
    """
    if not path.is_file():
        raise TapeError(f"{path}: no such file: there is no journal of a recording")
    with path.open("rb") as file:
        first = file.readline(1_000)
    try:
        told = json.loads(first)
        if told[_KEY] == _VERSION:
            return told["venue"], told["symbol"]
    except (ValueError, KeyError, TypeError):
        pass
    raise TapeError(f"{path}: not a journal of a recording, it begins with {first[:60]!r}")


class Journal:
    """Opens the journal at a path or begins it.

    Args:
        path: The file.
        venue: The market recorded.
        symbol: The market recorded.

    Raises:
        TapeError: There is a journal of another market, or a file that is none.
        OSError: The file cannot be written.
    """

    def __init__(self, path: Path, *, venue: str, symbol: str) -> None:
        self.path = path
        head = json.dumps({_KEY: _VERSION, "venue": venue, "symbol": symbol}).encode() + b"\n"
        self._file: BinaryIO = path.open("a+b", buffering=0)
        self._file.seek(0)
        found = self._file.read(len(head))
        if found != head and head.startswith(found):  # new, or killed while this line was written
            self._file.truncate(0)
            self._file.write(head)
        elif found != head:
            self.close()
            raise TapeError(f"{path}: not a journal of {venue} {symbol}, it begins with {found!r}: move it away")
        self._start = len(head)
        self._synced = time.monotonic()

    def append(self, table: Columns) -> None:
        """Add rows; once this returns they survive the process, and after a second the machine."""
        records = np.empty(len(table["kind"]), dtype=_RECORD)
        for name, column in table.items():
            records[name] = column
        data = memoryview(records.tobytes())
        while data:
            data = data[self._file.write(data) :]
        now = time.monotonic()
        if now - self._synced >= _SYNC_S:
            os.fsync(self._file.fileno())
            self._synced = now

    def pieces(self) -> Iterator[tuple[Quotes, Trades]]:
        """Yield the rows that are there; a last record that was cut off by a kill is removed first.

        Raises:
            TapeError: A record is damaged.
        """
        size = self._file.seek(0, os.SEEK_END) - self._start
        self._file.truncate(self._start + size // _RECORD.itemsize * _RECORD.itemsize)
        self._file.seek(self._start)
        done = 0
        while data := self._read(_PIECE * _RECORD.itemsize):
            records = np.frombuffer(data, dtype=_RECORD)
            try:
                yield Parts.of({name: records[name] for name in DTYPES})
            except ValueError as error:
                where = f"between records {done:,} and {done + len(records):,}"
                raise TapeError(f"{self.path}: damaged {where}: {error}") from None
            done += len(records)

    def _read(self, size: int) -> bytes:
        """Read so many bytes, fewer only at the end of the file."""
        found = bytearray()
        while piece := self._file.read(size - len(found)):
            found += piece
        return bytes(found)

    def close(self) -> None:
        """Close the file and keep it."""
        self._file.close()

    def remove(self) -> None:
        """Close and delete the file: the tape is written."""
        self.close()
        self.path.unlink()
