"""Several recordings as one: files of the same market, merged by their time of receipt."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from hftgym.tape.builder import Summary
from hftgym.tape.order import received_ns
from hftgym.tape.recording import Choice, Piece, Recording, known
from hftgym.tape.report import TapeError, join_reports
from hftgym.tape.rows import Quotes, Rows, Trades, rows_of, stacked


class JoinedRecordings:
    """Several files of one market, merged by their time of receipt; within a file, its order holds.

    Memory: one piece of every file.
    """

    def __init__(self, recordings: Sequence[Recording], choice: Choice) -> None:
        self._recordings = recordings
        self._choice = choice
        self._summary: Summary | None = None

    def __iter__(self) -> Iterator[Piece]:
        streams = [_Stream(recording) for recording in self._recordings]
        open_streams = [stream for stream in streams if stream.pull()]
        while open_streams:
            limit = min(stream.last_ns for stream in open_streams)  # all rows before it have been read
            piece = merge([stream.split(limit) for stream in streams])
            if any(map(len, piece)):
                yield piece
            open_streams = [s for s in open_streams if s.last_ns > limit or s.pull()]
        rest = merge([stream.split(None) for stream in streams])
        self._summary = self._join([recording.summary for recording in self._recordings])
        if any(map(len, rest)):
            yield rest

    @property
    def summary(self) -> Summary:
        """What the files are, after the last piece."""
        return known(self._summary)

    def _join(self, parts: Sequence[Summary]) -> Summary:
        report = join_reports([part.report for part in parts])
        for what in ("venue", "symbol"):
            names = list(dict.fromkeys(value for part in parts if (value := getattr(part, what))))
            if len(names) > 1:
                raise TapeError(f"{report.path}: the files must be of one {what}, got {' and '.join(names)}")
        if len({part.aggregates for part in parts if part.report.trades}) > 1:
            raise TapeError(f"{report.path}: trades and aggTrades: each trade would count twice; give one")
        if self._choice.needs_quotes and not report.quotes:
            raise TapeError(f"{report.path}: no quotes in any of these files; a tape needs the best bid and ask")
        return Summary(next((p.venue for p in parts if p.venue), ""), parts[0].symbol, report, aggregates=False)


class _Stream:
    """One recording on its way into a merge: what has been read of it and not yet handed over."""

    def __init__(self, recording: Recording) -> None:
        self._pieces = iter(recording)
        self._held: list[Piece] = []
        self.last_ns = np.iinfo(np.int64).min

    def pull(self) -> bool:
        """Read the next piece; False at the end."""
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._held.append(piece)
        self.last_ns = max([self.last_ns, *(int(rows.local_ns.max()) for rows in piece if len(rows))])
        return True

    def split(self, limit: int | None) -> Piece:
        """Hand over the rows received before a time, in order, or all of them."""
        quotes, trades = merge(self._held)
        if limit is None:
            self._held = []
            return quotes, trades
        cuts = [int(np.searchsorted(received_ns(rows), limit, side="left")) for rows in (quotes, trades)]
        self._held = [(rows_of(quotes, cuts[0], len(quotes)), rows_of(trades, cuts[1], len(trades)))]
        return rows_of(quotes, 0, cuts[0]), rows_of(trades, 0, cuts[1])


def merge(pieces: Sequence[Piece]) -> Piece:
    """Return the rows of several pieces by their time of receipt; those of one piece keep their order."""
    return _merged(Quotes, [quotes for quotes, _ in pieces]), _merged(Trades, [trades for _, trades in pieces])


def concatenate(pieces: Sequence[Piece]) -> Piece:
    """Return the rows of all pieces, one behind the other."""
    quotes, trades = [quotes for quotes, _ in pieces], [trades for _, trades in pieces]
    return stacked(quotes or [no_rows(Quotes)]), stacked(trades or [no_rows(Trades)])


def no_rows(kind: type[Rows]) -> Rows:
    """Return none."""
    dtypes: dict[str, Any] = {"exchange_ns": np.int64, "local_ns": np.int64, "taker_side": np.int8}
    columns: dict[str, Any] = {f.name: np.empty(0, dtype=dtypes.get(f.name, np.float64)) for f in fields(kind)}
    return kind(**columns)


def _merged(kind: type[Rows], parts: Sequence[Rows]) -> Rows:
    filled = [part for part in parts if len(part)]
    if len(filled) < 2:
        return filled[0] if filled else no_rows(kind)
    order = np.argsort(np.concatenate([received_ns(part) for part in filled]), kind="stable")
    rows = stacked(filled)
    return kind(**{field.name: getattr(rows, field.name)[order] for field in fields(kind)})
