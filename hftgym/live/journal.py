"""The journal of a session: everything it saw, decided, sent and got, in a file that survives a kill at any moment.

Format: one record a line, `crc32 {"record":"fill",...}`; the crc, in hexadecimal, is that of this record and of all
before it. JSON lines, because `tail -f` and `grep` read them in the worst hour of an operator, and msgpack would save
a third of the bytes but no time (a typed struct becomes JSON in half a microsecond). The chained crc also finds lines
that were removed, doubled or swapped. The journal of a recording (`hftgym.tape.journal`) shares the idea, append and
cut what is torn, and nothing else: its records are of one size, carry no checksum, and live until the tape is written.

What is safe when: every record but ticks and decisions has been handed to the system when `append` returns, with all
before it, so that it survives the process (an order is appended before it is sent). Ticks and decisions wait in memory
for the next other record, at most 64 KiB of them. A thread of its own calls fsync every second: a loss of power costs
that much, and the venue is asked about its orders at every start anyway.
"""

import fcntl
import os
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, BinaryIO, NamedTuple

from hftgym.live.events import Event, Quote, Status, Trade

try:
    import msgspec
except ImportError as error:
    raise ImportError('a journal needs msgspec: pip install "hftgym[live]"') from error

KINDS = frozenset(
    {"start", "model", "quote", "trade", "status", "decision", "order", "cancel", "closed", "fill", "holdings", "mark"}
    | {"stop"}
)
EVENTS: Mapping[str, type[Quote | Trade | Status]] = MappingProxyType(
    {"quote": Quote, "trade": Trade, "status": Status}
)
_WAITING = frozenset({"quote", "trade", "decision"})
_MOST_WAITING = 1 << 16  # bytes
_SYNC_S = 1.0
_PREFIX = 9  # bytes: eight digits and a space
_BRACE = ord("}")  # the last byte of a record


class JournalError(OSError):
    """A journal that cannot be used: in use, damaged, or its disk is full. The session must withdraw and stop."""


class Record(NamedTuple):
    """One line of a journal."""

    kind: str
    values: dict[str, Any]


class _Quote(msgspec.Struct, tag="quote", tag_field="record"):
    received_ns: int
    exchange_ns: int
    bid: float
    bid_size: float
    ask: float
    ask_size: float


class _Trade(msgspec.Struct, tag="trade", tag_field="record"):
    received_ns: int
    exchange_ns: int
    price: float
    size: float
    taker_side: int


class SessionJournal:
    """Opens the journal at a path or begins it, and adds records. One thread at a time.

    A last line that a kill has cut off is removed first; it was never acknowledged.

    Args:
        path: The file. A session that is started again appends to the journal of the one before it.

    Raises:
        JournalError: Another session has it open, or it is damaged.
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._file: BinaryIO = self.path.open("a+b", buffering=0)
        try:
            self._lock()
            self._end, self._crc = 0, 0  # of what stands in the file
            for line in _lines(self._file, self.path):
                self._end, self._crc = line.end, line.crc
            self._file.truncate(self._end)
            _sync_folder(self.path.parent)  # a new file's name survives a loss of power too
        except BaseException:
            self._file.close()
            raise
        self._encode = msgspec.json.Encoder(enc_hook=_plain).encode
        self._waiting: list[bytes] = []
        self._waiting_bytes, self._next_crc = 0, self._crc
        self._broken: JournalError | None = None
        self._closing = threading.Event()
        self._syncer = threading.Thread(target=self._sync, name="journal-fsync", daemon=True)
        self._syncer.start()

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it: no session has started here yet."""
        return self._end == 0

    def append(self, kind: str, /, **values: Any) -> None:
        """Add a record.

        Args:
            kind: One of `KINDS`.
            values: What it holds: numbers, texts, lists, dictionaries, arrays. NaN and infinities become null.

        Raises:
            JournalError: It cannot be written; nothing of it is left in the file, and nothing more will be written.
            ValueError: The kind is unknown, or the journal is closed.
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(sorted(KINDS))}, got {kind!r}")
        self._add(self._encode({"record": kind, **values}))
        if kind not in _WAITING:
            self.flush()

    def append_event(self, event: Event) -> None:
        """Add what a feed has told, in a third of the time of `append`. Errors as there."""
        if isinstance(event, Status):
            self.append("status", **event._asdict())
        else:
            self._add(self._encode(_Quote(*event) if isinstance(event, Quote) else _Trade(*event)))

    def flush(self) -> None:
        """Hand all records to the system: they survive the process. Errors as in `append`."""
        self._check()
        if not self._waiting:
            return
        data = memoryview(b"".join(self._waiting))
        try:
            done = 0
            while done < len(data):
                done += self._file.write(data[done:]) or 0
        except OSError as error:
            self._fail(error)
        self._waiting.clear()
        self._end, self._crc, self._waiting_bytes = self._end + len(data), self._next_crc, 0

    def close(self) -> None:
        """Write what waits, fsync, and let others open the journal. Errors as in `append`."""
        if self._file.closed:
            return
        self._closing.set()
        self._syncer.join()
        try:
            if self._broken is None:
                self.flush()
                os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def __enter__(self) -> "SessionJournal":
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self.close()

    def _add(self, payload: bytes) -> None:
        self._check()
        crc = self._next_crc = zlib.crc32(payload, self._next_crc)
        self._waiting.append(b"%08x %b\n" % (crc, payload))
        self._waiting_bytes += len(payload)
        if self._waiting_bytes > _MOST_WAITING:
            self.flush()

    def _check(self) -> None:
        if self._broken is not None:
            raise self._broken
        if self._file.closed:
            raise ValueError(f"{self.path}: the journal is closed")

    def _fail(self, error: OSError) -> None:
        """Leave nothing half-written, and refuse everything from now on."""
        self._broken = self._error(error)
        self._waiting.clear()
        with suppress(OSError):  # else the half line is the torn end that the next start removes
            self._file.truncate(self._end)
        raise self._broken from error

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, however that ends
        except BlockingIOError:
            raise JournalError(f"{self.path}: another session is writing this journal") from None

    def _sync(self) -> None:
        while not self._closing.wait(_SYNC_S):
            try:
                os.fdatasync(self._file.fileno())
            except OSError as error:
                self._broken = self._error(error)
                return

    def _error(self, error: OSError) -> JournalError:
        text = f"{self.path}: the journal cannot be written: {error.strerror}; the session must withdraw and stop"
        return JournalError(text)


class _Line(NamedTuple):
    payload: bytes
    crc: int
    end: int  # bytes up to here are whole


def read_session(path: Path | str) -> Iterator[Record]:
    """Yield the records of a journal, also while a session writes it.

    What a kill has cut off at the end is left out.

    Raises:
        JournalError: It is damaged; the message says where.
        OSError: The file cannot be read.
    """
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    with Path(path).open("rb") as file:
        for line in _lines(file, Path(path)):
            values = decode(line.payload)
            yield Record(values.pop("record"), values)


def events_of(path: Path | str) -> Iterator[Event]:
    """Yield what the feed told, in the order of receipt. Errors as in `read_session`."""
    for kind, values in read_session(path):
        if kind in EVENTS:
            yield EVENTS[kind](**values)


def _lines(file: BinaryIO, path: Path) -> Iterator[_Line]:
    """Yield the whole lines of a journal; a torn one at the end is left out."""
    crc, start, number = 0, 0, 0
    file.seek(0)
    rest = b""
    while block := file.read(1 << 20):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            number += 1
            following = _crc_after(line, crc)
            if following is None:
                raise JournalError(f"{path}: damaged in line {number:,}, at byte {start:,}: its checksum is wrong")
            crc, start = following, start + len(line) + 1
            yield _Line(line[_PREFIX:], crc, start)
    # A torn line is the beginning of one. A whole one before something else than its end is damage.
    whole = (
        at for at, byte in enumerate(rest[:-1], start=1) if byte == _BRACE and _crc_after(rest[:at], crc) is not None
    )
    if (length := next(whole, None)) is not None:
        raise JournalError(f"{path}: damaged in line {number + 1:,}, at byte {start + length:,}: no line ends here")


def _crc_after(line: bytes, crc: int) -> int | None:
    """Return the checksum after a line; None if the line tells another one."""
    following = zlib.crc32(line[_PREFIX:], crc)
    return following if line[:_PREFIX] == b"%08x " % following else None


def _plain(value: Any) -> Any:
    """Return numpy's numbers and arrays as Python's."""
    return value.tolist()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
