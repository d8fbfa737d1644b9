"""What a session writes into its journal besides events, ticks and decisions, and what an order leaves there."""

import logging
from collections.abc import Iterable
from typing import Any, Protocol

from hftgym.live.broker import Fill, Holdings, OpenOrder
from hftgym.live.events import Event, Feed
from hftgym.live.risk import RiskGate
from hftgym.live.snapshot import State
from hftgym.live.units import Units
from hftgym.params import EnvParams

log = logging.getLogger("hftgym.live.session")


class Journal(Protocol):
    """Where it goes, see `hftgym.live.journal.SessionJournal`."""

    def append(self, kind: str, /, **values: Any) -> None:
        """Add a record."""
        ...

    def append_event(self, event: Event) -> None:
        """Add what the feed has told."""
        ...


class SessionRecords:
    """Writes the records of a session into its journal, where there is one, and into the log."""

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal
        self._sha256: str | None = None  # of the model that decides
        self._state: State = "waiting"  # the one logged last

    def start(
        self,
        held: Holdings,
        *,
        policy: Any,
        params: EnvParams,
        gate: RiskGate | None,
        feed: Feed,
        price_step: float,
        latency_s: float,
    ) -> None:
        """Write what a replay and a restart need to know."""
        self.write(
            "start",
            params=params.to_dict(),
            limits=None if gate is None else gate.limits.to_dict(),
            venue=feed.venue,
            symbol=feed.symbol,
            policy=str(getattr(policy, "path", type(policy).__name__)),
            price_step=price_step,
            latency_s=latency_s,
            cash=held.cash,
            inventory=held.inventory,
        )

    def fills(self, fills: Iterable[Fill]) -> None:
        """Write fills down."""
        for fill in fills:
            self.write("fill", **fill._asdict())

    def model(self, tick: int, policy: Any) -> None:
        """Write down that another model has decided in this tick than before."""
        sha256 = getattr(policy, "sha256", None)
        if sha256 != self._sha256:
            self._sha256 = sha256
            self.write("model", tick=tick, file=str(getattr(policy, "path", "")), sha256=sha256)

    def state(self, state: State, reason: str) -> None:
        """Log the state if it is another one."""
        if state != self._state:
            log.info("%s", state, extra={"before": self._state, "reason": reason})
            self._state = state

    def write(self, kind: str, /, **values: Any) -> None:
        """Write any record; the log has it also where the journal cannot be written any more."""
        log.info(kind, extra=values)
        if self._journal is not None:
            self._journal.append(kind, **values)


class OrderRecords:
    """Writes what a `VenueBroker` tells, in units: give it `sent` and `closed`.

    Args:
        journal: Where to.
        units: How the session counts.
    """

    def __init__(self, journal: Journal, *, units: Units) -> None:
        self._journal, self._units = journal, units
        self._open: set[str] = set()

    def sent(self, order: OpenOrder) -> None:
        """Write an order down before it is sent; what cannot be written raises, and is not sent."""
        own = self._units.order_in_units(order)
        self._journal.append("order", order_id=own.order_id, side=own.side, price=own.price, size=own.left)
        self._open.add(own.order_id)

    def closed(self, order_id: str, how: str) -> None:
        """Write its end down; orders of earlier sessions end with the next "start"."""
        if order_id in self._open:
            self._journal.append("closed", order_id=order_id, reason=how)
            self._open.discard(order_id)
