"""Measure recorded ticks: estimates with standard errors, a market for training, and a picture of what fits.

Like this:

python scripts/calibrate.py capture.gz

python scripts/calibrate.py capture.gz --tick-s 1 --market base.toml --out runs/btc

python scripts/calibrate.py capture.gz --split 0.5  (the first half; scripts/backtest.py --split 0.5 plays the second)

python scripts/train.py --name btc --config agents/configs/default.toml --market runs/btc/params.json

Written: params.json (an EnvParams, which train.py, evaluate.py and retrain.py take as --market), calibration.json
(estimates, errors, statistics, warnings), calibration.png.
"""

import json
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import tyro
from rich.console import Console

from hftgym import plots
from hftgym.files import written_together
from hftgym.plots_calibration import calibration
from hftgym.presets import named_market
from hftgym.tables import print_oddities, terminal_table
from hftgym.tape import Calibration, Tape, TapeFile, calibrate, estimate, read_tape
from hftgym.tape.reading import open_or_read
from hftgym.tape.simulate import simulate_tape


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to measure.

    Attributes:
        tape: The recording.
        tick_s: Seconds per tick: how often an agent decides.
        symbol: The market, where the file holds several.
        out: Folder of what is written.
        coins: Coins in one unit: prices and sizes are told per unit.
        seed: Seed of the simulated market in the picture.
        market: Where what is not measured comes from: a preset, or a .json or .toml file of EnvParams. By default it is
            the venue's fees (look them up: they change), quotes that the price has passed are filled, and the rest is
            that of the default market.
        split: The share of the tape, from its start, that is measured.
        offset_high: How far from the mid quotes may be, in half-spreads, and up to where orders are told apart. Where a
            maker's fee is many half-spreads, a quote is beyond it only with as many. By default that of the market.
    """

    tape: tyro.conf.Positional[Path]
    tick_s: float = 0.1
    symbol: str | None = None
    out: Path = Path("runs/calibration")
    coins: float = 1.0
    seed: int = 0
    market: str | None = None
    split: float = 1.0
    offset_high: float | None = None


def main() -> int:
    try:
        run(tyro.cli(Arguments, description=__doc__))
    except KeyboardInterrupt as stop:
        print(f"interrupted: {stop or 'nothing was written'}", file=sys.stderr)
        return 130
    except (ValueError, TypeError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def tape_of(arguments: Arguments) -> Tape | TapeFile:
    """Return the part of the tape that is measured."""
    # A part of a tape is cut out in memory.
    read = open_or_read if arguments.split == 1.0 else read_tape
    tape = read(arguments.tape, symbol=arguments.symbol)
    if arguments.coins != 1.0:
        tape = tape.in_units_of(arguments.coins)
    if arguments.split != 1.0 and isinstance(tape, Tape):
        tape, _ = tape.split(arguments.split)
    return tape


def measured(tape: Tape | TapeFile, arguments: Arguments) -> Calibration:
    """Return what is found on a tape."""
    base = None if arguments.market is None else named_market(arguments.market)
    if arguments.offset_high is not None:
        base = replace(base or calibrate(tape, tick_s=arguments.tick_s), offset_high=arguments.offset_high)
    return estimate(tape, tick_s=arguments.tick_s, base=base)


def run(arguments: Arguments) -> None:
    console, out, tape = Console(highlight=False), arguments.out, tape_of(arguments)
    console.print(str(tape), style="dim", soft_wrap=True)
    print_oddities(tape.report, console)
    found = measured(tape, arguments)
    rows = [[name, _told(e.value, ".4g"), _told(e.error, ".2g", "± ")] for name, e in found.estimates.items()]
    console.print(terminal_table(["estimate", "per tick", "standard error"], rows))
    grids = (("price_step", found.price_step), ("size_step", found.size_step))
    values = {name: step for name, step in grids if step is not None} | dict(found.statistics)
    console.print(terminal_table(["statistic", ""], [[name, f"{value:.4g}"] for name, value in values.items()]))
    for warning in found.warnings:
        console.print(f"note: {warning}", style="yellow", soft_wrap=True)
    simulated = simulate_tape(found.params, ticks=found.ticks, seed=arguments.seed)
    with written_together(out) as work:
        (work / "params.json").write_text(json.dumps(found.params.to_dict(), indent=2) + "\n", encoding="utf-8")
        (work / "calibration.json").write_text(_as_json(found), encoding="utf-8")
        plots.save(calibration(tape, simulated, found), work / "calibration.png")
    console.print(f"\nwritten: {out}/{{params.json, calibration.json, calibration.png}}", style="dim", soft_wrap=True)


def _told(value: float, digits: str, before: str = "") -> str:
    return f"{before}{value:{digits}}" if math.isfinite(value) else "-"


def _as_json(found: Calibration) -> str:
    estimates = {
        name: {part: value if math.isfinite(value) else None for part, value in one._asdict().items()}
        for name, one in found.estimates.items()
    }
    values = {
        "estimates": estimates,
        "statistics": dict(found.statistics),
        "price_step": found.price_step,
        "size_step": found.size_step,
        "ticks": found.ticks,
        "orders": found.orders,
        "warnings": list(found.warnings),
    }
    return json.dumps(values, indent=2) + "\n"


if __name__ == "__main__":
    sys.exit(main())
