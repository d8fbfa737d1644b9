"""How much memory a piece of code needs, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_PEAK = '\nprint(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])'

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from Linux's /proc")


def peak_kib(code, *words):
    """The most memory that was resident, KiB; `words` are in `sys.argv`.

    Not `ru_maxrss`: a new process begins with that of the one that started it, here pytest's.
    """
    done = subprocess.run(
        [sys.executable, "-c", code + _PEAK, *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[-1])
