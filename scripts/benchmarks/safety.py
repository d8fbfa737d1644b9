"""What safety costs a live session: the journal per record, the gate per decision."""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from hftgym.live.broker import Wanted
from hftgym.live.events import Quote
from hftgym.live.journal import SessionJournal
from hftgym.live.risk import RiskGate, RiskLimits, RiskView
from scripts.benchmarks.figure import Figure, interleaved_seconds

_CALLS = 20_000
_FEED = 20_000  # messages/s that a session has to keep up with
_QUOTE = Quote(1_700_000_000_000_000_000, 1_700_000_000_000_000_000, 60_000.12, 1.234, 60_000.13, 0.567)
_ORDER = {"order_id": "hft-123456-42", "side": 1, "price": 60_000.12, "size": 0.01}
_VIEW = RiskView(10**18, 100.0, 99.9, 100.1, 1.0, 1.0, 1.0, 1e4, 1e4, 10**6, 10**5)


def safety_figures() -> Iterator[Figure]:
    """CPU time of one call, on one core."""
    gate = RiskGate(RiskLimits(max_inventory=10, max_order_size=2, max_loss=1e3, max_orders_per_s=1e9))
    wishes = itertools.cycle([Wanted(99.9, 100.1, 1.0, 1.0), Wanted(99.8, 100.2, 1.0, 1.0)])
    with tempfile.TemporaryDirectory() as folder, SessionJournal(Path(folder) / "journal") as journal:
        calls: dict[str, Callable[[], object]] = {
            "journal, one event": lambda: journal.append_event(_QUOTE),
            "journal, one event through append": lambda: journal.append("quote", **_QUOTE._asdict()),
            "journal, one order, handed to the system": lambda: journal.append("order", **_ORDER),
            "gate, one decision with two new orders": lambda: gate.allow(next(wishes), _VIEW),
        }
        seconds = interleaved_seconds({name: _times(call) for name, call in calls.items()})
    for name, taken in seconds.items():
        each = taken / _CALLS
        note = f"{each * _FEED:.1%} of a core at {_FEED:,} messages/s" if "event" in name else ""
        yield Figure(name=name, value=each * 1e6, unit="us", lower_is_better=True, note=note)


def _times(call: Callable[[], object]) -> Callable[[], None]:
    def job() -> None:
        for _ in range(_CALLS):
            call()

    return job
