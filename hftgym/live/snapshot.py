"""What a session shows and writes down, tick by tick."""

from typing import Any, Literal, NamedTuple, Protocol

from hftgym.live.broker import Fill
from hftgym.live.events import Event

State = Literal["waiting", "warming", "trading", "withdrawn", "stopped"]


class Snapshot(NamedTuple):
    """What observers see, once per tick. Money in quote currency, inventory in units."""

    time_ns: int
    tick: int
    mid: float
    bid: float  # best prices of the market
    ask: float
    quote_bid: float  # own quotes, NaN for none
    quote_ask: float
    inventory: float
    cash: float
    equity: float
    fills: tuple[Fill, ...]
    spread_capture: float  # of this tick
    inventory_pnl: float
    fees: float
    state: State
    reason: str


class Journal(Protocol):
    """What a session writes down, see `hftgym.live.journal.SessionJournal`."""

    def append(self, kind: str, /, **values: Any) -> None:
        """Add a record."""
        ...

    def append_event(self, event: Event) -> None:
        """Add what the feed has told."""
        ...
