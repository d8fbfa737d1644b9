"""Ending what runs beside the session."""

import asyncio
from collections.abc import Iterable


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended: `asyncio.wait_for` of Python 3.11, which libraries use, can lose a cancel."""
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        done, waiting = await asyncio.wait(waiting, timeout=0.1)
        for task in done:
            if not task.cancelled():
                task.exception()  # seen: asyncio would log it as lost
