"""What a tape's own rows show while it is written: spans, counts, and the oddities that a report names."""

from pathlib import Path
from typing import Any

import numpy as np

from hftgym.tape.columns import Columns
from hftgym.tape.order import BEFORE_ALL
from hftgym.tape.report import GAP_S, KEPT, LATE_S, NOTHING, Findings, TapeReport
from hftgym.tape.rows import Quotes

_KINDS = ("crossed_quotes", "backwards", "gaps", "late")


class Watch:
    """Looks at every row once, in the order of rows."""

    def __init__(self) -> None:
        self.clock_ns = BEFORE_ALL
        self.quoted_ns: tuple[int, int] | None = None  # of the first quote, the largest of all quotes
        self._first_ns = BEFORE_ALL
        self._last_local_ns = BEFORE_ALL
        self._last_quote_ns: int | None = None
        self._quotes, self._trades = 0, 0
        self._counts: dict[str, int] = dict.fromkeys(_KINDS, 0)
        self._first: dict[str, list[tuple[int, str]]] = {kind: [] for kind in _KINDS}

    def add(self, table: Columns, quotes: Quotes) -> None:
        """Take the next rows of the tape, and the quotes among them."""
        local_ns = table["local_ns"]
        if not len(local_ns):
            return
        if self.clock_ns == BEFORE_ALL:
            self._first_ns = self._last_local_ns = int(local_ns[0])
        self._look_at_quotes(quotes, 1 + self._quotes + self._trades + np.flatnonzero(table["kind"] == 0))
        steps_ns = np.diff(local_ns, prepend=self._last_local_ns)
        back = np.flatnonzero(steps_ns < 0)
        texts = [f"{-steps_ns[i] / 1e9:.9f} s before the row before it" for i in back[:KEPT]]
        self._note("backwards", 1 + self._quotes + self._trades + back, texts)
        behind_ns = np.maximum(np.maximum.accumulate(local_ns), self.clock_ns) - local_ns
        late = np.flatnonzero(behind_ns > round(LATE_S * 1e9))
        texts = [f"{behind_ns[i] / 1e9:.3f} s behind the latest time before it" for i in late[:KEPT]]
        self._note("late", 1 + self._quotes + self._trades + late, texts)
        self._last_local_ns = int(local_ns[-1])
        self.clock_ns = max(self.clock_ns, int(local_ns.max()))
        self._quotes += len(quotes)
        self._trades += len(local_ns) - len(quotes)

    def _look_at_quotes(self, quotes: Quotes, lines: np.ndarray) -> None:
        """Note what is odd in quotes; `lines` are their rows of the tape, counted from 1."""
        if not len(quotes):
            return
        first, largest = int(quotes.local_ns[0]), int(quotes.local_ns.max())
        self.quoted_ns = (
            (first, largest) if self.quoted_ns is None else (self.quoted_ns[0], max(self.quoted_ns[1], largest))
        )
        crossed = np.flatnonzero(quotes.bid >= quotes.ask)
        texts = [f"bid {quotes.bid[i]} >= ask {quotes.ask[i]}" for i in crossed[:KEPT]]
        self._note("crossed_quotes", lines[crossed], texts)
        before = first if self._last_quote_ns is None else self._last_quote_ns
        steps_ns = np.diff(quotes.local_ns, prepend=before)
        gaps = np.flatnonzero(steps_ns > round(GAP_S * 1e9))
        self._note("gaps", lines[gaps], [f"{steps_ns[i] / 1e9:.3f} s without a quote" for i in gaps[:KEPT]])
        self._last_quote_ns = int(quotes.local_ns[-1])

    def _note(self, kind: str, lines: np.ndarray, texts: list[str]) -> None:
        self._counts[kind] += len(lines)
        first = self._first[kind]
        first.extend((int(line), text) for line, text in zip(lines[: KEPT - len(first)], texts, strict=False))

    def told(self) -> dict[str, Any]:
        """Return the fields of a `TapeFile` that the rows tell."""
        return {
            "first_ns": self._first_ns,
            "last_ns": self.clock_ns,
            "quoted_ns": self.quoted_ns,
            "n_quotes": self._quotes,
            "n_trades": self._trades,
        }

    def report(self, path: Path) -> TapeReport:
        """Return what was found; a line is a row of the tape."""
        found = {k: Findings(count=self._counts[k], first=tuple(self._first[k])) for k in _KINDS}
        return TapeReport(
            path=path,
            lines=self._quotes + self._trades,
            quotes=self._quotes,
            trades=self._trades,
            ignored={},
            bad_lines=NOTHING,
            crossed_quotes=found["crossed_quotes"],
            backwards=found["backwards"],
            gaps=found["gaps"],
            late=found["late"],
        )
