"""A tape made ready for a replay: its events in one array, and what every tick needs to know of them.

The clock is the time of receipt (`order`). An order decided at t meets what is received later than t + latency, so the
latency of a replay is the round trip: the way of the data here plus the way of the order there.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from hftgym.market.replay import Track, track_of
from hftgym.params import EnvParams
from hftgym.tape.order import BEFORE_ALL, merge_order, received_ns
from hftgym.tape.parquet import TapeFile
from hftgym.tape.types import Quotes, Tape, Trades

# A half-spread to quote in where the recorded one is not positive and there is no price grid, as a share of the mid.
_LEAST_SPREAD = 1e-6
_EXACT = 2**53  # up to here a float64 holds every whole number
# More ticks than this for every row of a tape: a wrong time in the file, or a tick that is far too short.
_MOST_TICKS_PER_ROW, _MOST_TICKS = 1_000, 1_000_000
_ON_GRID = 1e-4  # of a step: how far off the grid a recorded price may be through rounding


@dataclass(frozen=True, kw_only=True)
class Clock:
    """When ticks begin and orders arrive.

    Attributes:
        first_ns: Time of the first decision, ns since 1970.
        tick_s: Seconds per tick.
        latency_s: Seconds from a decision to its arrival in the market.
    """

    first_ns: int
    tick_s: float
    latency_s: float

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not (math.isfinite(self.tick_s) and self.tick_s >= 1e-9):
            raise ValueError(f"tick_s must be a number of seconds of at least 1e-9, got {self.tick_s!r}")
        if not (math.isfinite(self.latency_s) and 0 <= self.latency_s <= 3600):
            raise ValueError(f"latency_s must be from 0 to 3600 seconds, got {self.latency_s!r}")

    @property
    def whole_ticks(self) -> int:
        """Whole ticks of the latency."""
        return math.floor(self.latency_s / self.tick_s + 1e-9)

    def times_ns(self, first: int, last: int) -> np.ndarray:
        """Return the times of the ticks `first` to `last`, both included, as int64 nanoseconds."""
        return self.first_ns + np.round(np.arange(first, last + 1) * (self.tick_s * 1e9)).astype(np.int64)

    def time_ns(self, tick: int) -> int:
        """Return the time of one tick, as `times_ns` does."""
        return self.first_ns + round(tick * (self.tick_s * 1e9))

    def arrivals_ns(self, times_ns: np.ndarray) -> np.ndarray:
        """Return when, in the ticks that begin at these times, the order that is due arrives."""
        rest = max(self.latency_s - self.whole_ticks * self.tick_s, 0.0)
        return times_ns + round(rest * 1e9)

    def ticks_until(self, last_ns: int) -> int:
        """Return how many whole ticks lie between the first decision and a time."""
        return int((last_ns - self.first_ns) / (self.tick_s * 1e9))


class Stretch(NamedTuple):
    """Some ticks of a tape, in one piece."""

    track: Track
    times_ns: np.ndarray  # int64 (ticks + 1,)
    received_ns: np.ndarray  # int64 (events,)


def whole_track(tape: Tape, *, tick_s: float, latency_s: float, price_step: float | None = None) -> Stretch:
    """Return a tape as one Stretch.

    Args:
        tape: The tape, in memory.
        tick_s: Seconds per tick.
        latency_s: Seconds from a decision to its arrival in the market.
        price_step: The price grid that quotes are rounded to; what the tape says if None, 0 for none.

    Raises:
        ValueError: The tape is shorter than one tick, or its prices are not on the grid.
    """
    clock = clock_of(tape, tick_s=tick_s, latency_s=latency_s)
    pieces = stretches(tape, clock, price_step=price_step, rows=_rows_in(tape))
    return next(iter(pieces))


def clock_of(tape: Tape | TapeFile, *, tick_s: float, latency_s: float) -> Clock:
    """Return the clock that starts with a tape's first quote.

    Raises:
        ValueError: The tape is shorter than one tick, or a number is outside its range.
    """
    first_ns, last_ns = tape.quoted_ns
    clock = Clock(first_ns=first_ns, tick_s=tick_s, latency_s=latency_s)
    if clock.ticks_until(last_ns) < 1:
        raise ValueError(
            f"tick_s must be below the {(last_ns - first_ns) / 1e9:.3f} s that the quotes last, got {tick_s}"
        )
    rows = _rows_in(tape)
    if (ticks := clock.ticks_until(last_ns)) > max(_MOST_TICKS, _MOST_TICKS_PER_ROW * rows):
        raise ValueError(
            f"tick_s must be longer, or a time in the recording is wrong: {rows:,} rows within "
            f"{(last_ns - first_ns) / 1e9:,.0f} s would be {ticks:,} ticks of {tick_s} s"
        )
    return clock


def _rows_in(tape: Tape | TapeFile) -> int:
    if isinstance(tape, Tape):
        return len(tape.quotes) + len(tape.trades)
    return tape.n_quotes + tape.n_trades


def stretches(
    tape: Tape | TapeFile, clock: Clock, *, price_step: float | None = None, rows: int = 1_000_000
) -> Iterator[Stretch]:
    """Yield a tape in pieces of about `rows` rows, each of whole ticks; memory is bounded by the largest piece."""
    steps, per_unit = grid_of(tape.price_step if price_step is None else price_step)
    events, received = np.empty((0, 5)), np.empty(0, dtype=np.int64)
    tick, last_quote, now, left = 0, BEFORE_ALL, BEFORE_ALL, _rows_in(tape)
    total = clock.ticks_until(tape.quoted_ns[1])
    for quotes, trades in tape.chunks(rows=rows):
        new, new_received = _as_events(quotes, trades, since_ns=now, steps=steps, per_unit=per_unit)
        if not len(new):
            continue
        events, received = np.concatenate([events, new]), np.concatenate([received, new_received])
        now = int(received[-1])
        quoted = new_received[new[:, 0] == 0.0]
        last_quote = int(quoted[-1]) if len(quoted) else last_quote
        # All that a tick needs has been received when something later has, or everything.
        left -= len(new)
        known = total if left == 0 else clock.ticks_until(min(last_quote, now - 1))
        if known > tick:
            stretch = _stretch(events, received, clock, (tick, min(known, total)), (steps, per_unit))
            yield stretch
            tick = min(known, total)
            kept = int(stretch.track.ticks[-1, 2])
            events, received = events[kept:], received[kept:]


def latency_of(params: EnvParams, latency_s: float | None) -> float:
    """Return the seconds that orders take: as given, else what the params say of a market with constant latency.

    Raises:
        ValueError: The params' latency is random, or one of data, which a replay cannot tell from that of orders.
    """
    if latency_s is not None:
        return latency_s
    for name in ("order_latency_jitter", "data_latency"):
        if getattr(params, name) != 0:
            raise ValueError(
                f"{name} must be 0 in a replay, where the latency is constant and that of data and orders together, "
                f"got {getattr(params, name)}; or say latency_s="
            )
    return params.order_latency * params.tick_s


def least_half_spread(mid: Any, steps: float, per_unit: float) -> Any:
    """Return the half-spread to quote in where the recorded one is smaller: half a step of the grid."""
    return steps / per_unit / 2 if steps else _LEAST_SPREAD * mid


def grid_of(price_step: float | None) -> tuple[float, float]:
    """Return a price step as a fraction of whole numbers (steps, per_unit); (0, 1) for no grid.

    A step of so many digits that they are no exact float64 is itself the numerator: prices are then its products.

    Raises:
        ValueError: It is negative or not finite.
    """
    if price_step is None or price_step == 0:
        return 0.0, 1.0
    if not (math.isfinite(price_step) and price_step > 0):
        raise ValueError(f"price_step must be finite and above 0, or 0 for no grid, got {price_step!r}")
    step = Fraction(repr(float(price_step)))
    if max(step.numerator, step.denominator) > _EXACT:
        return float(price_step), 1.0
    return float(step.numerator), float(step.denominator)


def _as_events(
    quotes: Quotes, trades: Trades, *, since_ns: int, steps: float, per_unit: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows as events (n, 5), see `market.replay`, and their times of receipt."""
    is_trade = merge_order(quotes, trades, since_ns=since_ns)
    events = np.zeros((len(is_trade), 5))
    received = np.empty(len(is_trade), dtype=np.int64)
    received[~is_trade] = received_ns(quotes, since_ns=since_ns)
    received[is_trade] = received_ns(trades, since_ns=since_ns)
    for column, values in enumerate((quotes.bid, quotes.bid_size, quotes.ask, quotes.ask_size), start=1):
        events[~is_trade, column] = _snapped(values, steps, per_unit) if column in (1, 3) else values
    for column, values in enumerate((trades.taker_side, _snapped(trades.price, steps, per_unit), trades.size)):
        events[is_trade, column] = values
    return events, received


def _snapped(prices: np.ndarray, steps: float, per_unit: float) -> np.ndarray:
    """Return prices as the doubles that the kernel makes of the same decimals."""
    if not steps:
        return prices
    grid = prices * (per_unit / steps)
    whole = np.round(grid)
    off = np.flatnonzero(np.abs(grid - whole) > _ON_GRID)
    if len(off):
        raise ValueError(f"price_step must divide every recorded price, got {steps / per_unit:g} and {prices[off[0]]}")
    return whole * steps / per_unit


def _stretch(
    events: np.ndarray, received: np.ndarray, clock: Clock, ticks: tuple[int, int], grid: tuple[float, float]
) -> Stretch:
    steps, per_unit = grid
    times = clock.times_ns(*ticks)
    first = np.searchsorted(received, times, side="right")
    arrival = np.searchsorted(received, clock.arrivals_ns(times), side="right")
    arrival[:-1] = np.minimum(arrival[:-1], first[1:])  # the rounding of times takes no order past the end of its tick
    last = np.maximum.accumulate(np.where(events[:, 0] == 0.0, np.arange(len(events)), -1))[first - 1]
    bid, ask = events[last, 1], events[last, 3]
    mid = 0.5 * bid + 0.5 * ask
    half = np.maximum((ask - bid) / 2, least_half_spread(mid, steps, per_unit))
    used = events[: first[-1]]
    rows = np.column_stack([first, np.minimum(arrival, len(used)), last, mid, half]).astype(np.float64)
    track = track_of(np.ascontiguousarray(rows), used, grid=grid, whole_ticks=clock.whole_ticks)
    return Stretch(track, times, received)
