"""From C to a library that is loaded: which compiler, and a cache on disk that several processes may use at once.

A library's file name holds the hash of what it was made from and the hash of its own bytes: a damaged file is seen
before it is loaded, and is made anew.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

_FLAGS = ("-std=gnu11", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")
_FLAGS += ("-fvisibility=hidden", "-w")
# Python's own functions are found when the library is loaded.
_DARWIN = ("-undefined", "dynamic_lookup")
_PATIENCE_S = 120


class BuildError(RuntimeError):
    """No library could be made; the message says why and what to do."""


def load_library(data: bytes, source: Callable[[], str]) -> ctypes.CDLL:
    """Return the library of a policy, from the cache or compiled now.

    Args:
        data: The policy's file.
        source: Returns its C program; only called where the cache does not have it.

    Raises:
        BuildError: There is no compiler, or it failed, or its result cannot be loaded.
    """
    command, identity = _compiler()
    parts = (
        data,
        *(path.read_bytes() for path in _sources()),
        *(text.encode() for text in (*command, identity, _cpu())),
    )
    key = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:32]
    folder = _cache_folder()
    if folder is None:
        try:
            with tempfile.TemporaryDirectory(prefix="hftgym-") as private:
                return _loaded(_stored(Path(private), key, _compiled(command, source())))
        except OSError as error:
            raise BuildError(f"there is nowhere to write a library: {error}") from error
    path = _found(folder, key)
    return _loaded(path or _stored(folder, key, _compiled(command, source())))


def _compiler() -> tuple[list[str], str]:
    """Return the command of the C compiler, flags included, and what it says of itself."""
    named = os.environ.get("CC")
    try:
        words_of = [shlex.split(named)] if named else [["cc"], ["gcc"], ["clang"]]
    except ValueError as error:
        raise BuildError(f"CC={named!r} is no command: {error}") from error
    for words in words_of:
        if words and shutil.which(words[0]):
            done = _run([*words, "--version"])
            return [*words, *_FLAGS, *(_DARWIN if sys.platform == "darwin" else ())], done.stdout.decode(
                errors="replace"
            )
    what = f"the C compiler CC={named!r} is not there" if named else "there is no C compiler"
    raise BuildError(f"{what}: install gcc or clang, or set CC")


def _compiled(command: list[str], source: str) -> bytes:
    """Return the bytes of the library that the compiler makes of a C program."""
    try:
        with tempfile.TemporaryDirectory(prefix="hftgym-") as folder:
            out = Path(folder) / "policy.so"
            _run([*command, "-x", "c", "-o", str(out), "-"], source.encode())
            return out.read_bytes()
    except OSError as error:  # nowhere to write, or a command that writes nothing
        raise BuildError(f"{command[0]} made no library: {error}") from error


def _run(command: list[str], text: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, input=text, capture_output=True, check=True, timeout=_PATIENCE_S)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        raise BuildError(f"{command[0]} failed: {lines[0] if lines else error}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{command[0]} failed: {error}") from error


def _cache_folder() -> Path | None:
    """Return the folder of this user's libraries, or None where nothing can be written."""
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    folder = Path(base) / "hftgym" / "compiled"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def _found(folder: Path, key: str) -> Path | None:
    """Return the cached library whose bytes are those that were written, or None; damaged ones are deleted."""
    for path in folder.glob(f"{key}-*.so"):
        try:
            if path.stem == f"{key}-{_digest(path.read_bytes())}":
                return path
            path.unlink(missing_ok=True)
        except OSError:
            continue
    return None


def _stored(folder: Path, key: str, library: bytes) -> Path:
    """Write a library whole or not at all, and return its path."""
    path = folder / f"{key}-{_digest(library)}.so"
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_bytes(library)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise BuildError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _loaded(path: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise BuildError(f"the compiled library cannot be loaded: {error}") from error


def _sources() -> list[Path]:
    """Return the files that decide what is generated, and how."""
    return sorted(path for path in Path(__file__).parent.iterdir() if path.suffix in (".py", ".h"))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _cpu() -> str:
    """Return what tells this processor from one that cannot run the same machine code."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return f"{platform.machine()} {flags}"
