"""Collects the rows of one file, whatever its format, and turns them into a checked tape with its report."""

from array import array
from collections import Counter
from pathlib import Path

import numpy as np

from hftgym.tape.report import GAP_S, KEPT, Findings, TapeError, TapeReport
from hftgym.tape.types import Int64s, Quotes, Tape, Trades

QuoteRow = tuple[int, int, float, float, float, float]  # exchange_ns, local_ns, bid, bid_size, ask, ask_size
TradeRow = tuple[int, int, float, float, int]  # exchange_ns, local_ns, price, size, taker_side

_SAMPLE_LINES = 1_000  # of these more than half must be readable
_NAMED = 8  # symbols listed in an error


class _Log:
    """A count and its first places."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[tuple[int, str]] = []

    def add(self, line: int, what: str) -> None:
        self.count += 1
        if len(self.first) < KEPT:
            self.first.append((line, what))

    def findings(self) -> Findings:
        return Findings(count=self.count, first=tuple(self.first))


class TapeBuilder:
    """Takes every line of a file exactly once, as a quote, a trade, ignored or bad; `build` makes the tape.

    Args:
        path: The file, for messages.
        symbol: The market to keep; None keeps the only one there is.
        expected: What a line of this format looks like, for messages.
    """

    def __init__(self, path: Path, symbol: str | None, *, expected: str) -> None:
        self.path = path
        self._wanted = symbol
        self._kept = symbol  # without a choice: the first symbol seen
        self._expected = expected
        self._quotes = tuple(array(code) for code in "qqdddd")
        self._trades = tuple(array(code) for code in "qqddb")
        self._quote_lines = array("q")
        self._rows: Counter[tuple[str, str, str]] = Counter()  # (symbol, kind, venue), also of symbols not kept
        self._ignored: Counter[str] = Counter()
        self._bad = _Log()
        self._backwards = _Log()
        self._local_ns = 0

    def quote(self, row: QuoteRow, *, line: int, venue: str, symbol: str) -> None:
        """Add one quote."""
        self._rows[symbol, "quotes", venue] += 1
        if self._keeps(symbol):
            self._quote_lines.append(line)
            for column, value in zip(self._quotes, row, strict=True):
                column.append(value)

    def trade(self, row: TradeRow, *, venue: str, symbol: str) -> None:
        """Add one trade; venue "" where the message does not tell."""
        self._rows[symbol, "trades", venue] += 1
        if self._keeps(symbol):
            for column, value in zip(self._trades, row, strict=True):
                column.append(value)

    def ignore(self, name: str) -> None:
        """Count a well-formed line that is neither a quote nor a trade."""
        self._ignored[name] += 1

    def bad(self, line: int, reason: str) -> None:
        """Count a line that cannot be read.

        Raises:
            TapeError: It makes more than half of the first 1,000 lines bad: the file is something else.
        """
        self._bad.add(line, reason)
        if line <= _SAMPLE_LINES:
            self._check_sample(_SAMPLE_LINES)

    def clock(self, local_ns: int, line: int) -> None:
        """Compare the local time of a readable line with the previous one's."""
        if local_ns < self._local_ns:
            self._backwards.add(line, f"{(self._local_ns - local_ns) / 1e9:.9f} s before the line read before it")
        self._local_ns = local_ns

    def _check_sample(self, lines: int) -> None:
        if 2 * self._bad.count > lines:
            line, reason = self._bad.first[0]
            raise TapeError(
                f"{self.path}: {self._bad.count:,} of the first {lines:,} lines cannot be read, beginning with "
                f"line {line}: {reason}. Expected {self._expected}"
            )

    def build(self, lines: int) -> Tape:
        """Return the tape of a file with this many lines.

        Raises:
            TapeError: Mostly bad lines, several symbols or venues, or no quotes.
        """
        if lines < _SAMPLE_LINES:
            self._check_sample(lines)
        symbol = self._only_symbol()
        venue = self._only_venue(symbol)
        quotes = Quotes(**_columns(self._quotes, ("exchange_ns", "local_ns", "bid", "bid_size", "ask", "ask_size")))
        trades = Trades(**_columns(self._trades, ("exchange_ns", "local_ns", "price", "size", "taker_side")))
        ignored = self._ignored.copy()
        for (name, kind, _), count in self._rows.items():
            if name != symbol:
                ignored[f"{name} {kind}"] += count
        places = np.array(self._quote_lines, dtype=np.int64)
        report = TapeReport(
            path=self.path,
            lines=lines,
            quotes=len(quotes),
            trades=len(trades),
            ignored=dict(ignored),
            bad_lines=self._bad.findings(),
            crossed_quotes=_crossed(quotes, places),
            backwards=self._backwards.findings(),
            gaps=_gaps(quotes, places),
        )
        return Tape(venue=venue, symbol=symbol, quotes=quotes, trades=trades, report=report)

    def _keeps(self, symbol: str) -> bool:
        if self._kept is None:
            self._kept = symbol
        return symbol == self._kept

    def _only_symbol(self) -> str:
        symbols = list(dict.fromkeys(name for name, _, _ in self._rows))
        if self._wanted is not None and self._wanted not in symbols:
            raise TapeError(f"{self.path}: no quotes or trades of symbol {self._wanted!r}; it holds {self._contents()}")
        if self._wanted is None and len(symbols) > 1:
            raise TapeError(
                f"{self.path}: holds {len(symbols)} symbols: {self._contents()}; choose one: symbol={symbols[0]!r}"
            )
        symbol = self._wanted or next(iter(symbols), "")
        if not self._quotes[0]:
            raise TapeError(
                f"{self.path}: no quotes of symbol {symbol or '(none)'}; it holds {self._contents()}. A tape needs "
                "the best bid and ask: record that stream too (Binance: <symbol>@bookTicker)"
            )
        return symbol

    def _only_venue(self, symbol: str) -> str:
        venues = list(dict.fromkeys(venue for name, _, venue in self._rows if name == symbol and venue))
        if len(venues) > 1:
            raise TapeError(
                f"{self.path}: mixes messages of {' and '.join(venues)} for {symbol}; these are different markets: "
                "record them into separate files"
            )
        return venues[0]

    def _contents(self) -> str:
        by_symbol: dict[str, Counter[str]] = {}
        for (name, kind, _), count in self._rows.items():
            by_symbol.setdefault(name, Counter())[kind] += count
        texts = [f"{name} ({c['quotes']:,} quotes, {c['trades']:,} trades)" for name, c in by_symbol.items()]
        more = [f"{len(texts) - _NAMED} more"] if len(texts) > _NAMED else []
        other = [f"{count:,} {name}" for name, count in self._ignored.most_common(_NAMED)] if not texts else []
        return ", ".join(texts[:_NAMED] + more + other) or "no other message"


def _columns(columns: tuple[array, ...], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    dtypes = {"q": np.int64, "d": np.float64, "b": np.int8}
    return {n: np.array(c, dtype=dtypes[c.typecode]) for n, c in zip(names, columns, strict=True)}


def _crossed(quotes: Quotes, lines: Int64s) -> Findings:
    rows = np.flatnonzero(quotes.bid >= quotes.ask)
    first = tuple((int(lines[i]), f"bid {quotes.bid[i]} >= ask {quotes.ask[i]}, row {i}") for i in rows[:KEPT])
    return Findings(count=len(rows), first=first)


def _gaps(quotes: Quotes, lines: Int64s) -> Findings:
    step_ns = np.diff(quotes.local_ns)
    rows = np.flatnonzero(step_ns > int(GAP_S * 1e9)) + 1  # the row after the gap
    first = tuple((int(lines[i]), f"{step_ns[i - 1] / 1e9:.3f} s without a quote, row {i}") for i in rows[:KEPT])
    return Findings(count=len(rows), first=first)
