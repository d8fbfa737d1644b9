"""An order book of one market, kept from changes of its levels: all that is asked of it is the touch."""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

_SLACK = 1_000  # entries of levels that are gone, before they are cleared away
Touch = tuple[float, float, float, float]  # bid, bid_size, ask, ask_size


class _Side:
    """The levels of one side; `sign` is +1 for bids, −1 for asks, so that the best has the highest sign * price."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self.clear()

    def clear(self) -> None:
        self.sizes: dict[float, float] = {}
        self._heap: list[float] = []  # -sign * price; levels that are gone stay here until they come to the top

    def set(self, price: float, size: float) -> None:
        if size > 0:
            if price not in self.sizes:
                if len(self._heap) > 2 * len(self.sizes) + _SLACK:  # a book that lives for weeks must not grow
                    self._rebuild()
                heappush(self._heap, -self._sign * price)
            self.sizes[price] = size
        else:
            self.sizes.pop(price, None)

    def best(self) -> float | None:
        heap, sign = self._heap, self._sign
        while heap:
            price = -sign * heap[0]
            if price in self.sizes:
                return price
            heappop(heap)
        return None

    def drop(self, limit: float, *, itself: bool) -> None:
        """Remove all levels better than a price, and the price itself if asked to."""
        beyond = [p for p in self.sizes if self._sign * (p - limit) > 0 or (itself and p == limit)]
        for price in beyond:
            del self.sizes[price]
        self._rebuild()

    def _rebuild(self) -> None:
        self._heap = [-self._sign * price for price in self.sizes]
        heapify(self._heap)


class Book:
    """Bids and asks by price. Nothing is repaired: a book that is crossed stays so until a change uncrosses it."""

    def __init__(self) -> None:
        self._sides = {+1: _Side(+1), -1: _Side(-1)}

    def set(self, side: int, price: float, size: float) -> None:
        """Give a level its new total size: side +1 bid, −1 ask; size 0 removes it."""
        self._sides[side].set(price, size)

    def replace(self, side: int, levels: Iterable[tuple[float, float]]) -> None:
        """Forget one side and fill it with (price, size)."""
        self._sides[side].clear()
        for price, size in levels:
            self._sides[side].set(price, size)

    def drop(self, side: int, limit: float, *, itself: bool = True) -> None:
        """Remove what is better than a price, and the price itself."""
        self._sides[side].drop(limit, itself=itself)

    def touch(self) -> Touch | None:
        """Return best bid and ask with their sizes, None while a side is empty."""
        bids, asks = self._sides[+1], self._sides[-1]
        bid, ask = bids.best(), asks.best()
        return None if bid is None or ask is None else (bid, bids.sizes[bid], ask, asks.sizes[ask])
