"""hftbacktest's event files (npz, key "data"): depth events keep a book, trades are trades, both with two times.

The events that count are those of the local side, in the order of the file; the field names and the meaning of flags
are those of hftbacktest's documentation of its data. Changes of the book with one time of receipt are one message: a
quote is a row if the touch differs after all of them. The array is read block by block, compressed or not, and never
held as a whole.
"""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from hftgym.tape.book import Book, Touch
from hftgym.tape.builder import TapeBuilder
from hftgym.tape.lines import zip_names
from hftgym.tape.messages import shown
from hftgym.tape.recording import Choice
from hftgym.tape.report import TapeError
from hftgym.tape.rows import FARTHEST_NS

EXPECTED = 'an array "data" of hftbacktest\'s event_dtype'

DEPTH, TRADE, DEPTH_CLEAR, DEPTH_SNAPSHOT, DEPTH_BBO = 1, 2, 3, 4, 5
LOCAL, BUY, SELL = 1 << 30, 1 << 29, 1 << 28
_KIND = 0xFF
_L3 = {10: "order added", 11: "order cancelled", 12: "order modified", 13: "order filled"}
_COLUMNS = {"ev": "u8", "exch_ts": "i8", "local_ts": "i8", "px": "f8", "qty": "f8"}
_EVENTS = 1 << 16  # per block: 4 MiB
_MEMBER = "data.npy"


def recognises(head: bytes, path: Path) -> bool:
    """Tell whether the file is a zip archive that holds the array."""
    return head.startswith(b"PK") and _MEMBER in zip_names(path)


def feed(path: Path, builder: TapeBuilder, choice: Choice) -> Iterator[None]:
    """Read a file into the builder, see `hftgym.tape.recording.Feed`. What the report calls a line is an event."""
    if choice.symbol is None:
        raise TapeError(f"{path}: hftbacktest's files do not say which market they hold: pass symbol=")
    events = _Events(builder, choice.symbol)
    try:
        with zipfile.ZipFile(path) as archive, archive.open(_MEMBER) as file:
            dtype, count = _header(file, path)
            while count:
                size = min(count, _EVENTS)
                block = np.frombuffer(_exactly(file, size * dtype.itemsize, path), dtype=dtype)
                events.add(block)
                builder.advance(size)
                count -= size
                yield
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, UnicodeDecodeError) as error:
        raise TapeError(f"{path}: the npz file is corrupt ({error}): copy it again") from error
    events.flush()


class _Events:
    """Keeps the book, and hands over the touch when a message is complete."""

    def __init__(self, builder: TapeBuilder, symbol: str) -> None:
        self._builder, self._symbol = builder, symbol
        self._book = Book()
        self._touch: Touch | None = None
        self._open: tuple[int, int, int] | None = None  # exchange_ns, local_ns and place of the last depth event

    def add(self, events: np.ndarray) -> None:
        """Take the next events."""
        places = np.arange(len(events)) + self._builder.lines + 1
        local = (events["ev"] & np.uint64(LOCAL)) != 0
        self._builder.ignore("events of the exchange's side alone", int((~local).sum()))
        self._builder.clocks(events["local_ts"][local].astype(np.int64), places[local])
        columns = [events[name][local].tolist() for name in _COLUMNS]
        for place, flags, exchange_ns, local_ns, price, size in zip(places[local].tolist(), *columns, strict=True):
            if self._open and local_ns != self._open[1]:
                self.flush()
            self._event(place, flags, exchange_ns, local_ns, price, size)

    def flush(self) -> None:
        """End a message: its touch is a quote if it differs from the one before."""
        if self._open is None:
            return
        exchange_ns, local_ns, place = self._open
        self._open = None
        touch = self._book.touch()
        if touch is None:
            self._builder.ignore("depth that leaves a side of the book empty")
        elif touch == self._touch:
            self._builder.ignore("depth beyond the touch")
        else:
            self._touch = touch
            self._builder.quote((exchange_ns, local_ns, *touch), line=place, venue="", symbol=self._symbol)

    def _event(self, place: int, flags: int, exchange_ns: int, local_ns: int, price: float, size: float) -> None:
        kind, side = flags & _KIND, 1 if flags & BUY else -1 if flags & SELL else 0
        if kind in _L3 or kind not in (DEPTH, TRADE, DEPTH_CLEAR, DEPTH_SNAPSHOT, DEPTH_BBO):
            self._builder.ignore(_L3.get(kind, f"event of kind {kind}"))
        elif (reason := _fault(kind, side, price, size)) or not 0 < local_ns <= FARTHEST_NS:
            self._builder.bad(place, reason or f"field 'local_ts' must be ns since 1970, before 2116, got {local_ns}")
        elif kind == TRADE:
            row = (exchange_ns, local_ns, price, size, side)
            self._builder.trade(row, line=place, venue="", symbol=self._symbol)
        else:
            if self._open:
                self._builder.ignore("depth within a message")
            self._change(kind, side, price, size)
            self._open = (exchange_ns, local_ns, place)

    def _change(self, kind: int, side: int, price: float, size: float) -> None:
        if kind == DEPTH_CLEAR:
            for one in (side,) if side else (1, -1):  # up to a price, or all of it where none is named
                if side and 0 < price < float("inf"):
                    self._book.drop(one, price)
                else:
                    self._book.replace(one, ())
        elif kind == DEPTH_BBO:
            self._book.drop(side, price, itself=False)
            self._book.set(side, price, size)
        else:
            self._book.set(side, price, size)


def _fault(kind: int, side: int, price: float, size: float) -> str:
    """Return why an event cannot be read, "" if it can."""
    if kind == DEPTH_CLEAR:
        return ""
    if not side:
        return "field 'ev' must name a side, buy or sell"
    if not 0 < price < float("inf"):
        return f"field 'px' must be finite and above 0, got {shown(price)}"
    if not (0 < size < float("inf") or (size == 0 and kind != TRADE)):
        return f"field 'qty' must be finite and {'above 0' if kind == TRADE else 'not negative'}, got {shown(size)}"
    return ""


def _header(file: IO[bytes], path: Path) -> tuple[np.dtype, int]:
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except ValueError as error:
        raise TapeError(f"{path}: {_MEMBER} is no numpy array ({error})") from error
    missing = [name for name, kind in _COLUMNS.items() if not (dtype.names and name in dtype.names)]
    if missing or len(shape) != 1 or any(dtype[name] != np.dtype(kind) for name, kind in _COLUMNS.items()):
        raise TapeError(f"{path}: {_MEMBER} must be events with the fields {_COLUMNS}, got {dtype} of shape {shape}")
    return dtype, shape[0]


def _exactly(file: IO[bytes], size: int, path: Path) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise TapeError(f"{path}: {_MEMBER} breaks off, it is truncated; copy it again")
    return data
