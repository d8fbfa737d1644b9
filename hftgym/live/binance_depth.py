"""Binance's order book from its depth stream, as the documentation says to keep it.

Updates are buffered while a snapshot is fetched; those that it already holds are dropped, the next one must follow it
without a hole, and a hole later on starts all of it anew.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from hftgym.live.connection import LOSSES
from hftgym.tape.binance_structs import Data
from hftgym.tape.book import Book, Touch
from hftgym.tape.messages import LARGEST

_BUFFERED = 10_000  # updates: 1,000 s at ten a second; by then no snapshot will come
_Level = tuple[str, str]


class DepthUpdate(Data, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Changed levels with their new sizes; U is the first and u the last number it holds."""

    e: Literal["depthUpdate"]
    E: int
    U: int
    u: int
    b: list[_Level]
    a: list[_Level]
    T: int | msgspec.UnsetType = msgspec.UNSET  # USD-M
    pu: int | msgspec.UnsetType = msgspec.UNSET  # USD-M: u of the update before


class Snapshot(msgspec.Struct, kw_only=True, gc=False):
    """What the REST interface answers."""

    lastUpdateId: int  # noqa: N815 - the field's name
    bids: list[_Level]
    asks: list[_Level]


class GapError(Exception):
    """Updates are missing; the book is being fetched anew."""

    def __init__(self, missing: int, text: str) -> None:
        super().__init__(text)
        self.missing = missing


_Changes = tuple[DepthUpdate, list[tuple[float, float]], list[tuple[float, float]]]


class DepthBook:
    """The book of one symbol on one connection.

    Args:
        fetch: Returns the bytes of a snapshot that is not older than the call; it waits as long as it must.
    """

    def __init__(self, fetch: Callable[[], Awaitable[bytes]]) -> None:
        self._fetch = fetch
        self._decode = msgspec.json.Decoder(Snapshot).decode
        self._job: asyncio.Future[bytes] | None = None
        self.restart()

    def restart(self) -> None:
        """Forget the book and build it anew from the next update on."""
        self.close()
        self._book: Book | None = None
        self._last = 0
        self._chained = False  # whether an update was applied to the snapshot
        self._touch: Touch | None = None
        self._buffer: list[_Changes] = []

    def close(self) -> None:
        """Stop fetching."""
        if self._job is not None:
            self._job.cancel()
            self._job = None

    def take(self, update: DepthUpdate) -> Touch | None:
        """Take the next update and return the best prices if they have changed.

        Raises:
            ValueError: A level of it is no price or no size; nothing was changed.
            GapError: Updates are missing.
        """
        changes = (update, _numbers(update.b), _numbers(update.a))
        if self._book is None:
            return self._wait(changes)
        self._apply(changes)
        return self._news()

    def _wait(self, changes: _Changes) -> Touch | None:
        """Keep an update until there is a snapshot, and begin with the book if there is one now."""
        self._buffer.append(changes)
        if len(self._buffer) > _BUFFERED:
            self.restart()
            raise GapError(0, f"no snapshot came while {_BUFFERED:,} updates did")
        if self._job is None:
            self._job = asyncio.ensure_future(self._fetch())
        if not self._job.done():
            return None
        job, self._job = self._job, None
        try:
            snapshot = self._decode(job.result())
            bids, asks = _numbers(snapshot.bids), _numbers(snapshot.asks)
        except (*LOSSES, ValueError, asyncio.CancelledError):
            return None  # the next update fetches again
        self._last = snapshot.lastUpdateId
        first = self._buffer[0][0]
        if first.u > self._last and not self._follows(first):
            return None  # older than what has been buffered: again
        self._book = Book()
        self._book.replace(+1, bids)
        self._book.replace(-1, asks)
        buffered, self._buffer = self._buffer, []
        for held in buffered:
            self._apply(held)
        return self._news()

    def _apply(self, changes: _Changes) -> None:
        update, bids, asks = changes
        book = self._book
        if book is None or update.u <= self._last:
            return
        if not self._follows(update):
            last, missing = self._last, max(update.U - self._last - 1, 1)
            self.restart()
            raise GapError(missing, f"depth updates after {last} and before {update.U} are missing")
        for side, levels in ((+1, bids), (-1, asks)):
            for price, size in levels:
                book.set(side, price, size)
        self._last, self._chained = update.u, True

    def _follows(self, update: DepthUpdate) -> bool:
        """Whether nothing is missing between the book and an update that is newer."""
        if update.pu is msgspec.UNSET:
            return self._last + 1 >= update.U
        # USD-M numbers are not consecutive: every update names the one before it, and a snapshot may lie in between.
        return update.pu == self._last if self._chained else update.pu <= self._last

    def _news(self) -> Touch | None:
        touch = self._book.touch() if self._book else None
        if touch == self._touch:
            return None
        self._touch = touch
        return touch

    def overtaken(self, update: DepthUpdate) -> bool:
        """Whether the book holds this update already."""
        return self._book is not None and update.u <= self._last


def _numbers(levels: list[_Level]) -> list[tuple[float, float]]:
    values = msgspec.convert(levels, list[tuple[float, float]], strict=False)
    if not all(0.0 < price < LARGEST and 0.0 <= size < LARGEST for price, size in values):
        raise ValueError("a level must have a price above 0 and a size of at least 0")
    return values
