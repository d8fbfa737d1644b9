"""A feed that plays a tape: the events of its rows, times and all."""

from hftgym.live.events import FeedCounters, Quote, Trade
from hftgym.tape import NO_TIME
from tests.tapes import rows_of


class RecordedFeed:
    """Yields the rows of a tape, or other events, one after the other."""

    venue, symbol = "test", "TEST"

    def __init__(self, tape, extra=()):
        events = [
            Quote(time, NO_TIME, *values) if kind == "quote" else Trade(time, NO_TIME, *values)
            for time, kind, values in rows_of(tape)
        ]
        self._events = sorted([*events, *extra], key=lambda event: event.received_ns)
        self.counters = FeedCounters()

    async def events(self):
        for event in self._events:
            self.counters.messages += 1
            yield event

    async def close(self):
        pass
