"""`read_tape`: recognise the format of a file by its content and hand it to its reader."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from hftgym.tape import binance, binance_dump, coinbase, events_npz, lobster, parquet, table
from hftgym.tape.builder import Summary
from hftgym.tape.joining import JoinedRecordings, concatenate
from hftgym.tape.lines import read_head
from hftgym.tape.parquet import TapeFile
from hftgym.tape.recording import Choice, FileRecording, Piece, Recording, TapeRecording
from hftgym.tape.report import TapeError, TapeReport
from hftgym.tape.rows import check_rows
from hftgym.tape.types import Quotes, Tape, Trades

Source = str | PathLike[str] | Sequence[str | PathLike[str]]


class Format(NamedTuple):
    """One file format: how to name it, recognise it and read it."""

    name: str
    expected: str  # what a line looks like, for the error message
    recognises: Callable[[bytes, Path], bool]  # the first 64 KiB of the unpacked content, the file -> is it this format
    open: Callable[[Path, Choice], Recording]


def _format(name: str, module: ModuleType) -> Format:
    """Return the format of a module with `EXPECTED`, `recognises` and `feed`."""
    read = partial(FileRecording, feed=module.feed, expected=module.EXPECTED)
    return Format(name, module.EXPECTED, module.recognises, read)


# A new format is one module with these three names and one line here; the first that recognises the content reads it.
FORMATS: tuple[Format, ...] = (
    Format("parquet tape", parquet.EXPECTED, parquet.recognises, TapeRecording),
    _format("Binance WebSocket capture", binance),
    _format("Coinbase Exchange WebSocket capture", coinbase),
    _format("Binance public data (CSV)", binance_dump),
    _format("hftbacktest events (npz)", events_npz),
    _format("LOBSTER messages and order book", lobster),
    _format("table with named columns (CSV, parquet)", table),
)

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "gzip inside gzip: unpack it once"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ", "an xz archive: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstandard archive: unpack it first"),
    (b"PK\x03\x04", "a zip archive inside a zip archive, or an npz file of something else"),
    (b"\xff\xfe", "UTF-16 text: save it as UTF-8"),
)


def read_tape(source: Source, *, symbol: str | None = None, columns: Mapping[str, str] | None = None) -> Tape:
    """Read recorded ticks.

    The format is recognised by the content (plain, gzip, or zip of one file), never by the name of the file. It may be

    - a raw Binance WebSocket capture, spot or USD-M: one line per message as `<local time, ns> <json>`;
    - a raw Coinbase Exchange capture: `<local time, s>: <json>`, with or without `<url> <- ` in front; the book is kept
      from `snapshot` and `l2update`;
    - Binance's public data (CSV): trades, aggTrades, bookTicker; quotes and trades are separate files there: pass both;
    - a LOBSTER message or orderbook file, beside which the other one lies;
    - an npz of hftbacktest's events;
    - a parquet tape, as `write_tape` makes it;
    - a parquet or CSV table with named columns: time, bid, ask, bid_size, ask_size and / or time, price, size, side.

    Lines that cannot be read are counted with their reason in `tape.report`; nothing is repaired or dropped silently.
    Where a file has no times of receipt, `local_ns` is the exchange's time, and a note of the report says so.

    Args:
        source: One recorded file, or several of the same market, which are merged by their time of receipt.
        symbol: The market to read, for example "BTCUSDT", in upper or lower case; needed where a file holds several or
            does not say which one it is.
        columns: For a table whose columns have other names: meaning -> name, such as {"time": "ts", "bid": "bp"}.

    Returns:
        The tape, rows in the order of the file.

    Raises:
        TapeError: A file is missing, empty, truncated, corrupt, in no known format, mostly unreadable, holds several
            symbols and none was chosen, or has no quotes of the symbol.
        ImportError: A package that the format needs is missing; the message says how to install it.
    """
    if (file := _tape_file(source)) is not None and not columns:
        return parquet.read(file, _choice(symbol, columns).symbol)
    quotes, trades, summary = _gather(read_chunks(source, symbol=symbol, columns=columns))
    return Tape(
        venue=summary.venue or "unknown", symbol=summary.symbol, quotes=quotes, trades=trades, report=summary.report
    )


def open_or_read(source: Source, *, symbol: str | None = None) -> Tape | TapeFile:
    """Return a parquet tape as one that stays on disk, and any other recording in memory; as `read_tape`."""
    if (file := _tape_file(source)) is None:
        return read_tape(source, symbol=symbol)
    return parquet.opened(file, _choice(symbol, None).symbol)


def read_trades(source: Source, *, symbol: str | None = None, columns: Mapping[str, str] | None = None) -> Trades:
    """Read the trades alone, also from a file that has no quotes; arguments and errors as `read_tape`'s."""
    choice = _choice(symbol, columns, needs_quotes=False)
    return _gather(Chunks(_recording(source, choice)))[1]


@dataclass(frozen=True, slots=True)
class Chunks:
    """A recording in pieces of quotes and trades, to be iterated once; at the end it knows what it was.

    The pieces follow the order of the file: what a later piece holds was received later, and one part of a piece may be
    empty. What a file does wrong may show at its end only: take no piece for good before the iteration has ended.

    Attributes:
        venue: Where, such as "binance-usdm"; after the last piece.
        symbol: What; after the last piece.
        report: What the reader found; after the last piece.
    """

    recording: Recording

    def __iter__(self) -> Iterator[Piece]:
        return iter(self.recording)

    @property
    def summary(self) -> Summary:
        """Venue, symbol and report; before the last piece a `RuntimeError`."""
        return self.recording.summary

    @property
    def venue(self) -> str:
        """See the class."""
        return self.summary.venue or "unknown"

    @property
    def symbol(self) -> str:
        """See the class."""
        return self.summary.symbol

    @property
    def report(self) -> TapeReport:
        """See the class."""
        return self.summary.report


def read_chunks(
    source: Source, *, symbol: str | None = None, columns: Mapping[str, str] | None = None, rows: int = 1_000_000
) -> Chunks:
    """Read recorded ticks piece by piece, in memory that does not grow with the file; `read_tape` is all of it.

    Args:
        source: As for `read_tape`.
        symbol: As for `read_tape`.
        columns: As for `read_tape`.
        rows: About how many rows a piece has: they are handed over once there are as many.

    Returns:
        An iterable of `(Quotes, Trades)`, which knows venue, symbol and report when it has been read to its end.

    Raises:
        TapeError: As `read_tape`; what concerns the whole file when the iteration ends.
        ValueError: `rows` is below 1.
    """
    check_rows(rows)
    return Chunks(_recording(source, _choice(symbol, columns, rows=rows)))


def _choice(
    symbol: str | None, columns: Mapping[str, str] | None, *, rows: int = 1_000_000, needs_quotes: bool = True
) -> Choice:
    if symbol is not None and (not isinstance(symbol, str) or not symbol):
        raise TapeError(f"symbol must be a name such as 'BTCUSDT' or None, got {symbol!r}")
    return Choice(symbol=symbol.upper() if symbol else None, columns=columns, rows=rows, needs_quotes=needs_quotes)


def _recording(source: Source, choice: Choice) -> Recording:
    if isinstance(source, str | PathLike):
        return _file_recording(Path(source), choice)
    paths = list(dict.fromkeys(lobster.message_path(Path(path)) for path in source))  # one recording is two files there
    if not paths:
        raise TapeError("source must be a file or a list of files, got an empty list")
    parts = [_file_recording(path, replace(choice, needs_quotes=False)) for path in paths]
    return JoinedRecordings(parts, choice)


def _file_recording(path: Path, choice: Choice) -> Recording:
    head = read_head(path)
    if choice.columns:  # only tables have columns to be named
        return _format("table", table).open(path, choice)
    for known in FORMATS:
        if known.recognises(head, path):
            return known.open(path, choice)
    expected = "; ".join(f"{known.name}: {known.expected}" for known in FORMATS)
    raise TapeError(f"{path}: not a recording in a known format: {_found(head)}. Expected {expected}")


def _gather(chunks: Chunks) -> tuple[Quotes, Trades, Summary]:
    quotes, trades = concatenate(list(chunks))
    return quotes, trades, chunks.summary


def _tape_file(source: Source) -> Path | None:
    """Return the path if the source is one parquet tape."""
    path = Path(source) if isinstance(source, str | PathLike) else None
    return path if path is not None and parquet.recognises(read_head(path), path) else None


def _found(head: bytes) -> str:
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            return f"it is {what}"
    line = head.partition(b"\n")[0][:60]
    try:
        return f"line 1 starts with {line.decode('utf-8')!r}"
    except UnicodeDecodeError:
        return f"line 1 starts with the bytes {line!r}"
