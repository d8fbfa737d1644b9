"""A tape in ticks of equal length, whether it is in memory or on disk."""

import math
from collections.abc import Iterable

import numpy as np

from hftgym.tape.order import BEFORE_ALL, received_ns
from hftgym.tape.parquet import TapeFile
from hftgym.tape.types import Quotes, Tape, Trades


def tick_times(tape: Tape | TapeFile, tick_s: float) -> np.ndarray:
    """Return the local times of the ticks, int64 nanoseconds (n + 1,): the first quote and every `tick_s` after it.

    Raises:
        ValueError: The tape is shorter than one tick, or `tick_s` is not positive.
    """
    if not (math.isfinite(tick_s) and tick_s > 0):
        raise ValueError(f"tick_s must be a positive number of seconds, got {tick_s!r}")
    first, last = tape.quoted_ns
    count = int((last - first) / (tick_s * 1e9))
    if count < 1:
        raise ValueError(f"tick_s must be below the {(last - first) / 1e9:.3f} s that the tape lasts, got {tick_s}")
    return first + np.round(np.arange(count + 1) * (tick_s * 1e9)).astype(np.int64)


def quotes_at(tape: Tape | TapeFile, times: np.ndarray, *, itself: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return best bid and ask as known at the given local times: the last quote received by then.

    Args:
        tape: The tape; one on disk is read once, piece by piece.
        times: int64 (n,), ns since 1970, never decreasing.
        itself: Whether a quote received at the very time counts.

    Returns:
        float64 (n,) twice, NaN before the first quote.
    """
    known, settled = ("right", "left") if itself else ("left", "right")
    found, last = np.full((2, len(times)), np.nan), np.full((2, 1), np.nan)
    done, now_ns = 0, BEFORE_ALL
    for quotes, _ in pieces(tape):
        if not len(quotes):
            continue
        received = received_ns(quotes, since_ns=now_ns)
        now_ns = int(received[-1])
        # Up to here no later piece can change anything.
        end = done + int(np.searchsorted(times[done:], now_ns, side=settled))
        at = np.searchsorted(received, times[done:end], side=known) - 1
        found[:, done:end] = np.where(at < 0, last, (quotes.bid[at], quotes.ask[at]))
        done, last = end, np.array([quotes.bid[-1:], quotes.ask[-1:]])
    found[:, done:] = last
    return found[0], found[1]


def median_shown_size(tape: Tape | TapeFile) -> float:
    """Return the median of the sizes at the best prices, units; memory grows with the distinct sizes."""
    values, counts = np.empty(0), np.empty(0)
    for quotes, _ in pieces(tape):
        new, many = np.unique(np.concatenate([quotes.bid_size, quotes.ask_size]), return_counts=True)
        values, place = np.unique(np.concatenate([values, new]), return_inverse=True)
        counts = np.bincount(place, weights=np.concatenate([counts, many]))
    below = np.cumsum(counts)
    middle = np.searchsorted(below, [(below[-1] - 1) // 2, below[-1] // 2], side="right")
    return float(np.mean(values[middle]))


def pieces(tape: Tape | TapeFile) -> Iterable[tuple[Quotes, Trades]]:
    """Return a tape in memory as one piece, and one on disk as those that it is read in."""
    return ((tape.quotes, tape.trades),) if isinstance(tape, Tape) else tape.chunks()
