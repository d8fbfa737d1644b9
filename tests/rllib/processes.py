"""All processes that a test starts, and that theirs start: found by a mark in their environment."""

import os
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

MARK = "HFTGYM_TEST_PROCESSES"


@contextmanager
def marked_processes():
    """Yield an environment that marks all processes started with it, and wait for their end afterwards."""
    mark = uuid.uuid4().hex
    yield os.environ | {MARK: mark}
    deadline = time.monotonic() + 60
    while found := processes(mark):
        assert time.monotonic() < deadline, f"still running: {found}"
        time.sleep(0.1)


def processes(mark):
    """Return the command lines of the processes that have a mark in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has ended meanwhile, or is another user's
            continue
    return found
