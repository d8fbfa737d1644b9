"""A recording that is being read: pieces of quotes and trades, and in the end what it was."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hftgym.tape.builder import Summary, TapeBuilder
from hftgym.tape.parquet import open_tape
from hftgym.tape.report import TapeError
from hftgym.tape.types import Quotes, Trades

Piece = tuple[Quotes, Trades]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the caller wants of a file.

    Attributes:
        symbol: The market to keep, in the venue's spelling; None keeps the only one there is.
        columns: For tables: what a column means -> its name in the file; None for what is not given.
        rows: About how many rows a piece has.
        needs_quotes: Refuse a file that has none.
    """

    symbol: str | None = None
    columns: Mapping[str, str] | None = None
    rows: int = 1_000_000
    needs_quotes: bool = True


class Recording(Protocol):
    """Iterate once for the pieces, in the order of the file; then ask for the summary."""

    def __iter__(self) -> Iterator[Piece]: ...

    @property
    def summary(self) -> Summary:
        """What it was; after the last piece."""
        ...


Feed = Callable[[Path, TapeBuilder, Choice], Iterator[None]]
"""Reads a file into a builder and yields after every few hundred lines, so that the rows can be taken away."""


class FileRecording:
    """One file, read by a feed in memory that the length of the file does not change."""

    def __init__(self, path: Path, choice: Choice, *, feed: Feed, expected: str) -> None:
        self._builder = TapeBuilder(path, choice.symbol, expected=expected)
        self._choice = choice
        self._feed = feed(path, self._builder, choice)
        self._summary: Summary | None = None

    def __iter__(self) -> Iterator[Piece]:
        for _ in self._feed:
            if self._builder.held >= self._choice.rows:
                yield self._builder.take()
        self._builder.close()
        last = self._builder.take()
        self._summary = self._builder.summary(needs_quotes=self._choice.needs_quotes)
        if any(map(len, last)):
            yield last

    @property
    def summary(self) -> Summary:
        """What the file is, after the last piece."""
        return known(self._summary)


class TapeRecording:
    """A parquet tape."""

    def __init__(self, path: Path, choice: Choice) -> None:
        self._tape = open_tape(path)
        self._rows = choice.rows
        if choice.symbol not in (None, self._tape.symbol.upper()):
            raise TapeError(f"{path}: no quotes or trades of symbol {choice.symbol!r}; it holds {self._tape.symbol}")

    def __iter__(self) -> Iterator[Piece]:
        return self._tape.chunks(self._rows)

    @property
    def summary(self) -> Summary:
        """What the file says about itself."""
        return Summary(self._tape.venue, self._tape.symbol, self._tape.report, aggregates=False)


def known(summary: Summary | None) -> Summary:
    """Return a summary that must be there by now.

    Raises:
        RuntimeError: The recording has not been read to its end.
    """
    if summary is None:
        raise RuntimeError("a recording's venue, symbol and report are known after its last piece: iterate to the end")
    return summary
