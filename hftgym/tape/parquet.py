"""Tapes as parquet files, read whole or in bounded memory; `hftgym.tape.writer` writes them.

One table in the order of rows (`hftgym.tape.order`), its columns those of `hftgym.tape.columns`, without nulls. What
describes it is JSON in the file's key-value metadata under "hftgym.tape". Prices and sizes are dictionary-encoded,
times are differences, pages are packed by LZ4 and carry checksums, which are verified.
"""

import dataclasses
import json
import typing
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from hftgym.tape.columns import DTYPES, SIDES, Columns, Parts
from hftgym.tape.report import Findings, TapeError, TapeReport
from hftgym.tape.rows import Quotes, Trades, check_rows, in_units, symbol_in_units, unit_is_one
from hftgym.tape.steps import Steps
from hftgym.tape.types import Tape

EXPECTED = "the columns " + ", ".join(DTYPES) + " in parquet, with the metadata of hftgym.tape.TapeWriter"
VERSION = 1
KEY = "hftgym.tape"
# Measured on recorded and simulated ticks: 8 to 10 bytes per row, and no other set read faster below 40.
ENCODING: Mapping[str, Any] = {
    "compression": "lz4",
    "use_dictionary": [*SIDES, "kind"],
    "column_encoding": {"local_ns": "DELTA_BINARY_PACKED", "exchange_ns": "DELTA_BINARY_PACKED"},
    "write_statistics": ["local_ns"],  # lets other tools skip what lies outside a span of time
    "write_page_checksum": True,
}
ROWS = 1 << 18  # rows that make a row group: 13 MB in memory; a group has at most twice as many


def recognises(head: bytes, path: Path) -> bool:
    """Tell whether a file is parquet, and says that it is a tape or is too damaged to say anything."""
    if not head.startswith(b"PAR1"):
        return False
    pa, pq = arrow()
    try:
        return KEY.encode() in (pq.read_metadata(path).metadata or {})
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return True


def arrow() -> tuple[ModuleType, ModuleType]:
    """Return pyarrow and its parquet module.

    Raises:
        ImportError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError('parquet tapes need pyarrow: pip install "hftgym[tape]"') from error
    return pyarrow, pyarrow.parquet


def schema() -> Any:
    """Return the columns as a pyarrow schema."""
    pa, _ = arrow()
    return pa.schema([pa.field(name, pa.from_numpy_dtype(dtype), nullable=False) for name, dtype in DTYPES.items()])


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TapeFile:
    """A parquet tape that stays on disk.

    Attributes:
        path: The file.
        venue: Where, for example "binance-spot".
        symbol: What, in the venue's own spelling.
        steps: The grids of prices and sizes in the units of the file.
        first_ns: When the first row was received, ns since 1970.
        last_ns: When the last row was received.
        quoted_ns: When the first and the last quote were received.
        n_quotes: Rows that are quotes.
        n_trades: Rows that are trades.
        report: What was found when it was recorded.
        coins: Size of one unit in units of the file.
    """

    path: Path
    venue: str
    symbol: str
    steps: Steps
    first_ns: int
    last_ns: int
    quoted_ns: tuple[int, int]
    n_quotes: int
    n_trades: int
    report: TapeReport
    coins: float = 1.0

    @property
    def price_step(self) -> float | None:
        """The price grid, quote currency; None if the prices lie on no grid."""
        return self.steps.in_units_of(self.coins).price

    @property
    def size_step(self) -> float | None:
        """The grid of sizes, units; None if the sizes lie on no grid."""
        return self.steps.in_units_of(self.coins).size

    @property
    def duration_s(self) -> float:
        """Seconds from the first row received to the last one."""
        return (self.last_ns - self.first_ns) / 1e9

    def in_units_of(self, coins: float) -> "TapeFile":
        """Return the same tape in units of so many coins, see `Tape.in_units_of`; nothing is read yet."""
        if unit_is_one(coins):
            return self
        return dataclasses.replace(self, symbol=symbol_in_units(self.symbol, coins), coins=self.coins * coins)

    def chunks(self, rows: int = 1_000_000) -> Iterator[tuple[Quotes, Trades]]:
        """Yield the tape in the order of rows, like `Tape.chunks`, holding no more than about one piece in memory.

        Args:
            rows: Quotes and trades of a piece together, at most; a piece is never larger than what the file was written
                in, which is about half a million rows.

        Raises:
            TapeError: The file is damaged, or not the one that was opened.
        """
        check_rows(rows)
        done = 0
        for table in _tables(self, rows):
            end = done + len(table["kind"])
            try:
                piece = Parts.of(table)
            except ValueError as error:
                raise TapeError(f"{self.path}: damaged between rows {done:,} and {end:,}: {error}") from None
            del table
            done = end
            yield piece if self.coins == 1 else self._in_units(*piece)
            del piece  # before the next one is read

    def _in_units(self, quotes: Quotes, trades: Trades) -> tuple[Quotes, Trades]:
        return in_units(quotes, self.coins, steps=self.steps), in_units(trades, self.coins, steps=self.steps)

    def __repr__(self) -> str:
        rows = f"{self.n_quotes:,} quotes, {self.n_trades:,} trades, {self.duration_s:,.1f} s"
        return f"TapeFile({self.venue} {self.symbol}: {rows} in {self.path.name})"


def open_tape(path: str | Path) -> TapeFile:
    """Open a parquet tape without reading its rows.

    Raises:
        TapeError: The file is missing, cut off, damaged, no tape, or of a newer version.
        ImportError: pyarrow is not installed.
    """
    path = Path(path)
    with _parquet_file(path) as file:
        meta = _meta(path, file)
        rows = file.metadata.num_rows
    try:
        tape = TapeFile(
            path=path,
            venue=meta["venue"],
            symbol=meta["symbol"],
            steps=Steps(price=meta["price_step"], size=meta["size_step"]),
            first_ns=meta["first_ns"],
            last_ns=meta["last_ns"],
            quoted_ns=(meta["quoted_ns"][0], meta["quoted_ns"][1]),
            n_quotes=meta["n_quotes"],
            n_trades=meta["n_trades"],
            report=_report(meta["report"]),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise TapeError(f"{path}: its description is not one of a tape: {error!r}") from None
    if rows != tape.n_quotes + tape.n_trades:
        raise TapeError(f"{path}: damaged: {rows:,} rows, but {tape.n_quotes:,} quotes and {tape.n_trades:,} trades")
    return tape


def opened(path: Path, symbol: str | None) -> TapeFile:
    """Open a file that must hold a symbol.

    Raises:
        TapeError: As `open_tape`, or the file holds another symbol.
    """
    tape = open_tape(path)
    if symbol is not None and symbol.upper() != tape.symbol.upper():
        raise TapeError(f"{path}: no quotes of {symbol}; the file holds {tape.symbol}")
    return tape


def read(path: Path, symbol: str | None) -> Tape:
    """Read a whole file, see `hftgym.tape.read_tape`.

    Raises:
        TapeError: As `open_tape` and `TapeFile.chunks`, or the file holds another symbol.
    """
    tape = opened(path, symbol)
    parts = Parts(quotes=tape.n_quotes, trades=tape.n_trades)
    try:
        for table in _tables(tape, ROWS):
            parts.add(table)
        quotes, trades = parts.done()
    except TapeError:
        raise
    except ValueError as error:
        raise TapeError(f"{path}: damaged: {error}") from None
    return Tape(
        venue=tape.venue, symbol=tape.symbol, quotes=quotes, trades=trades, report=tape.report, steps=tape.steps
    )


def description(tape: Mapping[str, Any], report: TapeReport) -> dict[str, str]:
    """Return a file's metadata: version, `tape` (the fields of `TapeFile`), report, and a checksum of it all."""
    text = json.dumps({"version": VERSION, **tape, "report": dataclasses.asdict(report)}, default=str)
    return {KEY: text, f"{KEY}.crc32": str(zlib.crc32(text.encode()))}


def _report(found: Mapping[str, Any]) -> TapeReport:
    values: dict[str, Any] = {}
    for name, kind in typing.get_type_hints(TapeReport).items():
        if kind is Findings and name in found:
            first = tuple((int(line), str(what)) for line, what in found[name]["first"])
            values[name] = Findings(count=int(found[name]["count"]), first=first)
        elif name in found:
            make = Path if kind is Path else tuple if typing.get_origin(kind) is tuple else None
            values[name] = make(found[name]) if make else found[name]
    return TapeReport(**values)


def _parquet_file(path: Path) -> Any:
    pa, pq = arrow()
    if not path.is_file():
        raise TapeError(f"{path}: {'is a directory; pass the path of one file' if path.is_dir() else 'no such file'}")
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TapeError(f"{path}: cut off, damaged, or no parquet file: {_short(error)}") from None


def _meta(path: Path, file: Any) -> dict[str, Any]:
    stored = {key.decode(errors="replace"): value for key, value in (file.metadata.metadata or {}).items()}
    text, crc32 = stored.get(KEY), stored.get(f"{KEY}.crc32", b"")
    if text is None or crc32 is None:
        found = ", ".join(file.schema_arrow.names[:12])
        raise TapeError(f"{path}: a parquet file, but no tape: it has the columns {found}. Expected {EXPECTED}")
    if crc32 != str(zlib.crc32(text)).encode():
        raise TapeError(f"{path}: damaged: the checksum of its description does not match")
    meta = json.loads(text)
    if meta.get("version") != VERSION:
        raise TapeError(
            f"{path}: a tape of version {meta.get('version')}; this hftgym reads version {VERSION}: update it"
        )
    if not file.schema_arrow.remove_metadata().equals(schema()):
        raise TapeError(f"{path}: damaged: its columns must be {schema()}, got {file.schema_arrow}")
    return meta


def _tables(tape: TapeFile, rows: int) -> Iterator[Columns]:
    """Yield the file's rows as tables of at most so many."""
    pa, _ = arrow()
    done, total = 0, tape.n_quotes + tape.n_trades
    with _parquet_file(tape.path) as file:
        if file.metadata.num_rows != total:
            raise TapeError(f"{tape.path}: {file.metadata.num_rows:,} rows, but {total:,} when it was opened")
        # Group by group: iter_batches holds several of them in memory.
        for group in range(file.num_row_groups):
            try:
                found = file.read_row_group(group, use_threads=False)
            except MemoryError:
                raise
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                raise TapeError(f"{tape.path}: damaged after row {done:,}: {_short(error)}") from None
            table = {name: found[name].to_numpy() for name in DTYPES}
            done += found.num_rows
            del found
            for start in range(0, len(table["kind"]), rows):
                yield {name: column[start : start + rows] for name, column in table.items()}
            del table  # before the next one is read
        if done != total:
            raise TapeError(f"{tape.path}: damaged: {done:,} rows where {total:,} must be")


def _short(error: Exception) -> str:
    text = str(error).partition("\n")[0]
    return text if len(text) <= 200 and text else type(error).__name__ + " " + text[:200]
