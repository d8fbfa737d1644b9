"""How the market is compiled: two decorators, and a disk cache that notices an edit in any file of the kernel."""

import contextlib
import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

# error_model="numpy": a division by zero gives inf instead of an exception, whose path would stop vectorisation.
# fastmath=False: strict IEEE arithmetic, so that batch, single environment and the numpy twin agree to the last bit.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": False}


def formula(function: Callable[..., Any]) -> Any:
    """Compile one scalar formula; it is inlined into the kernel that calls it, where LLVM can vectorise it."""
    return numba.njit(forceinline=True, **_OPTIONS)(function)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile an outermost function, without the GIL, and keep its machine code on disk for the next process."""
    compiled = numba.njit(nogil=True, **_OPTIONS)(function)
    # RuntimeError: nowhere to write (read-only install and no home folder), so every process compiles for itself.
    with contextlib.suppress(RuntimeError):
        # numba offers no public way to choose the stamp of its cache; test_compile.py fails if this one stops working.
        compiled._cache = _KernelCache(function)  # pyright: ignore[reportAttributeAccessIssue]
    return compiled


class _KernelCache(FunctionCache):
    """numba's cache on disk, stamped with the text of every file of the kernel.

    numba's own stamp is the one file that the cached function stands in, so an edited formula in another file, or an
    upgraded package, would go on running as the old machine code.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = IndexDataCacheFile(
            cache_path=self._cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=source_hash(*_kernel_files(Path(function.__code__.co_filename))),
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the machine code on disk, or None to compile it: also where the files are damaged."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # whatever unpickling makes of broken bytes
            warnings.warn(
                f"the compiled kernel in {self._cache_path} is damaged and is made anew: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
            self.flush()
            return None


def _kernel_files(own: Path) -> list[Path]:
    """Return the kernel's file and the ones beside it that it may take formulas from: those named *_kernel.py."""
    return sorted({own, *own.parent.glob("*_kernel.py")})


def source_hash(*own: Path, package: Path = Path(__file__).parents[1]) -> str:
    """Return a hash over all files that a kernel's machine code is made from: the market's, and the `own` ones."""
    digest = hashlib.sha256()
    for path in [*own, package / "observation.py", *sorted((package / "market").glob("*.py"))]:
        text = path.read_bytes()
        digest.update(f"{path.name} {len(text)} ".encode() + text)
    return digest.hexdigest()
