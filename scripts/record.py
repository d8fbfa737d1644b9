"""Turn recorded ticks into a parquet tape, which reads at 20 million rows a second and may be larger than memory.

python scripts/record.py capture.gz btc.parquet

python scripts/record.py capture.gz eth.parquet --symbol ETHUSDT      (where the file holds several markets)

python scripts/record.py live.parquet.journal      (finishes live.parquet, whose recording was killed)

The source is anything that hftgym.tape.read_tape knows, of any length: it is never held as a whole. Then:
read_tape("btc.parquet") for the whole tape, open_tape("btc.parquet") for one that stays on disk; both go into
hftgym.backtest.backtest.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from hftgym.tape import TapeWriter, finish_tape, open_tape, read_chunks

_JOURNAL = ".journal"
_ROWS = 250_000  # read at a time


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to write.

    Attributes:
        source: A recorded file, or the journal that a killed recording has left.
        out: The parquet tape to write; it gets its name when it is complete.
        symbol: The market to keep, where the source holds several.
        overwrite: Replace a tape that exists.
    """

    source: tyro.conf.Positional[Path]
    out: tyro.conf.Positional[Path | None] = None
    symbol: str | None = None
    overwrite: bool = False


def main() -> int:
    try:
        run(tyro.cli(Arguments, description=__doc__))
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return 130
    except (ValueError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run(arguments: Arguments) -> None:
    journal = arguments.source.suffix == _JOURNAL
    out = arguments.source.with_suffix("") if journal else arguments.out
    if out is None:
        raise ValueError("out must be the tape to write, such as btc.parquet, got nothing")
    if journal and arguments.out not in (None, out):
        raise ValueError(f"out must be {out}, whose journal this is, got {arguments.out}")
    if out.exists() and not arguments.overwrite:
        raise ValueError(f"{out} exists: choose another name, or --overwrite")
    if out.exists() and out.samefile(arguments.source):
        raise ValueError(f"out must be another file than the source, got {out} for both")
    if journal:
        finish_tape(out)
    else:
        convert(arguments.source, out, symbol=arguments.symbol)
    tape = open_tape(out)
    rows = tape.n_quotes + tape.n_trades
    size = out.stat().st_size
    print(f"{tape.report}\n\n{tape!r}: price step {tape.price_step}, size step {tape.size_step}")
    Console().print(f"written: {out}, {size / 1e6:,.1f} MB, {size / rows:.1f} bytes per row", style="dim")


def convert(source: Path, out: Path, *, symbol: str | None) -> None:
    """Write a tape of what a file holds, in memory that its length does not change.

    `out` appears when the source has been read to its end: only then it is known to be whole and of one market.
    """
    with Console(stderr=True).status(f"reading {source}") as status, TapeWriter(out) as writer:
        chunks = read_chunks(source, symbol=symbol, rows=_ROWS)
        done, start = 0, time.monotonic()
        for quotes, trades in chunks:
            writer.write(quotes, trades)
            done += len(quotes) + len(trades)
            rate = done / (time.monotonic() - start) / 1e6
            status.update(f"{source}: {done:,} rows, {rate:.1f} million a second")
        writer.close(venue=chunks.venue, symbol=chunks.symbol, report=chunks.report)


if __name__ == "__main__":
    sys.exit(main())
