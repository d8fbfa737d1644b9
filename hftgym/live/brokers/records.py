"""Orders in a session's journal: each is written down before it is sent, and when it has ended."""

from hftgym.live.broker import OpenOrder
from hftgym.live.snapshot import Journal
from hftgym.live.units import Units


class OrderRecords:
    """Writes what a `VenueBroker` tells, in units; give it `sent` and `closed`.

    Args:
        journal: Where to.
        units: How the session counts.
    """

    def __init__(self, journal: Journal, *, units: Units) -> None:
        self._journal, self._units = journal, units
        self._open: set[str] = set()

    def sent(self, order: OpenOrder) -> None:
        """Write an order down; what cannot be written raises, and is not sent."""
        own = self._units.order_in_units(order)
        self._journal.append("order", order_id=own.order_id, side=own.side, price=own.price, size=own.left)
        self._open.add(own.order_id)

    def closed(self, order_id: str, how: str) -> None:
        """Write its end down; orders of earlier sessions end with the next "start"."""
        if order_id in self._open:
            self._journal.append("closed", order_id=order_id, reason=how)
            self._open.discard(order_id)
