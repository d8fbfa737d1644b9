"""Forecast the direction of the next tick, and see whether there is anything to forecast.

Trains a constant, a linear model, gradient-boosted trees, a small LSTM and a small Transformer on a feed, walk-forward
and over several seeds, scores them on later ticks against 50 % and against the Bayes filter where one is known, and
trades them beside the z-score rule. Like this:

python scripts/forecast.py --feed gbm  (a random walk: every accuracy must be 50 %, and is)

python scripts/forecast.py --feed regime --paths 1000 --seeds 5  (a hidden drift of half a standard deviation)

python scripts/forecast.py --feed ohlcv  (one-minute bars; ohlcv-gbm is the same without a trend)

python scripts/forecast.py --feed tape --tape capture.gz --folds 3  (recorded ticks: a raw Binance capture)

The results go to runs/<name>: accuracy.png, summary.json, runs.parquet (one row per forecaster, seed and fold),
trading.parquet, and with --export one verified .onnx per forecaster, which trades it without torch or LightGBM. A tick
on which the price does not move has no direction: it is neither trained nor scored on, so that a forecast is the
probability of an up move given a move.
"""

import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import tyro
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from agents.forecasters.bars import BAR_S
from agents.forecasters.catalogue import Maker, makers_of, series_of
from agents.forecasters.export import export_signal
from agents.forecasters.feeds import Feed
from agents.forecasters.models import Constant
from agents.forecasters.report import accuracy_picture, print_study, print_trading
from agents.forecasters.study import Series, Study, study, summary, verdict
from agents.forecasters.trading import trade, trade_tape
from agents.run_folder import RunError, write_atomic
from hftgym.policies import SignalPolicy
from hftgym.progress import slow_bar
from hftgym.tape import TapeError, read_tape

# Seconds of a tick or a bar: shorter ones are finer than recordings, and fill the memory.
_SHORTEST_S, _LONGEST_S = 0.001, 86_400.0


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to forecast.

    Attributes:
        feed: gbm, regime, regime-weak, alpha, alpha-weak, ohlcv, ohlcv-gbm or tape.
        tape: A recording, for --feed tape; for --feed ohlcv its bars instead of simulated ones.
        tick_s: Seconds per tick of a tape, 0.001 to 86,400.
        bar_s: Seconds per bar of a tape, 0.001 to 86,400.
        forecasters: constant, linear, trees, LSTM, Transformer; all that suit the feed if none is given.
        paths: Simulated paths per seed, of 1,000 ticks or 500 bars each; the first half trains, the second tests.
        seeds: Trainings, each on simulated data of its own.
        folds: Parts of the later half that are tested one after the other, each after a training on all before it.
        entry: Probability of a move up or down beyond which a forecaster trades, 0.5 to below 1.
        episodes: Episodes of 1,000 ticks to trade, on equal seeds: 2 or more; 0 trades none.
        export: Write the forecasters of the first seed as policies, <forecaster>.onnx.
        name: Name of the folder of the results; forecast-<feed> by default.
        runs: Folder of all runs.
    """

    feed: str = "regime"
    tape: Path | None = None
    tick_s: float = 0.1
    bar_s: float = BAR_S
    forecasters: tuple[str, ...] = ()
    paths: int = 200
    seeds: int = 3
    folds: int = 1
    entry: float = 0.55
    episodes: int = 200
    export: bool = False
    name: str = ""
    runs: Path = Path("runs")


def main() -> int:
    arguments = tyro.cli(Arguments, description=__doc__)
    try:
        run(arguments, Console(highlight=False))
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return 130
    except (ValueError, TypeError, RunError, TapeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except MemoryError:
        print("error: out of memory: fewer --paths, or longer --tick-s or --bar-s, need less", file=sys.stderr)
        return 1
    return 0


def check(arguments: Arguments) -> None:
    """Raise a ValueError for what would otherwise fail after minutes of training."""
    for name, value in (("seeds", arguments.seeds), ("folds", arguments.folds)):
        if value < 1:
            raise ValueError(f"--{name} must be at least 1, got {value}")
    if arguments.episodes != 0 and arguments.episodes < 2:
        raise ValueError(f"--episodes must be at least 2, or 0 for none, got {arguments.episodes}")
    for name, value in (("tick-s", arguments.tick_s), ("bar-s", arguments.bar_s)):
        if not _SHORTEST_S <= value <= _LONGEST_S:  # NaN too
            raise ValueError(f"--{name} must be from {_SHORTEST_S} to {_LONGEST_S:,.0f} seconds, got {value!r}")
    SignalPolicy(Constant(seed=0), arguments.entry)
    if arguments.export and arguments.feed.startswith("ohlcv"):
        raise ValueError(f"--export is for ticks: no policy sees bars, got --feed {arguments.feed}")


@contextlib.contextmanager
def results(folder: Path) -> Iterator[None]:
    """Make a folder for what the block writes; if that is nothing, it is gone again."""
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if new and not any(folder.iterdir()):
            folder.rmdir()


def run(arguments: Arguments, console: Console) -> None:
    check(arguments)
    series, fresh = series_of(
        arguments.feed, paths=arguments.paths, tape=arguments.tape, tick_s=arguments.tick_s, bar_s=arguments.bar_s
    )
    makers = makers_of(arguments.forecasters, arguments.feed)
    folder = arguments.runs / (arguments.name or f"forecast-{arguments.feed}")
    with results(folder):
        report(arguments, console, series=series, fresh=fresh, makers=makers, folder=folder)


def report(
    arguments: Arguments,
    console: Console,
    *,
    series: Callable[[int], Series],
    fresh: bool,
    makers: Mapping[str, Maker],
    folder: Path,
) -> None:
    """Train, score, trade, print and write."""
    with slow_bar(max(arguments.seeds, 1) * max(arguments.folds, 1) * len(makers)) as bar:
        result = study(
            series,
            makers,
            seeds=arguments.seeds,
            folds=arguments.folds,
            fresh_data=fresh,
            on_part=lambda name: bar.part(name)(0.0),
        )
    table, traded = summary(result), traded_on(result, arguments)
    if not console.is_terminal:
        console.width = max(console.width, 110)
    console.print(f"{result.series.name}: {arguments.seeds} seeds, {arguments.folds} folds", style="dim")
    print_study(table, moving=result.moving, console=console)
    console.print(f"\n{verdict(table)}\n", style="bold", width=100)
    if traded is not None:
        print_trading(traded, console=console)
        console.print(
            f"Entry {arguments.entry:g}; ± is half the 95 % interval. Simulated profits are not profits.", style="dim"
        )
    write(folder, arguments, table, result, traded)
    written = ["accuracy.png", "summary.json", "runs.parquet", *(["trading.parquet"] if traded is not None else [])]
    if arguments.export:
        written += export_all(folder, arguments, result)
    console.print(f"written: {folder}/{{{', '.join(written)}}}", style="dim", width=100)


def traded_on(result: Study, arguments: Arguments) -> pl.DataFrame | None:
    """Trade what was trained on the first seed; bars are scored only."""
    one = result.series
    if not isinstance(one, Feed) or arguments.episodes == 0:
        return None
    if arguments.tape is not None:
        return trade_tape(result.fitted, one, read_tape(arguments.tape), entry=arguments.entry)
    return trade(result.fitted, one, entry=arguments.entry, episodes=arguments.episodes)


def export_all(folder: Path, arguments: Arguments, result: Study) -> list[str]:
    """Write every forecaster that looks at the moves as a policy, and return the names of the files."""
    one, names = result.series, []
    assert isinstance(one, Feed)
    data = f"{one.name}, {arguments.paths} paths" if arguments.tape is None else one.name
    for name, forecaster in result.fitted.items():
        if not isinstance(forecaster, Constant):
            names.append(f"{name.lower()}.onnx")
            export_signal(forecaster, folder / names[-1], entry=arguments.entry, params=one.params, data=data)
    return names


def write(folder: Path, arguments: Arguments, table: pl.DataFrame, result: Study, traded: pl.DataFrame | None) -> None:
    """Write everything, each file whole or not at all."""
    asked = {name: str(value) for name, value in vars(arguments).items()}
    facts = {"verdict": verdict(table), "moving": result.moving, "arguments": asked, "forecasters": table.to_dicts()}
    write_atomic(folder / "summary.json", json.dumps(facts, indent=2).encode())
    for name, frame in (("runs", result.runs), ("trading", traded)):
        if frame is not None:
            buffer = io.BytesIO()
            frame.write_parquet(buffer)
            write_atomic(folder / f"{name}.parquet", buffer.getvalue())
    caption = f"{table['ticks'].max():,} ticks tested   ·   {arguments.seeds} seeds   ·   95 % intervals"
    picture = io.BytesIO()
    figure = accuracy_picture(table, title=f"Direction of the next move: {arguments.feed}", caption=caption)
    figure.savefig(picture, dpi=150, facecolor=figure.get_facecolor())
    write_atomic(folder / "accuracy.png", picture.getvalue())


if __name__ == "__main__":
    sys.exit(main())
