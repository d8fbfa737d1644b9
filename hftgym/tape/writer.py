"""`TapeWriter` and `write_tape`: tapes of any length into parquet files, in bounded memory."""

import fcntl
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Generic

import numpy as np

from hftgym.tape.columns import Parts, joined
from hftgym.tape.journal import Journal, journal_path, market_of
from hftgym.tape.order import BEFORE_ALL, received_ns
from hftgym.tape.parquet import ENCODING, ROWS, arrow, description, schema
from hftgym.tape.report import TapeError, TapeReport
from hftgym.tape.rows import Quotes, Rows, Trades, rows_of, stacked
from hftgym.tape.steps import Grid, Steps
from hftgym.tape.types import Tape
from hftgym.tape.watch import Watch

_NEVER = int(np.iinfo(np.int64).max)
SETTLE_S = 10.0  # of receipt, after which a row has its place
_SETTLE_NS = round(SETTLE_S * 1e9)


def write_tape(tape: Tape, path: str | os.PathLike[str]) -> None:
    """Write a tape as one parquet file; a file of that name is replaced when the new one is complete.

    Raises:
        OSError: The file cannot be written; nothing is left of it.
        ImportError: pyarrow is not installed.
    """
    steps = Steps(price=tape.price_step, size=tape.size_step)
    with TapeWriter(path, venue=tape.venue, symbol=tape.symbol, steps=steps) as writer:
        for quotes, trades in tape.chunks(rows=ROWS):
            writer.write(quotes, trades)
        writer.close(report=tape.report)


def finish_tape(path: str | os.PathLike[str]) -> None:
    """Write the tape of a recording that was killed, from its journal.

    Args:
        path: The tape; its journal lies beside it.

    Raises:
        TapeError: There is no journal, or it is damaged.
        OSError: The file cannot be written.
    """
    venue, symbol = market_of(journal_path(Path(path)))
    TapeWriter(path, venue=venue, symbol=symbol, journal=True).close()


class TapeWriter:
    """Writes a parquet tape piece by piece.

    The file is written under the name `<path>.partial` and renamed when it is complete: whatever is called `path` is a
    whole tape, at every moment. Rows wait in memory until a row group is full and no row can come before them any more.
    There is one writer of a path at a time; the lock is the system's and ends with the process.

    Args:
        path: The file to write; one of that name is replaced at `close`.
        venue: Where, for example "binance-spot". It and the symbol may be told to `close` instead, unless there is a
            journal.
        symbol: What, in the venue's own spelling.
        steps: The grids of prices and sizes; measured if None.
        journal: Keep all rows in the raw file `<path>.journal` too until the tape is closed. For recorders, which
            cannot read their source again: if the process is killed, all that `write` has returned from is still there;
            if the machine loses power, what came in the second before the last `write` may be missing. A writer of the
            same path with `journal=True` takes it up and goes on.

    Raises:
        OSError: A file cannot be written.
        ValueError: A name that the journal needs is empty.
        TapeError: Somebody else is writing this tape; or the journal there is of another market, or damaged.
        ImportError: pyarrow is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        venue: str = "",
        symbol: str = "",
        steps: Steps | None = None,
        journal: bool = False,
    ) -> None:
        if journal:
            _check_names(venue, symbol)
        self.path = Path(path)
        self._file: Any = None
        self._journal: Journal | None = None
        self._discarded = False
        self._names = (venue, symbol)
        self._steps = steps
        self._grids = (Grid(), Grid())
        self._watch = Watch()
        self._quotes: _Waiting[Quotes] = _Waiting()
        self._trades: _Waiting[Trades] = _Waiting()
        self._settle_at = ROWS
        self._partial = self.path.with_name(f"{self.path.name}.partial")
        self._lock: BinaryIO | None = None
        _, pq = arrow()
        with self._named_errors():
            self._lock = _locked(self._partial)
            self._file = pq.ParquetWriter(self._partial, schema(), **ENCODING)
        if journal:
            self._take_up(venue, symbol)

    def write(self, quotes: Quotes, trades: Trades) -> None:
        """Add rows, in the order in which they were received within each kind.

        Rows of one kind may come up to 10 s of receipt later than younger rows of the other kind.

        Raises:
            TapeError: They come later than that: the order of rows could not be kept.
            OSError: The file cannot be written, for example on a full disk. What was written so far is removed, unless
                there is a journal.
        """
        if self._file is None:
            raise ValueError(f"{self.path}: the tape is {'discarded' if self._discarded else 'closed'}")
        late_ns = self._clock_ns - min(self._quotes.first_ns(quotes), self._trades.first_ns(trades))
        if late_ns > _SETTLE_NS:
            raise TapeError(
                f"{self.path}: rows come {late_ns / 1e9:,.3f} s after younger ones; while writing, at most "
                f"{SETTLE_S:g} s can be put in order: a clock was set back; or write the whole tape at once: write_tape"
            )
        with self._named_errors():
            if self._journal:
                self._journal.append(joined(quotes, trades))
            self._add(quotes, trades)

    def close(self, *, venue: str | None = None, symbol: str | None = None, report: TapeReport | None = None) -> None:
        """Write what is left and give the file its name.

        Args:
            venue: Where, by default as told before.
            symbol: What, by default as told before.
            report: What a reader found in the source; by default what the rows themselves show.

        Raises:
            TapeError: There is no quote.
            ValueError: A name is empty, or the tape was discarded.
            OSError: The file cannot be written.
        """
        if self._discarded:
            raise ValueError(f"{self.path}: the tape was discarded and cannot be closed")
        if self._file is None:
            return
        venue, symbol = venue or self._names[0], symbol or self._names[1]
        with self._named_errors():
            _check_names(venue, symbol)
            self._settle(None)
            if self._watch.quoted_ns is None:
                raise TapeError(f"{self.path}: a tape needs at least one quote, none was written")
            price, size = self._grids
            steps = self._steps or Steps(price=price.step, size=size.step)
            told = {"venue": venue, "symbol": symbol, "price_step": steps.price, "size_step": steps.size}
            told |= self._watch.told()
            self._file.add_key_value_metadata(description(told, report or self._watch.report(self.path)))
            self._file.close()
            self._file = None
            _rename(self._partial, self.path)
            if self._journal:
                self._journal.remove()
            self._unlock()

    def discard(self) -> None:
        """Stop and leave nothing behind but the journal, if there is one."""
        file, self._file = self._file, None
        self._discarded = True
        if file is not None:
            with suppress(OSError):  # closing writes the end of the file, and the disk may be full
                file.close()
        if self._lock is not None:
            self._partial.unlink(missing_ok=True)
        if self._journal:
            self._journal.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> "TapeWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _take_up(self, venue: str, symbol: str) -> None:
        with self._named_errors():
            journal = Journal(journal_path(self.path), venue=venue, symbol=symbol)
            self._journal = journal
            for quotes, trades in journal.pieces():
                self._add(quotes, trades)

    @property
    def _clock_ns(self) -> int:
        return max(self._quotes.clock_ns, self._trades.clock_ns)

    def _add(self, quotes: Quotes, trades: Trades) -> None:
        self._quotes.add(quotes)
        self._trades.add(trades)
        if self._quotes.count + self._trades.count >= self._settle_at:
            self._settle(self._clock_ns - _SETTLE_NS)
            self._settle_at = max(ROWS, 2 * (self._quotes.count + self._trades.count))

    def _settle(self, until_ns: int | None) -> None:
        """Write the rows received before a time, or all."""
        quotes, trades = self._quotes.take(until_ns) or _NO_QUOTES, self._trades.take(until_ns) or _NO_TRADES
        table = joined(quotes, trades, since_ns=self._watch.clock_ns)
        self._watch.add(table, quotes)
        if self._steps is None:
            price, size = self._grids
            for grid, columns in (
                (price, (quotes.bid, quotes.ask, trades.price)),
                (size, (quotes.bid_size, quotes.ask_size, trades.size)),
            ):
                for column in columns:
                    grid.add(column)
        pa, _ = arrow()
        if rows := len(table["kind"]):
            groups = math.ceil(rows / (2 * ROWS))
            self._file.write_table(pa.table(dict(table), schema=schema()), row_group_size=math.ceil(rows / groups))

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Leave nothing half written, and say which file it was."""
        try:
            yield
        except OSError as error:
            self.discard()
            kept = f"; its rows are kept in {self._journal.path}" if self._journal else "; nothing of it is left"
            raise OSError(f"{self.path}: the tape cannot be written: {error}{kept}") from error
        except BaseException:
            self.discard()
            raise


_NO_QUOTES, _NO_TRADES = Parts(quotes=0, trades=0).done()


class _Waiting(Generic[Rows]):
    """Rows of one kind that wait for their place."""

    def __init__(self) -> None:
        self.count = 0
        self.clock_ns = BEFORE_ALL  # running maximum of local_ns
        self._taken_ns = BEFORE_ALL  # the same when rows were last taken
        self._pieces: list[Rows] = []

    def first_ns(self, rows: Rows) -> int:
        """Return when the first of some more rows was received."""
        return max(self.clock_ns, int(rows.local_ns[0])) if len(rows) else _NEVER

    def add(self, rows: Rows) -> None:
        if len(rows):
            self.count += len(rows)
            self.clock_ns = max(self.clock_ns, int(rows.local_ns.max()))
            self._pieces.append(rows)

    def take(self, until_ns: int | None) -> Rows | None:
        """Hand out the rows received before a time, or all; None if there are none."""
        if not self._pieces:
            return None
        rows = stacked(self._pieces)
        received = received_ns(rows, since_ns=self._taken_ns)
        count = len(rows) if until_ns is None else int(np.searchsorted(received, until_ns, side="left"))
        self._taken_ns = int(received[count - 1]) if count else self._taken_ns
        self._pieces = [rows_of(rows, count, len(rows))] if count < len(rows) else []
        self.count = len(rows) - count
        return rows_of(rows, 0, count)


def _check_names(venue: str, symbol: str) -> None:
    for name, value in (("venue", venue), ("symbol", symbol)):
        if not isinstance(value, str) or not value:
            raise ValueError(f"{name} must be a name, got {value!r}")


def _locked(partial: Path) -> BinaryIO:
    """Open a file that nobody else is writing, and hold it until it is closed.

    Raises:
        TapeError: Somebody is writing it.
    """
    while True:
        file = partial.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), partial.stat()):
                return file
        except BlockingIOError:
            file.close()
            raise TapeError(f"{partial}: another process or writer is writing this tape: choose another name") from None
        except FileNotFoundError:
            pass
        file.close()  # its writer gave it its name, or removed it, before it could be locked here


def _rename(partial: Path, path: Path) -> None:
    """Give a complete file its name, so that it is whole even after a loss of power."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
