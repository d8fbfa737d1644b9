"""Record a live market, or turn recorded ticks into a parquet tape, which may be larger than memory.

python scripts/record.py binance:BTCUSDT btc.parquet --seconds 3600      (or binance-usdm:, coinbase:BTC-USD)

python scripts/record.py capture.gz btc.parquet

python scripts/record.py capture.gz eth.parquet --symbol ETHUSDT      (where the file holds several markets)

python scripts/record.py live.parquet.journal      (finishes live.parquet, whose recording was killed)

Ctrl-C ends a live recording and writes the tape; what was killed is finished from its journal, or by recording on into
the same tape. A file may be anything that hftgym.tape.read_tape knows, of any length: it is never held as a whole. Then
read_tape("btc.parquet") for the whole tape, open_tape("btc.parquet") for one that stays on disk; both go into
hftgym.backtest.backtest.
"""

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from hftgym.live.events import Feed, Status
from hftgym.live.rows import record
from hftgym.tape import TapeWriter, finish_tape, open_tape, read_chunks
from scripts.live_parts import VENUES, feed_of

_JOURNAL = ".journal"
_ROWS = 250_000  # read at a time


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to write.

    Attributes:
        source: A live market as VENUE:SYMBOL, a recorded file, or the journal that a killed recording has left.
        out: The parquet tape to write; it gets its name when it is complete.
        symbol: The market to keep, where the source holds several.
        seconds: How long to record a live market; until Ctrl-C if not given.
        overwrite: Replace a tape that exists.
    """

    source: tyro.conf.Positional[Path]
    out: tyro.conf.Positional[Path | None] = None
    symbol: str | None = None
    seconds: float | None = None
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
    venue, _, symbol = str(arguments.source).partition(":")
    live, journal = venue in VENUES and bool(symbol), arguments.source.suffix == _JOURNAL
    out = arguments.source.with_suffix("") if journal else arguments.out
    if out is None:
        raise ValueError("out must be the tape to write, such as btc.parquet, got nothing")
    if journal and arguments.out not in (None, out):
        raise ValueError(f"out must be {out}, whose journal this is, got {arguments.out}")
    if out.exists() and not arguments.overwrite:
        raise ValueError(f"{out} exists: choose another name, or --overwrite")
    if out.exists() and not live and out.samefile(arguments.source):
        raise ValueError(f"out must be another file than the source, got {out} for both")
    if live:
        asyncio.run(_record(feed_of(venue, symbol), out, seconds=arguments.seconds))
    elif journal:
        finish_tape(out)
    else:
        convert(arguments.source, out, symbol=arguments.symbol)
    tape = open_tape(out)
    rows = tape.n_quotes + tape.n_trades
    size = out.stat().st_size
    print(f"{tape.report}\n\n{tape!r}: price step {tape.price_step}, size step {tape.size_step}")
    Console().print(f"written: {out}, {size / 1e6:,.1f} MB, {size / rows:.1f} bytes per row", style="dim")


async def _record(feed: Feed, out: Path, *, seconds: float | None) -> None:
    """Record until the time is over or a Ctrl-C."""
    with (
        Console(stderr=True).status(f"{feed.venue} {feed.symbol}: waiting for quotes") as status,
        TapeWriter(out, venue=feed.venue, symbol=feed.symbol, journal=True) as writer,
    ):
        told = f"{feed.venue} {feed.symbol}: {{:,}} rows, Ctrl-C ends it"
        await record(
            feed, writer, seconds=seconds, on_rows=lambda rows: status.update(told.format(rows)), on_status=_tell
        )


def _tell(status: Status) -> None:
    print(f"{status.kind}: {status.text}", file=sys.stderr)


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
