"""Files as bytes and lines: plain, gzip or zip by content, never by name, in bounded memory."""

import gzip
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Protocol, cast

from hftgym.tape.report import TapeError

MAX_LINE_BYTES = 1 << 22  # a full-depth snapshot has about 0.3 MB
_CHUNK_BYTES = 1 << 18
_GZIP_MAGIC = b"\x1f\x8b"
_ZIP_MAGIC = b"PK\x03\x04"
_EMPTY_ZIP_MAGIC = b"PK\x05\x06"


class _Content(Protocol):
    """What the plain, the gzip and the zip stream have in common."""

    def read1(self, size: int = -1, /) -> bytes: ...


def read_head(path: Path, size: int = 1 << 16) -> bytes:
    """Return the first bytes of the content, unpacked if it is gzip or a zip of one file that is no `.npy`.

    Raises:
        TapeError: The file is missing, no regular file, empty, unreadable, or breaks off within these bytes.
    """
    head = b""
    with closing(read_bytes(path)) as chunks:
        for chunk in chunks:
            head += chunk
            if len(head) >= size:
                break
    if not head:
        raise TapeError(f"{path}: the file is empty; was the recorder stopped before the first message?")
    return head[:size]


def read_blocks(path: Path) -> Generator[list[bytes], None, None]:
    """Yield the lines in lists of some hundreds, without line feeds, the last one also where its line feed is missing.

    Raises:
        TapeError: As `read_head`, where the stream breaks off or is corrupt further on, or a line is longer than 4 MiB.
    """
    tail = b""
    number = 0
    with closing(read_bytes(path)) as chunks:
        for chunk in chunks:
            *lines, tail = (tail + chunk).split(b"\n")
            number += len(lines)
            if lines:
                yield lines
            if len(tail) > MAX_LINE_BYTES:
                raise TapeError(
                    f"{path}: line {number + 1} is longer than {MAX_LINE_BYTES >> 20} MiB; a capture has one message "
                    f"per line: record again, or cut the file after line {number}"
                )
    if tail:
        yield [tail]


def content_name(path: Path) -> str:
    """Return the name of what is inside: of the one file in a zip, else the file's own without ".gz"."""
    names = zip_names(path) if _is_zip(path) else []
    return names[0].rpartition("/")[2] if names else path.name.removesuffix(".gz")


def zip_names(path: Path) -> list[str]:
    """Return the files in a zip archive, folders left out; none if it is no archive or a broken one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _files(archive)
    except (zipfile.BadZipFile, OSError):
        return []


def read_bytes(path: Path) -> Generator[bytes, None, None]:
    """Yield the unpacked content in pieces, turning everything that can go wrong into a `TapeError`."""
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
    except (gzip.BadGzipFile, zlib.error, zipfile.BadZipFile, UnicodeDecodeError) as error:  # a checksum comes last
        kind = "zip archive" if _is_zip(path) else "gzip stream"
        raise TapeError(
            f"{path}: the {kind} is corrupt, noticed after line {whole_lines} ({error}); the lines before may be "
            "wrong too: copy or download it again"
        ) from error
    except (RuntimeError, NotImplementedError) as error:  # a password, or a compression that Python does not know
        raise TapeError(f"{path}: the zip archive cannot be unpacked ({error}): unpack it first") from error
    except OSError as error:
        raise TapeError(f"{path}: cannot be read ({error.strerror or error})") from error


@contextmanager
def _open(path: Path) -> Iterator[_Content]:
    if not path.exists():
        raise TapeError(f"{path}: no such file (looked from {Path.cwd()})")
    if not path.is_file():
        what = "a directory" if path.is_dir() else "no regular file"
        raise TapeError(f"{path}: is {what}; pass the path of one recorded file")
    with path.open("rb") as file:
        magic = file.peek(4)[:4]
        if magic[:2] == _GZIP_MAGIC:
            with gzip.GzipFile(fileobj=file) as content:
                yield content
        elif magic in (_ZIP_MAGIC, _EMPTY_ZIP_MAGIC):
            with _unzipped(path, file) as content:
                yield content
        else:
            yield file


@contextmanager
def _unzipped(path: Path, file: BufferedReader) -> Iterator[_Content]:
    """Open the only file of an archive; an archive of numpy arrays (npz) stays as it is."""
    with zipfile.ZipFile(file) as archive:
        names = _files(archive)
        if names and all(name.endswith(".npy") for name in names):
            file.seek(0)
            yield file
        elif len(names) != 1:
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            raise TapeError(f"{path}: a zip archive must hold one recorded file, got {len(names)}: {shown or 'none'}")
        else:
            with archive.open(names[0]) as content:
                yield cast("_Content", content)  # a ZipExtFile, which has read1


def _files(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if not name.endswith("/")]


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (_ZIP_MAGIC, _EMPTY_ZIP_MAGIC)
