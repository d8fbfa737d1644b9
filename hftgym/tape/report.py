"""What a reader found in a file: counts, oddities and the error it raises."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KEPT = 20  # places kept of every kind of finding; the count is always complete
_SHOWN = 3  # of these, the ones that fit a printed report
LATE_S = 1.0  # so far behind the latest time, a row cannot be a clock's hair
_MANY_LATE = 0.001  # of all rows
GAP_S = 1.0  # a silence of the quotes longer than this is reported


class TapeError(ValueError):
    """A recording that cannot be read; the message names the file, the place and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """One kind of oddity.

    Attributes:
        count: How often it occurs in the whole file.
        first: The first 20 as (line number counted from 1, what was found).
    """

    count: int
    first: tuple[tuple[int, str], ...]


NOTHING = Findings(count=0, first=())
"""Findings of something that does not occur."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TapeReport:
    """What became of every line of a file: nothing is repaired or dropped without being counted here.

    Attributes:
        path: The file.
        lines: Lines in the file.
        quotes: Rows in the tape's quotes.
        trades: Rows in the tape's trades.
        ignored: Well-formed lines that are neither, counted by name (depth updates, replies, other symbols).
        bad_lines: Lines that could not be read, with the reason.
        crossed_quotes: Quotes with bid >= ask; they are kept.
        backwards: Lines whose local time is before the previous one's; they are kept, in the order of the file.
        gaps: More than 1 s of local time between two consecutive quotes; the line is the one after the gap.
        lost: Jumps in the venue's own numbering of its messages: what it says was sent and is not in the file.
        late: Lines more than 1 s behind the latest local time before them. A replay's clock never runs back: it takes
            them as received at that latest time, all in one instant, as after one line that is stamped ahead.
        notes: What holds for the whole file and a reader of it should know, such as that it has no local times.
    """

    path: Path
    lines: int
    quotes: int
    trades: int
    ignored: Mapping[str, int]
    bad_lines: Findings
    crossed_quotes: Findings
    backwards: Findings
    gaps: Findings
    lost: Findings = NOTHING
    late: Findings = NOTHING
    notes: tuple[str, ...] = ()

    @property
    def oddities(self) -> tuple[str, ...]:
        """What was found that a result may hang on, one short line each; none for a file without oddities."""
        return tuple(f"{found.count:,} {label}" for label, found in self._findings() if found.count)

    @property
    def warning(self) -> str:
        """What makes a replay doubtful; empty if nothing does."""
        rows = self.quotes + self.trades
        if self.late.count <= _MANY_LATE * rows:
            return ""
        line, what = self.late.first[0]
        return (
            f"{self.late.count:,} of {rows:,} rows come more than {LATE_S:g} s behind the latest time before them, "
            f"first in line {line:,} ({what}): a replay takes them as received in one instant. Repair or cut the file"
        )

    def __str__(self) -> str:
        return "\n".join((f"{self.path.name}: {self.lines:,} lines", *self._body()))

    def _body(self) -> Iterator[str]:
        yield f"{self.quotes:>12,}  quotes"
        yield f"{self.trades:>12,}  trades"
        names = ", ".join(f"{count:,} {name}" for name, count in self.ignored.items())
        yield f"{sum(self.ignored.values()):>12,}  ignored{': ' if names else ''}{names}"
        for label, findings in self._findings():
            yield f"{findings.count:>12,}  {label}"
            shown = findings.first[:_SHOWN]
            yield from (f"{'':14}line {line:,}: {what}" for line, what in shown)
            if findings.count > len(shown):
                yield f"{'':14}… and {findings.count - len(shown):,} more"
        yield from (f"{'':14}{note}" for note in self.notes)

    def _findings(self) -> Iterator[tuple[str, Findings]]:
        yield "bad lines", self.bad_lines
        yield "crossed quotes (bid >= ask), kept", self.crossed_quotes
        yield "steps back in local time, kept", self.backwards
        yield f"lines more than {LATE_S:g} s behind the latest local time, kept", self.late
        yield f"gaps of more than {GAP_S:g} s between quotes", self.gaps
        yield "jumps in the venue's numbering", self.lost


def join_reports(reports: Sequence[TapeReport]) -> TapeReport:
    """Return one report of several files: counts are added up, places name their file."""
    if len(reports) == 1:
        return reports[0]

    def joined(name: str) -> Findings:
        findings = [getattr(report, name) for report in reports]
        places = [(line, f"{r.path.name}: {what}") for r in reports for line, what in getattr(r, name).first]
        return Findings(count=sum(f.count for f in findings), first=tuple(places[:KEPT]))

    ignored: Counter[str] = Counter()
    for report in reports:
        ignored.update(report.ignored)
    return TapeReport(
        path=Path(" + ".join(str(report.path) for report in reports)),
        lines=sum(report.lines for report in reports),
        quotes=sum(report.quotes for report in reports),
        trades=sum(report.trades for report in reports),
        ignored=dict(ignored),
        **{name: joined(name) for name in ("bad_lines", "crossed_quotes", "backwards", "gaps", "lost", "late")},
        notes=tuple(dict.fromkeys(f"{report.path.name}: {note}" for report in reports for note in report.notes)),
    )
