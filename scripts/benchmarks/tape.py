"""How fast recorded ticks are read."""

import gzip
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hftgym.tape import read_tape
from scripts.benchmarks.figure import Figure, interleaved_seconds
from scripts.demo_parts import tape_folders

CAPTURE = "binance_usdm_btcusdt_20240808.gz"
GENERATED_LINES = 100_000
LINES_PER_S = 150_000.0


def reading_figures() -> Iterator[Figure]:
    """Yield lines per second of CPU time of a raw Binance capture, unpacking included."""
    with _capture() as (path, note):
        lines = read_tape(path).report.lines
        seconds = interleaved_seconds({"gzip": lambda: _unpack(path), "read": lambda: read_tape(path)})
    share = seconds["gzip"] / seconds["read"]
    note = f"{note}, {lines:,} lines; unpacking alone takes {share:.0%} of the time"
    yield Figure(
        name="raw Binance capture, lines read per s of CPU",
        value=lines / seconds["read"],
        unit="lines/s",
        bar=LINES_PER_S,
        note=note,
    )


@contextmanager
def _capture() -> Iterator[tuple[Path, str]]:
    """Give a recorded capture, or a generated one of the same make-up where none is at hand."""
    for folder in tape_folders():
        if (folder / CAPTURE).is_file():
            yield folder / CAPTURE, "recorded"
            return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CAPTURE
        path.write_bytes(gzip.compress(b"".join(_lines())))
        yield path, "generated"


def _lines() -> Iterator[bytes]:
    """Yield lines with the shares and the lengths of a recorded capture: 70 % quotes, 23 % trades, 7 % depth."""
    rng = np.random.default_rng(0)
    kinds = rng.choice(3, GENERATED_LINES, p=(0.70, 0.23, 0.07)).tolist()
    ticks = (618_000 + np.cumsum(rng.integers(-1, 2, GENERATED_LINES))).tolist()
    sizes = rng.integers(1, 9_999, (GENERATED_LINES, 2)).tolist()
    for i, (kind, tick, (size, other)) in enumerate(zip(kinds, ticks, sizes, strict=True)):
        ms = 1_723_161_255_000 + 4 * i
        bid, ask = f"{tick / 10:.2f}", f"{(tick + 1) / 10:.2f}"
        volumes = f"{size / 1000:.3f}", f"{other / 1000:.3f}"
        if kind == 0:
            name, data = "bookTicker", {"e": "bookTicker", "u": 5_123_107_839_020 + i, "s": "BTCUSDT", "b": bid}
            data |= {"B": volumes[0], "a": ask, "A": volumes[1], "T": ms, "E": ms}
        elif kind == 1:
            name, data = "trade", {"e": "trade", "E": ms, "T": ms, "s": "BTCUSDT", "t": 5_266_583_935 + i, "p": bid}
            data |= {"q": volumes[0], "X": "MARKET", "m": size > other}
        else:
            levels = [[f"{(tick - k) / 10:.2f}", volumes[k % 2]] for k in range(90)]
            name, data = "depth@0ms", {"e": "depthUpdate", "E": ms, "T": ms, "s": "BTCUSDT", "b": levels, "a": levels}
        text = json.dumps({"stream": f"btcusdt@{name}", "data": data}, separators=(",", ":"))
        yield f"{ms}000000 {text}\n".encode()


def _unpack(path: Path) -> None:
    with gzip.open(path) as file:
        while file.read1(1 << 18):
            pass
