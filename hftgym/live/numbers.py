"""Running numbers of a venue's messages: what is new, what came before, what is missing."""

from hftgym.live.events import FeedCounters
from hftgym.live.feed import BrokenStreamError

_OVERTAKEN_IN_A_ROW = 100  # more than any reordering: one absurd number has come before, and nothing would count again


class Numbers:
    """The numbers of one stream on one connection.

    Args:
        name: Of the stream, for messages.
        counters: Where what is dropped is counted.
    """

    __slots__ = ("_counters", "_name", "_row", "last")

    def __init__(self, name: str, counters: FeedCounters) -> None:
        self._name = name
        self._counters = counters
        self._row = 0
        self.last: int | None = None

    def missing(self, number: int) -> int:
        """Return how many numbers between the last one and this one never came."""
        return 0 if self.last is None else max(number - self.last - 1, 0)

    def is_new(self, number: int) -> bool:
        """Take a number; False, and counted, if it came before or later ones have come.

        Raises:
            BrokenStreamError: So many in a row are old that a wrong number must have come before.
        """
        if self.last is None or number > self.last:
            self.last = number
            self._row = 0
            return True
        self._counters.duplicates += 1
        self._row += 1
        if self._row > _OVERTAKEN_IN_A_ROW:
            raise BrokenStreamError("gap", f"{self._row} {self._name} messages in a row are older than {self.last}")
        return False
