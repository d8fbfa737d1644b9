"""From a tape to the parameters that a policy's observation and quotes need."""

import math

import numpy as np

from hftgym.params import EnvParams
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


def measured_params(tape: Tape, *, tick_s: float = 0.1, base: EnvParams | None = None) -> EnvParams:
    """Return `base` with what can be read off the tape: symbol, price, spread, volatility per tick, and its length.

    The volatility is the standard deviation of the mid's relative move per tick, the spread the median. Order flow
    (A, kappa) is not measured here and keeps the values of `base`; nothing in a replay uses it.

    Args:
        tape: The tape.
        tick_s: Length of one tick in seconds.
        base: Where fees, limits, penalty and window come from; the defaults if None.

    Raises:
        ValueError: The tape is shorter than one tick, or its price never moved.
    """
    base = base or EnvParams()
    bid, ask = quotes_at(tape, tick_times(tape, tick_s))
    mid = (bid + ask) / 2
    moves = np.diff(mid) / mid[:-1]
    volatility = float(np.sqrt(np.mean(moves**2)))
    spread = float(np.median((ask - bid) / mid))
    if volatility == 0 or spread <= 0:
        raise ValueError(
            f"{tape.symbol}: the mid never moved or the median spread is not positive in ticks of {tick_s} s"
        )
    values = base.to_dict() | {
        "symbol": tape.symbol,
        "tick_s": tick_s,
        "initial_price": float(mid[0]),
        "volatility": volatility / math.hypot(1.0, base.microstructure_noise),
        "spread": spread,
        "horizon": len(mid) - 1,
        # Enough to hold the limit twice over: cash is no constraint in the simulator either.
        "initial_cash": max(base.initial_cash, 2 * base.inventory_limit * float(mid[0])),
    }
    return EnvParams.from_dict(values)
