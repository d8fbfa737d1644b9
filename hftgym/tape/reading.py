"""`read_tape`: recognise the format of a file by its content and hand it to its reader."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from hftgym.tape import binance, parquet
from hftgym.tape.lines import read_head
from hftgym.tape.report import TapeError
from hftgym.tape.types import Tape


class Format(NamedTuple):
    """One file format: how to name it, recognise it and read it."""

    name: str
    expected: str  # what a line looks like, for the error message
    recognises: Callable[[bytes], bool]  # the first 64 KiB of the unpacked content -> is it this format
    read: Callable[[Path, str | None], Tape]  # path, symbol -> tape


# A new format is one module with these three names and one line here; the first that recognises the content reads it.
FORMATS: tuple[Format, ...] = (
    Format("Binance WebSocket capture", binance.EXPECTED, binance.recognises, binance.read),
    Format("parquet tape", parquet.EXPECTED, parquet.recognises, parquet.read),
)

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "gzip inside gzip: unpack it once"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ", "an xz archive: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstandard archive: unpack it first"),
    (b"PK\x03\x04", "a zip archive or npz file"),
    (b"\xff\xfe", "UTF-16 text: save it as UTF-8"),
)


def read_tape(path: str | PathLike[str], *, symbol: str | None = None) -> Tape:
    """Read recorded ticks.

    The format is recognised by the content (plain or gzip), never by the name of the file. So far: raw Binance
    WebSocket captures, spot and USD-M, one line per message as `<local time, ns> <json>`. Lines that cannot be read are
    counted with their reason in `tape.report`; nothing is repaired or dropped silently.

    Args:
        path: One recorded file.
        symbol: The market to read, for example "BTCUSDT", in upper or lower case; needed where the file holds several.

    Returns:
        The tape, rows in the order of the file.

    Raises:
        TapeError: The file is missing, empty, truncated, corrupt, in no known format, mostly unreadable, holds several
            symbols and none was chosen, or has no quotes of the symbol.
    """
    if symbol is not None and (not isinstance(symbol, str) or not symbol):
        raise TapeError(f"symbol must be a name such as 'BTCUSDT' or None, got {symbol!r}")
    file = Path(path)
    head = read_head(file)
    for known in FORMATS:
        if known.recognises(head):
            return known.read(file, symbol.upper() if symbol else None)
    expected = "; ".join(f"{known.name}: {known.expected}" for known in FORMATS)
    raise TapeError(f"{file}: not a recording in a known format: {_found(head)}. Expected {expected}")


def _found(head: bytes) -> str:
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            return f"it is {what}"
    line = head.partition(b"\n")[0][:60]
    try:
        return f"line 1 starts with {line.decode('utf-8')!r}"
    except UnicodeDecodeError:
        return f"line 1 starts with the bytes {line!r}"
