"""A tape in ticks of equal length."""

import math

import numpy as np

from hftgym.tape.types import Tape


def tick_times(tape: Tape, tick_s: float) -> np.ndarray:
    """Return the local times of the ticks, int64 nanoseconds (n + 1,): the first quote and every `tick_s` after it.

    Raises:
        ValueError: The tape is shorter than one tick, or `tick_s` is not positive.
    """
    if not (math.isfinite(tick_s) and tick_s > 0):
        raise ValueError(f"tick_s must be a positive number of seconds, got {tick_s!r}")
    first, last = int(tape.quotes.local_ns[0]), int(tape.quotes.local_ns.max())
    count = int((last - first) / (tick_s * 1e9))
    if count < 1:
        raise ValueError(f"tick_s must be below the {(last - first) / 1e9:.3f} s that the tape lasts, got {tick_s}")
    return first + np.round(np.arange(count + 1) * (tick_s * 1e9)).astype(np.int64)


def quotes_at(tape: Tape, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return best bid and ask as known at the given local times, float64 (n,): the last quote received by then."""
    # Local time may step back by a hair; what counts as known is what had been received before.
    received = np.maximum.accumulate(tape.quotes.local_ns)
    last = np.searchsorted(received, times, side="right") - 1
    return tape.quotes.bid[last], tape.quotes.ask[last]
