"""All processes that a test starts, and that theirs start: found by a mark in their environment."""

import os
import socket
import struct
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

MARK = "HFTGYM_TEST_PROCESSES"
_LISTENING = "0A"


@contextmanager
def marked_processes():
    """Yield an environment that marks all processes started with it, and wait for their end afterwards."""
    environment = os.environ | {MARK: uuid.uuid4().hex}
    yield environment
    # Ray's agents outlive a killed cluster until they have tried for a minute to tell it.
    deadline = time.monotonic() + 180
    while found := [content(folder / "cmdline") for folder in folders(environment)]:
        assert time.monotonic() < deadline, f"still running: {found}"
        time.sleep(0.1)


def folders(environment):
    """Return the folders in /proc of the processes that have a mark."""
    mark = f"{MARK}={environment[MARK]}".encode()
    return [
        folder
        for folder in Path("/proc").iterdir()
        if folder.name.isdigit() and mark in content(folder / "environ").split(b"\0")
    ]


def content(path):
    try:
        return path.read_bytes()
    except OSError:  # the process has ended meanwhile, or is another user's
        return b""


def addresses(environment):
    """Return the addresses that the marked processes listen on."""
    sockets = {target for folder in folders(environment) for target in links(folder / "fd")}
    return {
        address(row[1].split(":")[0])
        for table in ("tcp", "tcp6")
        for row in map(str.split, Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if row[3] == _LISTENING and f"socket:[{row[9]}]" in sockets
    }


def links(folder):
    try:
        return [str(path.readlink()) for path in folder.iterdir()]
    except OSError:
        return []


def address(digits):
    """Return an address of /proc/net as text; its words of 32 bits are in the machine's order."""
    words = struct.pack(f"={len(digits) // 8}I", *(int(digits[i : i + 8], 16) for i in range(0, len(digits), 8)))
    return socket.inet_ntop(socket.AF_INET if len(words) == 4 else socket.AF_INET6, words)
