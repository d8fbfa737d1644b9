"""Files as bytes and lines: plain or gzip by content, never by name, in bounded memory."""

import gzip
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from io import BufferedReader
from pathlib import Path

from hftgym.tape.report import TapeError

MAX_LINE_BYTES = 1 << 22  # a full-depth snapshot has about 0.3 MB
_CHUNK_BYTES = 1 << 18
_GZIP_MAGIC = b"\x1f\x8b"


def read_head(path: Path, size: int = 1 << 16) -> bytes:
    """Return the first bytes of the content, unpacked if it is gzip.

    Raises:
        TapeError: The file is missing, no regular file, empty, unreadable, or breaks off within these bytes.
    """
    head = b""
    with closing(_chunks(path)) as chunks:
        for chunk in chunks:
            head += chunk
            if len(head) >= size:
                break
    if not head:
        raise TapeError(f"{path}: the file is empty; was the recorder stopped before the first message?")
    return head[:size]


def read_lines(path: Path) -> Generator[bytes, None, None]:
    """Yield every line without its line feed, the last one also where the line feed is missing.

    Raises:
        TapeError: As `read_head`, where the stream breaks off or is corrupt further on, or a line is longer than 4 MiB.
    """
    tail = b""
    number = 0
    with closing(_chunks(path)) as chunks:
        for chunk in chunks:
            *lines, tail = (tail + chunk).split(b"\n")
            number += len(lines)
            yield from lines
            if len(tail) > MAX_LINE_BYTES:
                raise TapeError(
                    f"{path}: line {number + 1} is longer than {MAX_LINE_BYTES >> 20} MiB; a capture has one message "
                    f"per line: record again, or cut the file after line {number}"
                )
    if tail:
        yield tail


def _chunks(path: Path) -> Generator[bytes, None, None]:
    """Yield the unpacked content in pieces, turning everything that can go wrong into a TapeError."""
    whole_lines = 0
    try:
        with _open(path) as content:
            while chunk := content.read1(_CHUNK_BYTES):
                whole_lines += chunk.count(b"\n")
                yield chunk
    except EOFError as error:
        keep = f", or keep what is whole: gzip -dc FILE | head -n {whole_lines}" if whole_lines else ""
        raise TapeError(
            f"{path}: the gzip stream breaks off after line {whole_lines}, it is truncated; "
            f"copy or download it again{keep}"
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:  # a checksum comes last: what was read before may be wrong
        raise TapeError(
            f"{path}: the gzip stream is corrupt, noticed after line {whole_lines} ({error}); the lines before may be "
            "wrong too: copy or download it again"
        ) from error
    except OSError as error:
        raise TapeError(f"{path}: cannot be read ({error.strerror or error})") from error


@contextmanager
def _open(path: Path) -> Iterator[BufferedReader | gzip.GzipFile]:
    if not path.exists():
        raise TapeError(f"{path}: no such file (looked from {Path.cwd()})")
    if not path.is_file():
        what = "a directory" if path.is_dir() else "no regular file"
        raise TapeError(f"{path}: is {what}; pass the path of one recorded file")
    with path.open("rb") as file:
        if file.peek(2)[:2] == _GZIP_MAGIC:
            with gzip.GzipFile(fileobj=file) as content:
                yield content
        else:
            yield file
