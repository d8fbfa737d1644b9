"""Coinbase Exchange's messages with care, and the book that its `snapshot` and `l2update` make."""

import re
from typing import Any

import numpy as np

from hftgym.tape.book import Book, Touch
from hftgym.tape.messages import LARGEST, BadLineError, decimal, positive, shown
from hftgym.tape.types import NO_TIME

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
_SIDES = {"buy": +1, "sell": -1}


class Market:
    """One product: its book, from the first snapshot on, and the touch that was last handed over."""

    def __init__(self) -> None:
        self.book: Book | None = None
        self.touch: Touch | None = None

    def take(self, message: dict[str, Any]) -> tuple[int, Touch] | str:
        """Change the book by a snapshot or an l2update.

        Returns:
            The exchange's time and the touch if it is news, otherwise what the message is.

        Raises:
            BadLineError: Something is wrong with the message; the book is as it was.
        """
        kind = message["type"]
        if kind == "snapshot":
            sides = {side: levels_of(message, key) for side, key in ((+1, "bids"), (-1, "asks"))}
            self.book = self.book or Book()
            for side, levels in sides.items():
                self.book.replace(side, levels)
        else:
            changes = changes_of(message)
            if self.book is None:
                return "l2update before the first snapshot"
            for side, price, size in changes:
                self.book.set(side, price, size)
        touch = self.book.touch()
        if touch is None:
            return f"{kind} that leaves a side of the book empty"
        if touch == self.touch and kind == "l2update":
            return "l2update beyond the touch"
        self.touch = touch
        return NO_TIME if kind == "snapshot" else exchange_ns(message.get("time")), touch


def match_values(message: dict[str, Any]) -> tuple[int, float, float, int]:
    """Return (exchange_ns, price, size, taker_side) of a match, whose `side` is the maker's."""
    taker_side = -side_of(message.get("side"))
    price, size = (positive(message.get(key), key) for key in ("price", "size"))
    return exchange_ns(message.get("time")), price, size, taker_side


def changes_of(message: dict[str, Any]) -> list[tuple[int, float, float]]:
    """Check everything before anything is changed: a bad line must not leave half of itself in the book."""
    exchange_ns(message.get("time"))
    changes = message.get("changes")
    if not isinstance(changes, list) or not all(isinstance(change, list) and len(change) == 3 for change in changes):
        raise BadLineError("field 'changes' must be a list of [side, price, size]")
    return [(side_of(side), positive(price, "price"), size_of(size)) for side, price, size in changes]


def levels_of(message: dict[str, Any], key: str) -> list[tuple[float, float]]:
    """Return the (price, size) of one side of a snapshot."""
    levels = message.get(key)
    if not isinstance(levels, list) or not all(isinstance(level, list) and len(level) == 2 for level in levels):
        raise BadLineError(f"field {key!r} must be a list of [price, size]")
    return [(positive(price, "price"), size_of(size)) for price, size in levels]


def side_of(value: object) -> int:
    """Return +1 for a buy, -1 for a sell."""
    if not isinstance(value, str) or value not in _SIDES:
        raise BadLineError(f"side must be 'buy' or 'sell', got {shown(value)}")
    return _SIDES[value]


def size_of(text: object) -> float:
    """Return the size of a level; 0 removes it."""
    value = decimal(text)
    if not 0.0 <= value < LARGEST:
        raise BadLineError(f"size must be a decimal in quotes, not negative and below 1e18, got {shown(text)}")
    return value


def count_of(message: dict[str, Any], key: str) -> int:
    """Return a running number of the venue's."""
    value = message.get(key)
    if type(value) is not int or not 0 <= value < 2**63:
        raise BadLineError(f"field {key!r} must be a whole number, got {shown(value)}")
    return value


def exchange_ns(time: object) -> int:
    """Return a time of the venue in ns since 1970."""
    if isinstance(time, str) and _TIME.fullmatch(time) and "1970" <= time < "2255":  # int64 ends in 2262
        try:
            return int(np.datetime64(time[:-1], "ns").astype(np.int64))
        except ValueError:
            pass  # no such day or hour: the error below says so
    raise BadLineError(f"field 'time' must be a time such as '2021-04-17T16:43:37.075687Z', got {shown(time)}")
