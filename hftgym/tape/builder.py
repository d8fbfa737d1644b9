"""Collects the rows of one file, whatever its format, hands them over in pieces, and writes the report."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hftgym.tape.gathering import Log, Rows
from hftgym.tape.report import GAP_S, LATE_S, TapeError, TapeReport
from hftgym.tape.types import Int64s, Quotes, Trades

QuoteRow = tuple[int, int, float, float, float, float]  # exchange_ns, local_ns, bid, bid_size, ask, ask_size
TradeRow = tuple[int, int, float, float, int]  # exchange_ns, local_ns, price, size, taker_side

_QUOTE_COLUMNS = ("exchange_ns", "local_ns", "bid", "bid_size", "ask", "ask_size")
_TRADE_COLUMNS = ("exchange_ns", "local_ns", "price", "size", "taker_side")
_SAMPLE_LINES = 1_000  # of these more than half must be readable
_DECISION_LINES = 100_000  # by then it is clear whether single trades are recorded, or aggregated ones alone
_LATE_NS = int(LATE_S * 1e9)
_NAMED = 8  # symbols listed in an error


class Summary(NamedTuple):
    """What a whole file turned out to be."""

    venue: str  # "" where nothing in the file tells
    symbol: str
    report: TapeReport
    aggregates: bool  # its trades are aggregated ones


class TapeBuilder:
    """Takes every line of a file exactly once, as a quote, a trade, ignored or bad.

    Args:
        path: The file, for messages.
        symbol: The market to keep; None keeps the only one there is.
        expected: What a line of this format looks like, for messages.

    Attributes:
        lines: Lines taken so far; whoever reads the file counts them with `advance`.
    """

    def __init__(self, path: Path, symbol: str | None, *, expected: str) -> None:
        self.path = path
        self.wanted = symbol
        self.lines = 0
        self._kept = symbol  # without a choice: the first symbol seen
        self._expected = expected
        self._quotes, self._trades, self._aggregates = Rows("qqdddd"), Rows("qqddb"), Rows("qqddb")
        self._aggregates_count: bool | None = None  # None: it is open whether they are the file's trades
        self._taken = 0
        self._last_quote_ns: int | None = None
        self._rows: Counter[tuple[str, str, str]] = Counter()  # (symbol, kind, venue), also of symbols not kept
        self._ignored: Counter[str] = Counter()
        self._numbers: dict[str, int] = {}
        self._notes: dict[str, None] = {}
        self._bad, self._backwards, self._crossed, self._gaps, self._lost, self._late = (Log() for _ in range(6))
        self._local_ns = self._latest_ns = 0

    @property
    def held(self) -> int:
        """Rows gathered since the last `take`; 0 while it is open which trades count."""
        undecided = self._aggregates_count is None and len(self._aggregates)
        return 0 if undecided else len(self._quotes) + len(self._trades)

    def quote(self, row: QuoteRow, *, line: int, venue: str, symbol: str) -> None:
        """Add one quote."""
        self._rows[symbol, "quotes", venue] += 1
        if self.keeps(symbol):
            self._quotes.append(row, line)

    def quotes(self, columns: Sequence[ArrayLike], lines: ArrayLike, *, venue: str, symbol: str) -> None:
        """Add many quotes: the columns of `QuoteRow`, each (n,), and their lines."""
        self._rows[symbol, "quotes", venue] += len(np.asarray(lines))
        if self.keeps(symbol):
            self._quotes.extend(columns, lines)

    def trade(self, row: TradeRow, *, line: int, venue: str, symbol: str, aggregate: bool = False) -> None:
        """Add one trade; venue "" where the message does not tell. See `trades`."""
        self.trades([[value] for value in row], [line], venue=venue, symbol=symbol, aggregate=aggregate)

    def trades(
        self, columns: Sequence[ArrayLike], lines: ArrayLike, *, venue: str, symbol: str, aggregate: bool = False
    ) -> None:
        """Add many trades: the columns of `TradeRow`, each (n,), and their lines.

        An aggregate stands for several trades. Where a file has both, from whichever stream, each trade is there
        twice: aggregates count only if no single trade comes within the first 100,000 lines, and then they alone do.
        """
        count = len(np.asarray(lines))
        self._rows[symbol, "aggTrades" if aggregate else "trades", venue] += count
        if not self.keeps(symbol) or not count:
            return
        if not aggregate and self._aggregates_count is None:
            self._choose_trades(aggregates=False)
        if self._aggregates_count is None:
            self._aggregates.extend(columns, lines)
        elif self._aggregates_count == aggregate:
            self._trades.extend(columns, lines)

    def ignore(self, name: str, count: int = 1) -> None:
        """Count well-formed lines that are neither quotes nor trades."""
        if count:
            self._ignored[name] += count

    def bad(self, line: int, reason: str) -> None:
        """Count a line that cannot be read.

        Raises:
            TapeError: It makes more than half of the first 1,000 lines bad: the file is something else.
        """
        self._bad.add(line, reason)
        if line <= _SAMPLE_LINES:
            self._check_sample(_SAMPLE_LINES)

    def clock(self, local_ns: int, line: int) -> None:
        """Compare the local time of a readable line with the previous one's, and with the latest one so far."""
        if self._latest_ns - local_ns > _LATE_NS:
            self._late.add(line, f"{(self._latest_ns - local_ns) / 1e9:.3f} s behind the latest time before it")
        self._latest_ns = max(self._latest_ns, local_ns)
        if local_ns < self._local_ns:
            self._backwards.add(line, f"{(self._local_ns - local_ns) / 1e9:.9f} s before the line read before it")
        self._local_ns = local_ns

    def clocks(self, local_ns: Int64s, lines: Int64s) -> None:
        """Do the same for many lines: both int64 (n,)."""
        if not len(local_ns):
            return
        latest_ns = np.maximum.accumulate(np.concatenate(([self._latest_ns], local_ns)))
        before_ns = np.concatenate(([self._local_ns], local_ns[:-1]))
        for i in np.flatnonzero((local_ns < before_ns) | (latest_ns[:-1] - local_ns > _LATE_NS)):
            self._local_ns, self._latest_ns = int(before_ns[i]), int(latest_ns[i])
            self.clock(int(local_ns[i]), int(lines[i]))
        self._local_ns, self._latest_ns = int(local_ns[-1]), int(latest_ns[-1])

    def number(self, stream: str, number: int, *, line: int, symbol: str, sent: bool = False) -> None:
        """Compare a running number of the venue's with the previous one of that stream: is anything missing?

        Args:
            stream: What is counted, such as "trade".
            number: The number of this message, or with `sent` the last one that the venue has sent so far.
            line: Where it stands.
            symbol: Whose number it is; other markets' are of no interest.
            sent: See `number`.
        """
        if not self.keeps(symbol):
            return
        last = self._numbers.get(stream, number if sent else number - 1)
        missing = number - last - (not sent)
        if missing > 0:
            up_to = f"up to number {number}" if sent else f"before number {number}"
            self._lost.add(line, f"{missing:,} {stream} messages {up_to} are missing")
        self._numbers[stream] = max(number, last)

    def numbers(self, stream: str, numbers: Int64s, lines: Int64s, *, symbol: str) -> None:
        """Do the same for the numbers of many messages: both int64 (n,)."""
        if len(numbers) and self.keeps(symbol):
            before = self._numbers.get(stream, int(numbers[0]) - 1)
            highest = np.maximum.accumulate(np.concatenate(([before], numbers)))
            for i in np.flatnonzero(numbers - highest[:-1] > 1):
                self._numbers[stream] = int(highest[i])
                self.number(stream, int(numbers[i]), line=int(lines[i]), symbol=symbol)
            self._numbers[stream] = int(highest[-1])

    def note(self, text: str) -> None:
        """Say once in the report what holds for the whole file."""
        self._notes[text] = None

    def advance(self, lines: int) -> None:
        """Count lines that have been taken."""
        self.lines += lines
        if self.lines >= _DECISION_LINES:
            self._choose_trades(aggregates=True)

    def keeps(self, symbol: str) -> bool:
        """Tell whether rows of this symbol are kept."""
        if self._kept is None:
            self._kept = symbol
        return symbol == self._kept

    def take(self) -> tuple[Quotes, Trades]:
        """Return the rows gathered since the last call, possibly none, and forget them."""
        columns, lines = self._quotes.take(_QUOTE_COLUMNS)
        quotes = Quotes(**columns)
        self._inspect(quotes, lines)
        return quotes, Trades(**self._trades.take(_TRADE_COLUMNS)[0])

    def close(self) -> None:
        """Take notice that the file has ended: aggregates that are still open count."""
        self._choose_trades(aggregates=True)
        if self.lines < _SAMPLE_LINES:
            self._check_sample(self.lines)

    def summary(self, *, needs_quotes: bool) -> Summary:
        """Return what the whole file is; to be called when it has ended and all rows have been taken.

        Raises:
            TapeError: Mostly bad lines, several symbols or venues, nothing of the symbol, or no quotes although needed.
        """
        symbol = self._only_symbol()
        counts = {kind: self._count(symbol, kind) for kind in ("quotes", "trades", "aggTrades")}
        if not (counts["quotes"] if needs_quotes else any(counts.values())):
            what = "quotes" if needs_quotes else "quotes or trades"
            raise TapeError(
                f"{self.path}: no {what} of symbol {symbol or '(none)'}; it holds {self._contents()}. A tape needs the "
                "best bid and ask: record that stream too (Binance: <symbol>@bookTicker), or give the file that has "
                "them as well: read_tape([trades, quotes]). read_trades and ohlcv need trades alone"
            )
        used, unused = ("aggTrades", "trades") if self._aggregates_count else ("trades", "aggTrades")
        ignored = self._ignored.copy()
        for (name, kind, _), count in self._rows.items():
            if name != symbol:
                ignored[f"{name} {kind}"] += count
            elif kind == unused:
                ignored[kind.removesuffix("s")] += count
        report = TapeReport(
            path=self.path,
            lines=self.lines,
            quotes=counts["quotes"],
            trades=counts[used],
            ignored=dict(ignored),
            bad_lines=self._bad.findings(),
            crossed_quotes=self._crossed.findings(),
            backwards=self._backwards.findings(),
            gaps=self._gaps.findings(),
            lost=self._lost.findings(),
            late=self._late.findings(),
            notes=tuple(self._notes),
        )
        return Summary(self._only_venue(symbol), symbol, report, aggregates=bool(self._aggregates_count))

    def _choose_trades(self, *, aggregates: bool) -> None:
        if self._aggregates_count is None and (not aggregates or len(self._aggregates)):
            self._aggregates_count = aggregates
            if aggregates:
                self._trades, self._aggregates = self._aggregates, self._trades
                self.note("the trades are aggregated ones (aggTrade): one row may stand for several")
            else:
                self._aggregates.clear()

    def _inspect(self, quotes: Quotes, lines: Int64s) -> None:
        """Log crossed quotes, and gaps also across the edge to the piece before."""
        for i in np.flatnonzero(quotes.bid >= quotes.ask):
            row = self._taken + i
            self._crossed.add(int(lines[i]), f"bid {quotes.bid[i]} >= ask {quotes.ask[i]}, row {row}")
        if len(quotes):
            before = quotes.local_ns[0] if self._last_quote_ns is None else self._last_quote_ns
            step_ns = np.diff(quotes.local_ns, prepend=before)
            for i in np.flatnonzero(step_ns > int(GAP_S * 1e9)):
                self._gaps.add(int(lines[i]), f"{step_ns[i] / 1e9:.3f} s without a quote, row {self._taken + i}")
            self._last_quote_ns = int(quotes.local_ns[-1])
        self._taken += len(quotes)

    def _check_sample(self, lines: int) -> None:
        if 2 * self._bad.count > lines:
            line, reason = self._bad.first[0]
            raise TapeError(
                f"{self.path}: {self._bad.count:,} of the first {lines:,} lines cannot be read, beginning with "
                f"line {line}: {reason}. Expected {self._expected}"
            )

    def _count(self, symbol: str, kind: str) -> int:
        return sum(count for (name, what, _), count in self._rows.items() if (name, what) == (symbol, kind))

    def _only_symbol(self) -> str:
        symbols = list(dict.fromkeys(name for name, _, _ in self._rows))
        if self.wanted is not None and self.wanted not in symbols:
            raise TapeError(f"{self.path}: no quotes or trades of symbol {self.wanted!r}; it holds {self._contents()}")
        if self.wanted is None and len(symbols) > 1:
            raise TapeError(
                f"{self.path}: holds {len(symbols)} symbols: {self._contents()}; choose one: symbol={symbols[0]!r}"
            )
        return self.wanted or next(iter(symbols), "")

    def _only_venue(self, symbol: str) -> str:
        venues = list(dict.fromkeys(venue for name, _, venue in self._rows if name == symbol and venue))
        if len(venues) > 1:
            raise TapeError(
                f"{self.path}: mixes messages of {' and '.join(venues)} for {symbol}; these are different markets: "
                "record them into separate files"
            )
        return next(iter(venues), "")

    def _contents(self) -> str:
        by_symbol: dict[str, Counter[str]] = {}
        for (name, kind, _), count in self._rows.items():
            by_symbol.setdefault(name, Counter())["quotes" if kind == "quotes" else "trades"] += count
        texts = [f"{name} ({c['quotes']:,} quotes, {c['trades']:,} trades)" for name, c in by_symbol.items()]
        more = [f"{len(texts) - _NAMED} more"] if len(texts) > _NAMED else []
        other = [f"{count:,} {name}" for name, count in self._ignored.most_common(_NAMED)] if not texts else []
        return ", ".join(texts[:_NAMED] + more + other) or "no other message"
