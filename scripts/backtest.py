"""Play policies over recorded ticks and say what each was worth: a table, a verdict, pictures, and every fill.

Like this:

python scripts/backtest.py capture.gz  (z-score, Avellaneda-Stoikov and fixed spread)

python scripts/backtest.py capture.gz z-score agents/pretrained/default.onnx --unit 0.001 --latency-s 0.02

python scripts/backtest.py capture.gz --grid  (the z-score rule over windows, entries and limits)

python scripts/backtest.py prices.csv --prices close  (a table with a column of prices: the z-score rule alone)

Policies: random, fixed-spread, z-score, avellaneda-stoikov, linear-skew, optimal, glft, cartea-jaimungal (each with the
settings that are best in a simulated market like the tape), or the path of an exported agent (.onnx). The tape may be
in any format that hftgym.tape.read_tape knows.

It is a replay: orders arrive late, stand in a queue and pay fees, but they move nothing, and nobody reacts to them.
Nothing is annualised. An interval that excludes zero is about this tape alone.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from hftgym import EnvParams
from hftgym.tables import print_oddities
from scripts import backtest_grid, backtest_parts


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to play.

    Attributes:
        tape: The recording, or a table of prices with --prices.
        policies: Names of rules, and .onnx files; at most 8. By default z-score, avellaneda-stoikov and fixed-spread;
            with --prices z-score, and there is nothing else to play.
        tick_s: Seconds between two decisions.
        latency_s: Seconds from a decision to its arrival in the market, there and back.
        unit: Coins in one unit: inventory limits and orders count units.
        fees: "venue" for what the tape's venue publishes, the name of a venue in hftgym.VENUE_FEES_BPS, or "params" for
            --params.maker-fee-bps and --params.taker-fee-bps.
        split: The share of the tape, from its start, on which volatility, spread and order flow are measured; policies
            are played on the rest. 1 measures and plays on all of it.
        symbol: The market, where the recording holds several.
        prices: Name of the column of prices in a CSV or parquet table; one row is one tick.
        grid: Play the z-score rule over many windows, entries and limits instead.
        out: Where report.md, results.csv, fills_*.csv and the pictures are written.
        params: Limit, window, penalties and fees; price, spread and volatility are measured on the tape. A tick is as
            long as --tick-s says, and the horizon is all that is played.
    """

    tape: tyro.conf.Positional[Path]
    policies: tyro.conf.Positional[tuple[str, ...]] = ()
    tick_s: float = 0.1
    latency_s: float = 0.01
    unit: float = 1.0
    fees: str = "venue"
    split: float = 1.0
    symbol: str | None = None
    prices: str | None = None
    grid: bool = False
    out: Path = Path("runs/backtest")
    params: EnvParams = field(default_factory=EnvParams)


def main() -> int:
    try:
        run(tyro.cli(Arguments, description=__doc__))
    except KeyboardInterrupt as stop:
        print(f"interrupted: {stop or 'nothing was written'}", file=sys.stderr)
        return 130
    except (ValueError, TypeError, ArithmeticError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run(arguments: Arguments) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 100  # a file or a pipe has no width of its own
    refuse_without_effect(arguments.params)
    market = backtest_parts.load(arguments)
    console.print(market.description, style="dim", markup=False)
    if market.tape is not None:
        print_oddities(market.tape.report, console)
    if arguments.grid:
        backtest_grid.write_grid(market, arguments.out, console)
    else:
        backtest_parts.write_results(backtest_parts.play(market, arguments), market, arguments.out, console)


def refuse_without_effect(params: EnvParams) -> None:
    """Raise a ValueError for parameters that other arguments, or the tape, decide."""
    default = EnvParams()
    for name, instead in (("tick_s", "a tick lasts --tick-s"), ("horizon", "all of the tape is played")):
        if getattr(params, name) != getattr(default, name):
            raise ValueError(f"--params.{name.replace('_', '-')} has no effect here: {instead}")


if __name__ == "__main__":
    sys.exit(main())
