"""Tables with named columns, CSV or parquet: quotes, trades, or both in one table.

A row is a quote if it has bid or ask, a trade if it has a price, and may be both; what does not apply to a row is null,
NaN or an empty cell. Common names are found by themselves, others are given as `columns={meaning: name}`.
"""

import csv
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from hftgym.tape.binance_dump import NO_LOCAL_TIMES
from hftgym.tape.builder import TapeBuilder
from hftgym.tape.delimited import Block, Field, Kind, parse
from hftgym.tape.lines import read_blocks, read_head
from hftgym.tape.messages import shown
from hftgym.tape.recording import Choice
from hftgym.tape.report import TapeError
from hftgym.tape.table_columns import is_quotes, is_trades, looks_like_table, meanings, taker_sides, times_ns
from hftgym.tape.types import NO_TIME

EXPECTED = "a first line (or a parquet schema) such as time,bid,bid_size,ask,ask_size or time,price,size,side"

_PARQUET = b"PAR1"
_ROWS = 65_536
_NUMBERS = ("bid", "bid_size", "ask", "ask_size", "price", "size")
_QUOTE, _TRADE = ("bid", "bid_size", "ask", "ask_size"), ("price", "size")


def recognises(head: bytes, path: Path) -> bool:
    """Tell whether the file is parquet, or text whose first line names columns of a tape."""
    return head.startswith(_PARQUET) or looks_like_table(_header(head))


def feed(path: Path, builder: TapeBuilder, choice: Choice) -> Iterator[None]:
    """Read a table into the builder, see `hftgym.tape.recording.Feed`. In a parquet file, a line is a row."""
    head = read_head(path)
    if head.startswith(_PARQUET):
        yield from _feed_parquet(path, builder, choice)
        return
    names = _header(head)
    table = _Table(meanings(names, choice.columns, path), builder, choice)
    kinds: dict[str, Kind] = {n: "number" if meaning in _NUMBERS else "text" for meaning, n in table.found.items()}
    fields = [Field(name, kinds.get(name, "skip")) for name in names]
    with closing(read_blocks(path)) as blocks:
        for lines in blocks:
            is_first = builder.lines == 0
            builder.ignore("header", int(is_first))
            rows = parse(lines[is_first:], fields, first=builder.lines + 1 + is_first, builder=builder)
            table.add(Block({m: rows[name] for m, name in table.found.items()}, rows.lines))
            builder.advance(len(lines))
            yield


class _Table:
    """Takes columns by their meaning and hands their rows to the builder."""

    def __init__(self, found: dict[str, str], builder: TapeBuilder, choice: Choice) -> None:
        self.found = found
        self._builder = builder
        if "symbol" not in found and choice.symbol is None:
            raise TapeError(f"{builder.path}: the table has no symbol column, it does not say its market: pass symbol=")
        self._symbol = choice.symbol
        if "local_time" not in found:
            builder.note(NO_LOCAL_TIMES)
        if is_quotes(found) and not found.keys() >= {"bid_size", "ask_size"}:
            builder.note("the file has no sizes of bid and ask: they stand as 1")
        if "price" in found and not is_trades(found):
            builder.note(f"{found['price']!r} is not read as trades: there is no size and side to it")

    def add(self, rows: Block) -> None:
        """Take the next rows."""
        rows, is_quote, is_trade = self._sorted(self._with_times(rows))
        self._builder.clocks(rows["local_ns"], rows.lines)
        symbols = rows["symbol"] if "symbol" in rows.columns else np.full(len(rows), self._symbol, dtype=np.object_)
        for symbol in dict.fromkeys(symbols.tolist()):
            own = symbols == symbol
            chosen = rows.keep(own & is_quote)
            self._builder.quotes(self._columns(chosen, _QUOTE), chosen.lines, venue="", symbol=symbol)
            chosen = rows.keep(own & is_trade)
            columns = (*self._columns(chosen, _TRADE), chosen.columns.get("taker_side", np.empty(0)))
            self._builder.trades(columns, chosen.lines, venue="", symbol=symbol)

    def _with_times(self, rows: Block) -> Block:
        """Return the rows that have their times, as `exchange_ns` and `local_ns`."""
        for meaning in ("time", "local_time"):
            if meaning in self.found:
                rows.columns[f"{meaning}_ns"] = times_ns(rows[meaning])
                good = rows[f"{meaning}_ns"] > 0
                rows = rows.demand(meaning, good, "a time since 1970 (s, ms, µs, ns) or ISO in UTC", self._builder)
        columns = rows.columns
        own = columns.get("local_time_ns")
        columns["exchange_ns"] = columns["time_ns"] if "time_ns" in columns else np.full(len(rows), NO_TIME)
        columns["local_ns"] = columns["exchange_ns"] if own is None else own
        return rows

    def _sorted(self, rows: Block) -> tuple[Block, np.ndarray, np.ndarray]:
        """Return the good rows, and which of them are quotes and which trades."""
        kinds = []
        for names, present in ((_QUOTE, is_quotes(self.found)), (_TRADE, is_trades(self.found))):
            prices = [rows[name] for name in names if present and name in ("bid", "ask", "price")]
            kinds.append(
                np.any([~np.isnan(price) for price in prices], axis=0) if present else np.zeros(len(rows), bool)
            )
        rows.columns["is_quote"], rows.columns["is_trade"] = kinds
        self._builder.ignore("rows without a price", int((~(kinds[0] | kinds[1])).sum()))
        rows = rows.keep(kinds[0] | kinds[1])
        for names, kind in ((_QUOTE, "is_quote"), (_TRADE, "is_trade")):
            for name in names:
                if name in rows.columns:
                    good = ~rows[kind] | (np.isfinite(rows[name]) & (rows[name] > 0))
                    rows = rows.demand(name, good, "finite and above 0", self._builder)
        if is_trades(self.found):
            meaning = "side" if "side" in self.found else "is_buyer_maker"
            rows.columns["taker_side"] = taker_sides(rows[meaning], is_buyer_maker=meaning == "is_buyer_maker")
            good = ~rows["is_trade"] | (rows["taker_side"] != 0)
            rows = rows.demand(meaning, good, "buy or sell (or true or false)", self._builder)
        if "symbol" in rows.columns:
            good = np.array([isinstance(s, str) and 0 < len(s) <= 64 for s in rows["symbol"]], dtype=np.bool_)
            rows = rows.demand("symbol", good, "a name", self._builder)
        return rows, rows["is_quote"], rows["is_trade"]

    def _columns(self, rows: Block, names: Sequence[str]) -> list[np.ndarray]:
        ones = np.ones(len(rows))
        return [rows["exchange_ns"], rows["local_ns"], *(rows.columns.get(name, ones) for name in names)]


def _header(head: bytes) -> list[str]:
    """Return the names in the first line, none if it is no text."""
    try:
        line = head.partition(b"\n")[0].decode().removeprefix("\ufeff").removesuffix("\r")
        return [name.strip() for name in next(csv.reader([line], strict=True), [])]
    except (UnicodeDecodeError, csv.Error):
        return []


def _feed_parquet(path: Path, builder: TapeBuilder, choice: Choice) -> Iterator[None]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ImportError('parquet files need pyarrow: pip install "hftgym[tape]"') from error
    try:
        with pq.ParquetFile(path) as file:
            table = _Table(meanings(file.schema_arrow.names, choice.columns, path), builder, choice)
            for batch in file.iter_batches(_ROWS, columns=list(dict.fromkeys(table.found.values()))):
                columns = {m: _numpy(batch[name], m) for m, name in table.found.items()}
                table.add(Block(columns, np.arange(len(batch)) + builder.lines + 1))
                builder.advance(len(batch))
                yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TapeError(f"{path}: the parquet file cannot be read ({shown(str(error))})") from error


def _numpy(column: Any, meaning: str) -> np.ndarray:
    """Return an arrow column as numbers, times or texts; null is NaN, 0 or the text "None"."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if meaning in _NUMBERS:
        return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    if pa.types.is_timestamp(column.type):
        return pc.fill_null(column.cast(pa.timestamp("ns")).cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    if pa.types.is_integer(column.type):
        return pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    if pa.types.is_floating(column.type):
        return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.array(column.cast(pa.string()).to_pylist(), dtype=np.object_)
