"""The tape: quotes and trades of one market."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from hftgym.tape.order import merge_order, received_ns
from hftgym.tape.report import TapeReport
from hftgym.tape.rows import (
    NO_TIME,
    Float64s,
    Int64s,
    Quotes,
    Trades,
    check_rows,
    in_units,
    rows_of,
    symbol_in_units,
    unit_is_one,
)
from hftgym.tape.steps import Steps, step_of

__all__ = ["NO_TIME", "Float64s", "Int64s", "Quotes", "Tape", "Trades"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Tape:
    """One market, recorded.

    Attributes:
        venue: Where, for example "binance-spot" or "binance-usdm".
        symbol: What, in the venue's own spelling, for example "BTCUSDT".
        quotes: Best bid and ask, at least one row.
        trades: Trades, possibly none.
        report: What the reader found in the file.
        steps: The grids of prices and sizes where they are known; None until they are asked for, then measured.

    Raises:
        ValueError: A part has another type, a name is empty, or there is no quote.
    """

    venue: str
    symbol: str
    quotes: Quotes
    trades: Trades
    report: TapeReport
    steps: Steps | None = None

    def __post_init__(self) -> None:
        kinds = {"venue": str, "symbol": str, "quotes": Quotes, "trades": Trades, "report": TapeReport}
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise ValueError(f"Tape.{name} must be {kind.__name__}, got {type(value).__name__}")
            if name in ("venue", "symbol", "quotes") and len(value) == 0:
                raise ValueError(f"Tape.{name} must not be empty")
        if not isinstance(self.steps, Steps | None):
            raise ValueError(f"Tape.steps must be Steps or None, got {type(self.steps).__name__}")

    @property
    def price_step(self) -> float | None:
        """The price grid, quote currency; None if the prices lie on no grid. Measured if nobody gave it."""
        return self._measured_steps().price

    @property
    def size_step(self) -> float | None:
        """The grid of sizes, units; None if the sizes lie on no grid. Measured if nobody gave it."""
        return self._measured_steps().size

    def _measured_steps(self) -> Steps:
        if self.steps is None:
            quotes, trades = self.quotes, self.trades
            steps = Steps(
                price=step_of((quotes.bid, quotes.ask, trades.price)),
                size=step_of((quotes.bid_size, quotes.ask_size, trades.size)),
            )
            object.__setattr__(self, "steps", steps)
            return steps
        return self.steps

    @property
    def quoted_ns(self) -> tuple[int, int]:
        """When the first and the last quote were received, ns since 1970."""
        return int(self.quotes.local_ns[0]), int(self.quotes.local_ns.max())

    def in_units_of(self, coins: float) -> "Tape":
        """Return the same tape with sizes in units of so many coins, and prices per unit.

        An inventory limit counts units: with 0.001 coins a unit, ten of them are 0.01 coins.

        Args:
            coins: Size of the new unit in units of this tape, usually coins; finite and above 0.
        """
        if unit_is_one(coins):
            return self
        steps = self._measured_steps()
        return replace(
            self,
            symbol=symbol_in_units(self.symbol, coins),
            quotes=in_units(self.quotes, coins, steps=steps),
            trades=in_units(self.trades, coins, steps=steps),
            steps=steps.in_units_of(coins),
        )

    def split(self, share: float) -> tuple["Tape", "Tape"]:
        """Return the tape before and after a moment, each with the grids and the report of the whole.

        Args:
            share: Where to cut, as a share of the time from the first quote to the last one, above 0 and below 1. What
                is received at that very moment is in the second part.

        Raises:
            ValueError: `share` is outside its range, or a part would be without a quote.
        """
        if not 0 < share < 1:
            raise ValueError(f"share must be above 0 and below 1, got {share!r}")
        first_ns, last_ns = self.quoted_ns
        moment = first_ns + round(share * (last_ns - first_ns))
        quote, trade = (int(np.searchsorted(received_ns(rows), moment)) for rows in (self.quotes, self.trades))
        if quote in (0, len(self.quotes)):
            raise ValueError(f"share must leave quotes on both sides, got {share!r} with {len(self.quotes)} quotes")
        before = rows_of(self.quotes, 0, quote), rows_of(self.trades, 0, trade)
        after = rows_of(self.quotes, quote, len(self.quotes)), rows_of(self.trades, trade, len(self.trades))
        steps = self._measured_steps()
        earlier, later = (replace(self, quotes=q, trades=t, steps=steps) for q, t in (before, after))
        return earlier, later

    def chunks(self, rows: int = 1_000_000) -> Iterator[tuple[Quotes, Trades]]:
        """Yield the tape in the order of rows (`hftgym.tape.order`) as pieces of so many rows; the last may be shorter.

        Args:
            rows: Quotes and trades of a piece together, at least 1. One of the two may be empty.
        """
        check_rows(rows)
        is_trade = merge_order(self.quotes, self.trades)
        quote, trade = 0, 0
        for start in range(0, len(is_trade), rows):
            piece = is_trade[start : start + rows]
            last_trade = trade + int(np.count_nonzero(piece))
            last_quote = quote + len(piece) - (last_trade - trade)
            yield rows_of(self.quotes, quote, last_quote), rows_of(self.trades, trade, last_trade)
            quote, trade = last_quote, last_trade

    @property
    def mid(self) -> Float64s:
        """Mid price of every quote: float64 (n,), quote currency."""
        return 0.5 * self.quotes.bid + 0.5 * self.quotes.ask  # equals (bid + ask) / 2 and cannot overflow

    @property
    def duration_s(self) -> float:
        """Seconds of local time from the earliest row to the latest one, quotes and trades together."""
        columns = [rows.local_ns for rows in (self.quotes, self.trades) if len(rows)]
        return (max(int(c.max()) for c in columns) - min(int(c.min()) for c in columns)) / 1e9

    def __repr__(self) -> str:
        spread = float(np.median(self.quotes.ask - self.quotes.bid))
        start = np.datetime64(int(self.quotes.local_ns[0]), "ns").astype("datetime64[s]")
        return (
            f"Tape({self.venue} {self.symbol}: {len(self.quotes):,} quotes, {len(self.trades):,} trades, "
            f"{self.duration_s:,.1f} s from {start} UTC, median spread {spread:.6g})"
        )
