"""The feeds and the forecasters by name, as commands take them."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from agents.forecasters.bars import BAR_S, simulated_bars, tape_bars
from agents.forecasters.feeds import MARKETS, simulated_feed, tape_feed
from agents.forecasters.models import Constant, Forecaster, Linear, Trees, rolling
from agents.forecasters.nets import LSTM, Transformer
from agents.forecasters.study import Series
from hftgym.tape import read_tape

# Seeds of the training's paths begin here; those of the episodes that are traded begin at 0.
_FIRST_SEED = 2**32

FEEDS: tuple[str, ...] = (*MARKETS, "ohlcv", "ohlcv-gbm", "tape")

Maker = Callable[[int], Forecaster]
# On windows of moves.
ON_MOVES: Mapping[str, Maker] = MappingProxyType(
    {
        "constant": lambda seed: Constant(seed=seed),
        "linear": lambda seed: rolling(Linear, seed=seed),
        "trees": lambda seed: rolling(Trees, seed=seed),
        "LSTM": lambda seed: LSTM(seed=seed),
        "Transformer": lambda seed: Transformer(seed=seed),
    }
)
# On the features of bars.
ON_BARS: Mapping[str, Maker] = MappingProxyType(
    {
        "constant": lambda seed: Constant(seed=seed),
        "linear": lambda seed: Linear(seed=seed),
        "trees": lambda seed: Trees(seed=seed),
    }
)


def series_of(
    feed: str, *, paths: int, tape: Path | None = None, tick_s: float = 0.1, bar_s: float = BAR_S
) -> tuple[Callable[[int], Series], bool]:
    """Return (seed -> series, whether every seed gives new data).

    Args:
        feed: One of `FEEDS`.
        paths: Simulated paths: of 1,000 ticks, or of 500 bars.
        tape: A recording, for "tape", and for "ohlcv" instead of a simulation.
        tick_s: Seconds per tick of a tape.
        bar_s: Seconds per bar of a tape.

    Raises:
        ValueError: There is no such feed, "tape" has no tape, or the tape is too short.
        hftgym.tape.TapeError: The recording cannot be read.
    """
    if feed not in FEEDS:
        raise ValueError(f"--feed must be one of {', '.join(FEEDS)}, got {feed!r}")
    if (feed == "tape") > (tape is not None) or (tape is not None and feed not in ("tape", "ohlcv")):
        raise ValueError(f"--tape FILE goes with --feed tape, which needs it, and --feed ohlcv, got --feed {feed}")
    if paths < 2:
        raise ValueError(f"--paths must be at least 2, one to train on and one to test on, got {paths}")
    if tape is not None:
        recorded = read_tape(tape)
        one = tape_feed(recorded, tick_s=tick_s) if feed == "tape" else tape_bars(recorded, bar_s=bar_s)
        return lambda seed: one, False
    if feed in MARKETS:
        return lambda seed: simulated_feed(feed, paths=paths, seed=_FIRST_SEED + seed * paths), True
    trending = feed == "ohlcv"
    return lambda seed: simulated_bars(paths=paths, seed=_FIRST_SEED + seed * paths, trending=trending), True


def makers_of(names: Iterable[str], feed: str) -> dict[str, Maker]:
    """Return name -> seed -> untrained forecaster, for the feed; all that suit it if there are no names.

    Raises:
        ValueError: There is no such forecaster, or it does not suit bars.
    """
    known = ON_BARS if feed.startswith("ohlcv") else ON_MOVES
    by_slug = {name.lower(): name for name in known}
    chosen = list(names) or list(known)
    for name in chosen:
        if name.lower() not in by_slug:
            raise ValueError(f"--forecasters must be among {', '.join(known)} for --feed {feed}, got {name!r}")
    return {by_slug[name.lower()]: known[by_slug[name.lower()]] for name in chosen}
