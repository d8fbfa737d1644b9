"""LOBSTER's message and orderbook files: row i of the one is the event, row i of the other the book after it.

`TICKER_date_start_end_message_levels.csv` and `..._orderbook_levels.csv`, as LOBSTER's documentation of its output
describes them: prices times 10,000, time in seconds after midnight in New York, direction +1 for a resting buy order.
A quote is a row whenever the first level changes; trades are the executions of visible (4) and hidden (5) orders.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date, datetime
from itertools import chain, islice
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from hftgym.tape.binance_dump import NO_LOCAL_TIMES
from hftgym.tape.builder import TapeBuilder
from hftgym.tape.delimited import Block, Field, parse
from hftgym.tape.lines import read_blocks, read_head
from hftgym.tape.recording import Choice
from hftgym.tape.report import TapeError

EXPECTED = "34200.004241176,1,16113575,18,5853300,1 (AAPL_2012-06-21_..._message_10.csv beside ..._orderbook_10.csv)"
VENUE = "nasdaq"

_NAME = re.compile(r"(.+?)_(\d{4})-(\d\d)-(\d\d)_(?:.*_)?(message|orderbook)(_.*)?")
_MESSAGE_LINE = re.compile(rb"\d{1,5}(\.\d+)?,[1-7],-?\d+,-?\d+,-?\d+,-?1\r?")
_BOOK_LINE = re.compile(rb"(-?\d+,-?\d+,-?\d+,-?\d+)(,-?\d+,-?\d+,-?\d+,-?\d+)*\r?")
_MESSAGE = (
    *(Field("time", "float"), Field("type", "int"), Field("order id", "skip")),
    *(Field("size", "int"), Field("price", "int"), Field("direction", "int")),
)
_LEVEL = tuple(Field(name, "int") for name in ("ask", "ask_size", "bid", "bid_size"))  # the file's order
_SCALE = 10_000.0
_NOBODY = 9_999_999_999  # stands for an ask that is not there, its negative for a bid
_DAY_S = 86_400
_ROWS = 4_096
_TYPES = {1: "submission", 2: "partial cancellation", 3: "deletion", 6: "cross trade", 7: "trading halt"}


def recognises(head: bytes, path: Path) -> bool:
    """Tell whether the first line has the shape of an event or of a book, and the name is one of LOBSTER's."""
    first = head.partition(b"\n")[0]
    return any(line.fullmatch(first) for line in (_MESSAGE_LINE, _BOOK_LINE)) and "_" in path.name


def message_path(path: Path) -> Path:
    """Return the message file of a pair, whichever of both is given."""
    before, found, after = path.name.rpartition("_orderbook")
    return path.with_name(f"{before}_message{after}") if found else path


def feed(path: Path, builder: TapeBuilder, choice: Choice) -> Iterator[None]:
    """Read a pair of files into the builder, see `hftgym.tape.recording.Feed`."""
    messages, books, symbol, midnight_ns = _pair(path)
    builder.note(NO_LOCAL_TIMES)
    pair = _Pair(builder, symbol, midnight_ns)
    levels = (read_head(books).partition(b"\n")[0].count(b",") + 1) // 4
    fields = (*_LEVEL, *(Field(f"level {i // 4 + 2}, field {i % 4}", "skip") for i in range(4 * (levels - 1))))
    with closing(read_blocks(messages)) as events, closing(read_blocks(books)) as states:
        event_lines, state_lines = chain.from_iterable(events), chain.from_iterable(states)
        while True:
            lines = list(islice(event_lines, _ROWS)), list(islice(state_lines, _ROWS))
            if len(lines[0]) != len(lines[1]):
                raise TapeError(f"{messages} and {books.name} must have equally many lines; one is cut off")
            if not lines[0]:
                return
            first = builder.lines // 2 + 1
            message_rows = parse(lines[0], _MESSAGE, first=first, builder=builder)
            pair.add(message_rows, parse(lines[1], fields, first=first, builder=builder))
            builder.advance(2 * len(lines[0]))
            yield


class _Pair:
    """Hands events and books to the builder; lines of both files have the same number."""

    def __init__(self, builder: TapeBuilder, symbol: str, midnight_ns: int) -> None:
        self._builder, self._symbol, self._midnight_ns = builder, symbol, midnight_ns
        self._touch = np.full((1, 4), np.nan)

    def add(self, events: Block, states: Block) -> None:
        """Take the good lines of a block of both files."""
        events = events.demand(
            "time", (events["time"] >= 0) & (events["time"] < _DAY_S), "a time of day", self._builder
        )
        events = events.demand("type", np.isin(events["type"], range(1, 8)), "1 to 7", self._builder)
        time_ns = self._midnight_ns + np.round(events["time"] * 1e9).astype(np.int64)
        self._builder.clocks(time_ns, events.lines)
        self._trades(events, time_ns)
        self._quotes(states, events.lines, time_ns)

    def _trades(self, events: Block, time_ns: np.ndarray) -> None:
        for kind, name in _TYPES.items():
            self._builder.ignore(name, int((events["type"] == kind).sum()))
        is_trade = np.isin(events["type"], (4, 5))
        times = dict(zip(events.lines.tolist(), time_ns.tolist(), strict=True))
        trades = events.keep(is_trade).positive(("price", "size"), self._builder)
        trades = trades.demand("direction", np.abs(trades["direction"]) == 1, "1 or -1", self._builder)
        time = np.array([times[line] for line in trades.lines.tolist()], dtype=np.int64)
        columns = (time, time, trades["price"] / _SCALE, trades["size"], -trades["direction"])
        self._builder.trades(columns, trades.lines, venue=VENUE, symbol=self._symbol)

    def _quotes(self, states: Block, event_lines: np.ndarray, time_ns: np.ndarray) -> None:
        at = np.searchsorted(event_lines, states.lines).clip(max=max(len(event_lines) - 1, 0))
        known = event_lines[at] == states.lines if len(event_lines) else np.zeros(len(states), dtype=np.bool_)
        self._builder.ignore("books after an event that cannot be read", int((~known).sum()))
        states, time = states.keep(known), time_ns[at[known]]
        empty = (states["bid"] <= -_NOBODY) | (states["ask"] >= _NOBODY)
        self._builder.ignore("books with an empty side", int(empty.sum()))
        time, states = time[~empty], states.keep(~empty)
        if len(states) == 0:
            return
        scaled = np.stack(
            [states[n] / (1.0 if "size" in n else _SCALE) for n in ("bid", "bid_size", "ask", "ask_size")]
        )
        touch = np.concatenate((self._touch, scaled.T))
        self._touch = touch[-1:]
        changed = (touch[1:] != touch[:-1]).any(axis=1)
        self._builder.ignore("books with the same touch", int((~changed).sum()))
        quotes = states.keep(changed)
        columns = (time[changed], time[changed], *(column[changed] for column in scaled))
        good = (np.stack(columns[2:]) > 0).all(axis=0)
        for i in np.flatnonzero(~good):
            self._builder.bad(
                int(quotes.lines[i]), f"prices and sizes of a book must be above 0, got {touch[1:][changed][i]}"
            )
        chosen = [column[good] for column in columns]
        self._builder.quotes(chosen, quotes.lines[good], venue=VENUE, symbol=self._symbol)


def _pair(path: Path) -> tuple[Path, Path, str, int]:
    """Return both files, the symbol and midnight in New York in ns since 1970."""
    named = _NAME.fullmatch(path.name)
    if not named:
        raise TapeError(
            f"{path}: looks like a LOBSTER file, but its name does not say ticker, date and which of both it is; "
            "it must be as LOBSTER gives it, such as AAPL_2012-06-21_34200000_57600000_message_10.csv"
        )
    messages = message_path(path)
    before, _, after = messages.name.rpartition("_message")
    books = messages.with_name(f"{before}_orderbook{after}")
    for one in (messages, books):
        if not one.is_file():
            raise TapeError(f"{path}: a LOBSTER recording is a pair of files, and {one.name} is not beside it")
    return messages, books, named[1].upper(), _midnight_ns(path, [int(part) for part in named.groups()[1:4]])


def _midnight_ns(path: Path, parts: Sequence[int]) -> int:
    try:
        day = date(*parts)
    except ValueError as error:
        raise TapeError(f"{path}: the date in its name is no date ({error})") from error
    if not 1970 <= day.year < 2116:
        raise TapeError(f"{path}: the date in its name must be from 1970 to 2115, got {day}")
    try:
        zone = ZoneInfo("America/New_York")
    except ZoneInfoNotFoundError as error:
        raise TapeError(f"{path}: this system does not know New York's time: pip install tzdata") from error
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 10**9
