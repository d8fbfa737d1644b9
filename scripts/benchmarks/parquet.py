"""Parquet tapes: how fast they are written and read, and that they need not fit into memory."""

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hftgym.tape import open_tape, read_tape
from scripts.benchmarks.figure import Figure, interleaved_seconds
from scripts.benchmarks.long_tape import (
    BYTES_PER_ROW,
    digest,
    play,
    play_limited,
    write_long_tape,
)

_ROWS = 8_000_000
_ALLOWED = 10**9


def parquet_figures() -> Iterator[Figure]:
    """Rows per CPU second of one core, the file in the page cache."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tape.parquet"
        write_long_tape(path, _ROWS)
        jobs: dict[str, Callable[[], object]] = {
            "read whole": lambda: read_tape(path),
            "read in pieces": lambda: sum(len(quotes) for quotes, _ in open_tape(path).chunks()),
            "write": lambda: write_long_tape(path, _ROWS),
        }
        seconds = interleaved_seconds(jobs, rounds=5)
        note = f"{path.stat().st_size / _ROWS:.1f} bytes per row, checksums verified, CPU seconds"
    for name, bar in (("read whole", 20.0), ("read in pieces", 20.0), ("write", None)):
        yield Figure(
            name=f"parquet tape, {name}", value=_ROWS / seconds[name] / 1e6, unit="M rows/s", bar=bar, note=note
        )


def memory_figures() -> Iterator[Figure]:
    """Backtest a tape five times larger than the memory allowed, and compare with the same tape in memory.

    Needs 1.2 GB of disk, and as much memory as the tape for the comparison.
    """
    rows = math.ceil(5 * _ALLOWED / BYTES_PER_ROW / 1e6) * 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path, short = Path(folder) / "tape.parquet", Path(folder) / "short.parquet"
        write_long_tape(short, 1_000_000)
        for opened in (read_tape, open_tape):  # compiles the kernels, which takes more memory than the backtest
            play(opened(short))
        write_long_tape(path, rows)
        size = path.stat().st_size
        start = time.perf_counter()
        limited = play_limited(path, allowed=_ALLOWED)
        took = time.perf_counter() - start
        equal = limited["digest"] == digest(play(read_tape(path)))
    note = f"{rows:,} rows, {size / 1e9:.2f} GB on disk, {took:.0f} s; data limited to {_ALLOWED / 1e9:g} GB"
    yield Figure(name="tape / memory allowed", value=rows * BYTES_PER_ROW / _ALLOWED, unit="x", bar=5.0, note=note)
    yield Figure(
        name="peak resident memory",
        value=limited["peak"] / 1e9,
        unit="GB",
        bar=_ALLOWED / 1e9,
        lower_is_better=True,
        note="of the process, interpreter and compiled code included",
    )
    yield Figure(name="result equal to that in memory", value=float(equal), unit="", bar=1.0, note="path and fills")
