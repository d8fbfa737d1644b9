"""A tape five times larger than the memory allowed is backtested to the same result as in memory."""

import sys

import pytest

from hftgym.tape import open_tape, read_tape
from scripts.benchmarks.long_tape import BYTES_PER_ROW, digest, play, play_limited, write_long_tape

# What the interpreter, the compiled code and some pieces of a tape take, with a margin.
ALLOWED = 500_000_000


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts all private memory against RLIMIT_DATA")
def test_a_tape_five_times_larger_than_the_memory_allowed_backtests_to_the_same_result(tmp_path):
    path, small = tmp_path / "long.parquet", tmp_path / "short.parquet"
    rows = 52_000_000
    assert rows * BYTES_PER_ROW > 5 * ALLOWED
    write_long_tape(small, 1_000_000)
    for opened in (read_tape, open_tape):  # compiles the kernels of both: that takes more memory than the backtest
        play(opened(small))
    write_long_tape(path, rows)
    limited = play_limited(path, allowed=ALLOWED)
    assert limited["peak"] < ALLOWED
    assert limited["digest"] == digest(play(read_tape(path)))
