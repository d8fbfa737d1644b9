"""A tape of any length on disk, and a backtest of it in a process whose memory is limited."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hftgym.backtest import Backtest, backtest
from hftgym.params import EnvParams
from hftgym.policies import FixedSpreadPolicy
from hftgym.tape import Quotes, TapeWriter, Trades

ROOT = Path(__file__).parents[2]
BYTES_PER_ROW = 49  # in memory: two times, four numbers and a kind
_PIECE = 1_000_000  # rows
_PIECE_NS = 4_000 * 10**9
_TICK_S = 40.0

_PROGRAM = """
import json, resource, sys
path, allowed = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
from hftgym.tape import open_tape
from scripts.benchmarks.long_tape import digest, play
found = digest(play(open_tape(path)))
# Not ru_maxrss: a new process begins with that of the one that started it.
peak = 1024 * int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
print(json.dumps({"digest": found, "peak": peak}))
"""


def write_long_tape(path: Path, rows: int) -> None:
    """Write a tape of so many rows, in whole millions: one piece of a random walk again and again, at later times."""
    with TapeWriter(path, venue="simulated", symbol="LONG") as writer:
        for quotes, trades in pieces(rows):
            writer.write(quotes, trades)


def pieces(rows: int, *, seed: int = 0) -> Iterator[tuple[Quotes, Trades]]:
    """Yield pieces of a million rows, three quarters of them quotes, on a price grid of 0.1."""
    rng = np.random.default_rng(seed)
    n, m = _PIECE * 3 // 4, _PIECE // 4
    quoted, traded = (np.sort(rng.integers(0, _PIECE_NS, count)) for count in (n, m))
    bid = 618_000 + np.cumsum(np.where(rng.random(n) < 0.1, rng.integers(-3, 4, n), 0))
    side = rng.choice(np.array([-1, 1], dtype=np.int8), m)
    price = (bid[np.maximum(np.searchsorted(quoted, traded) - 1, 0)] + (side > 0)) / 10
    size, bid_size, ask_size = (
        np.ceil(rng.exponential(mean, k)) / 1000 for mean, k in ((500, m), (2_000, n), (2_000, n))
    )
    book = {"bid": bid / 10, "ask": (bid + 1) / 10, "bid_size": bid_size, "ask_size": ask_size}
    flow = {"price": price, "size": size, "taker_side": side}
    for start_ns in range(10**18, 10**18 + rows // _PIECE * _PIECE_NS, _PIECE_NS):
        yield (
            Quotes(local_ns=quoted + start_ns, exchange_ns=quoted + start_ns, **book),
            Trades(local_ns=traded + start_ns, exchange_ns=traded + start_ns, **flow),
        )


def play(tape: Any) -> Backtest:
    """Play a quote close to the mid in ticks of 40 s over a whole tape, a `Tape` or a `TapeFile`."""
    params = EnvParams(initial_price=61_800.0, initial_cash=1e7, tick_s=_TICK_S, horizon=1_000_000)
    return backtest(FixedSpreadPolicy(offset=1.0), tape, params)


def digest(result: Backtest) -> list[str]:
    """Return what tells results apart to the last bit: the path's end, sums of it and of the fills."""
    numbers = (result.equity[-1], result.equity.sum(), result.inventory.sum(), result.reward.sum())
    fills = result.fills
    return [float(x).hex() for x in (*numbers, len(fills), fills.price.sum(), fills.size.sum(), fills.waited_s.sum())]


def play_limited(path: Path, *, allowed: int) -> dict[str, Any]:
    """Play a tape on disk in a process of its own that may hold so many bytes of data.

    Returns:
        `digest` of the result, and `peak`, the largest resident size of the process in bytes.

    Raises:
        MemoryError: The process failed; says what it printed.
    """
    words = [sys.executable, "-c", _PROGRAM, str(path), str(allowed)]
    # Threads for matrices, of which there are none here, would reserve memory.
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode != 0:
        raise MemoryError(f"exit code {done.returncode} with {allowed:,} bytes allowed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)
