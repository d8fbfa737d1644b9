"""The market of a retraining: a preset, a file of parameters, or what can be measured on recorded ticks."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.retraining.verdict import FEWEST_TICKS, check_ticks
from hftgym import EnvParams
from hftgym.presets import named_market
from hftgym.tape import Tape, TapeError, read_tape
from hftgym.tape.calibration import calibrate
from hftgym.tape.measure import tick_times

# Share of a tape, its end, that nothing is measured on: the candidates are compared there.
HELD_OUT_SHARE = 0.3
# Seconds per tick of what is measured and replayed.
TICK_S = 0.1
# Ticks of a tape whose end is long enough to compare on.
_FEWEST = math.ceil(FEWEST_TICKS / HELD_OUT_SHARE)


@dataclass(frozen=True, kw_only=True)
class Market:
    """What to train in, and what to compare on besides it.

    Attributes:
        params: The market.
        source: Where it came from, in words.
        held_out: Recorded ticks after those that were measured, or None.
    """

    params: EnvParams
    source: str
    held_out: Tape | None = None


def load_market(given: str, *, tape: Path | None = None, base: EnvParams) -> Market:
    """Return the market that a user named.

    Args:
        given: Name of a preset, path of a .json or .toml file of EnvParams, or empty for `base`.
        tape: Recorded ticks: price, spread, volatility and order flow are measured on their first 70 %, the rest is
            held out. Fees, limits, horizon and mean reversion stay those of `given`, and so does the order flow where
            there are too few trades to measure it.
        base: Where nothing else is said.

    Raises:
        ValueError: There is no such preset, or a file cannot be read, or does not hold a market, or the
            tape is too short to measure on it and to compare on its end.
    """
    params, source = (base, "the configuration's market") if not given else (named_market(given), given)
    if tape is None:
        return Market(params=params, source=source)
    try:
        recorded = read_tape(tape)
        check_ticks(recorded, tick_s=TICK_S, name="recorded", fewest=_FEWEST)
        measured_on, held_out = split(recorded, 1.0 - HELD_OUT_SHARE)
        # Where quotes are missing, a part may be shorter than its share.
        for part, name in ((measured_on, "measured"), (held_out, "held-out")):
            check_ticks(part, tick_s=TICK_S, name=name)
        measured = calibrate(measured_on, tick_s=TICK_S, base=params)
    except (TapeError, ValueError, OSError) as error:
        raise ValueError(f"--tape {tape}: {error}") from error
    return Market(
        params=dataclasses.replace(measured, horizon=params.horizon, mean_reversion=params.mean_reversion),
        source=f"price, spread and order flow from the first {measured_on.duration_s:.0f} s of {tape.name}, the rest "
        f"of {source}",
        held_out=held_out,
    )


def split(tape: Tape, share: float) -> tuple[Tape, Tape]:
    """Return the tape's first `share` of its ticks and the rest, by the time of reception.

    Raises:
        ValueError: One of them would have no quote.
    """
    times = tick_times(tape, tape.duration_s / 1_000)
    border = times[round(share * (len(times) - 1))]
    return _part(tape, None, border), _part(tape, border, None)


def _part(tape: Tape, start_ns: int | None, stop_ns: int | None) -> Tape:
    return dataclasses.replace(
        tape, quotes=_between(tape.quotes, start_ns, stop_ns), trades=_between(tape.trades, start_ns, stop_ns)
    )


def _between(rows: Any, start_ns: int | None, stop_ns: int | None) -> Any:
    """Return the rows received from start (or the first) to before stop (or to the last)."""
    received = np.maximum.accumulate(rows.local_ns)  # the clock may step back by a hair
    start = 0 if start_ns is None else int(np.searchsorted(received, start_ns))
    stop = len(received) if stop_ns is None else int(np.searchsorted(received, stop_ns))
    columns = {field.name: getattr(rows, field.name)[start:stop] for field in dataclasses.fields(rows)}
    return type(rows)(**columns)
