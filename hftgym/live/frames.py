"""What a dashboard is told of a session: one line of JSON per tick, and the last minutes of them.

Importing this needs msgspec (`pip install "hftgym[live]"`), and neither the market nor a browser's tools.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hftgym.live.broker import Fill
from hftgym.live.totals import Totals

try:
    import msgspec
except ImportError as error:  # pragma: no cover (the tests need it themselves)
    raise ImportError('msgspec is not installed: pip install "hftgym[live]"') from error

if TYPE_CHECKING:
    from hftgym.live.snapshot import Snapshot

COUNTERS = (
    "messages",
    "quotes",
    "trades",
    "ignored",
    "garbage",
    "duplicates",
    "gaps",
    "reconnects",
    "pings",
    "limited",
)
"""The fields of `FeedCounters` in the order in which they are shown."""

LATENCIES = (50.0, 90.0, 99.0, 99.9, 100.0)
"""The percentiles of the decision latency that are shown."""


class Frame(msgspec.Struct, kw_only=True, frozen=True):
    """One `Snapshot` as it arrives, with what was known beside it. A number that is none or not finite is None."""

    time_ns: int
    tick: int
    mid: float | None
    bid: float | None
    ask: float | None
    quote_bid: float | None
    quote_ask: float | None
    inventory: float
    cash: float
    equity: float | None
    fills: list[Fill]
    pnl: float  # since the start, as its parts
    spread_capture: float
    inventory_pnl: float
    fees: float
    fill_count: int
    state: str
    reason: str = ""
    counters: list[int]  # in the order of COUNTERS
    latency_us: list[float]  # in the order of LATENCIES; empty before the first decision
    decisions: int


def _plain(value: Any) -> Any:
    """Return a numpy number as Python's."""
    return value.item()


_encoder = msgspec.json.Encoder(enc_hook=_plain)
_decoder = msgspec.json.Decoder(Frame)


def encoded(snapshot: "Snapshot", totals: Totals, **beside: Any) -> bytes:
    r"""Return a `Snapshot`, the totals up to it, and what is known beside it as one line that ends in "\n"."""
    beside |= {
        "pnl": snapshot.equity - (totals.start_equity or 0.0),
        "spread_capture": totals.spread_capture,
        "inventory_pnl": totals.inventory_pnl,
        "fees": totals.fees,
        "fill_count": totals.fills,
    }
    return _encoder.encode({**snapshot._asdict(), **beside}) + b"\n"


def decoded(line: bytes) -> Frame:
    """Return the frame of a line.

    Raises:
        msgspec.DecodeError: It is none.
    """
    return _decoder.decode(line)


class History:
    """The last frames: one row per step of time for the curves, every fill, and the newest frame.

    Args:
        window_s: Seconds that are shown.
        rows: At most so many rows: the curves of a fast session are thinned to that.

    Attributes:
        newest: The newest frame; None before the first.
        received: Frames that came.
        ended: Whether the session has gone.
    """

    def __init__(self, *, window_s: float = 60.0, rows: int = 1_200) -> None:
        self.window_ms = window_s * 1e3
        self.newest: Frame | None = None
        self.received = 0
        self.ended = False
        self.rows: deque[tuple[int, Frame]] = deque(maxlen=rows)  # numbered, so that a page knows what is new to it
        self.fills: deque[Fill] = deque(maxlen=rows)
        self.fills_received = 0
        self._step_ns = window_s * 1e9 / rows

    def add(self, frame: Frame) -> None:
        """Remember a frame."""
        self.newest = frame
        self.received += 1
        self.fills.extend(frame.fills)
        self.fills_received += len(frame.fills)
        # A clock that was set back starts the curves again: they are drawn from left to right.
        if self.rows and frame.time_ns < self.rows[-1][1].time_ns:
            self.rows.clear()
        if not self.rows or frame.time_ns - self.rows[-1][1].time_ns >= self._step_ns:
            self.rows.append((self.received, frame))

    def rows_after(self, number: int) -> list[tuple[int, Frame]]:
        """Return the rows with numbers above `number`, oldest first."""
        found: list[tuple[int, Frame]] = []
        for row in reversed(self.rows):
            if row[0] <= number:
                break
            found.append(row)
        return found[::-1]


class Lines:
    """Bytes as they arrive, cut into lines."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take, self._rest = take, b""

    def feed(self, data: bytes) -> None:
        """Hand every line that is complete to `take`, without its end."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._take(line)


def number(value: float | None) -> float:
    """Return NaN for None: a gap in a curve."""
    return math.nan if value is None else value
