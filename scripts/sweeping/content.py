"""What is in a file, as a hash."""

import hashlib
from functools import cache
from pathlib import Path


def content(path: Path) -> str:
    """Return the SHA-256 of a file; of both, one after the other, where LOBSTER's other file lies beside it.

    What was computed once is not computed again, as long as sizes and times stay.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    hashes = [_hash(file, *_state(file)) for file in _beside(path)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _beside(path: Path) -> list[Path]:
    """Return what belongs together: the file, or LOBSTER's messages and order books."""
    names = {path.name.replace("_orderbook", "_message"), path.name.replace("_message", "_orderbook"), path.name}
    return sorted(file for file in map(path.with_name, names) if file.is_file())


def _state(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


@cache
def _hash(path: Path, size: int, mtime_ns: int) -> str:
    del size, mtime_ns  # another size or time is another file
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
