"""A figure of ours beside those that it should equal, and how close is close enough."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.table import Table
from rich.text import Text

# Standard errors that a simulation may be off: one in 16,000 is, by chance.
SURE = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What a figure is held against.

    Attributes:
        value: The other figure.
        band: Largest difference allowed; None shows the difference and judges nothing.
        error: Standard error of the other figure, where there is no band.
        digits: Decimals that are known of it.
    """

    value: float
    band: float | None = None
    error: float = 0.0
    digits: int = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One figure.

    Attributes:
        quantity: What it is.
        ours: The figure.
        error: Its standard error; None where it is exact.
        targets: Heading of a column -> what stands there.
        digits: Decimals of ours.
    """

    quantity: str
    ours: float
    error: float | None = None
    targets: Mapping[str, Target] = field(default_factory=dict)
    digits: int = 3

    @property
    def missed(self) -> list[str]:
        """The columns whose band ours is outside; NaN is."""
        bands = {name: target for name, target in self.targets.items() if target.band is not None}
        return [name for name, target in bands.items() if not abs(self.ours - target.value) <= (target.band or 0.0)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One table, with its title above and remarks below it."""

    title: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    @property
    def missed(self) -> list[str]:
        """What is outside its band, in words."""
        return [f"{self.title}: {row.quantity} ({', '.join(row.missed)})" for row in self.rows if row.missed]


def rounded(value: float, digits: int = 3) -> Target:
    """Return a target that is known to so many decimals: ours may be one unit of the last one off."""
    return Target(value=value, band=10.0**-digits, digits=digits)


def table(section: Section) -> Table:
    """Return a section's rows as a table for the terminal, at most 100 characters wide."""
    # Those of the fullest row first, so that columns stand in the same order everywhere.
    rows = sorted(section.rows, key=lambda row: -len(row.targets))
    columns = list(dict.fromkeys(name for row in rows for name in row.targets))
    made = Table(box=None, padding=(0, 2, 0, 0))
    made.add_column("", no_wrap=True)
    for name in ("ours", *columns):
        made.add_column(name, justify="right", no_wrap=True)
    for row in section.rows:
        ours = number(row.ours, row.digits) + ("" if row.error is None else f" ±{row.error:.{row.digits}f}")
        cells = [_target(row, row.targets[name]) if name in row.targets else "" for name in columns]
        made.add_row(row.quantity, ours, *cells, _verdict(row))
    return made


def number(value: float, digits: int) -> str:
    """Return a number with a true minus sign, and without one before a zero."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if not text.strip("-0.") else text.replace("-", "\N{MINUS SIGN}")


def _verdict(row: Row) -> Text:
    if row.missed:
        return Text(f"OUTSIDE {', '.join(row.missed)}", style="bold red")
    judged = any(target.band is not None for target in row.targets.values())
    return Text("✓" if judged else "", style="green")


def _target(row: Row, target: Target) -> str:
    text = number(target.value, target.digits)
    if target.band is not None:
        return f"{text} [{float(f'{target.band:.2g}'):g}]"
    apart = math.hypot(target.error, row.error or 0.0)
    away = (row.ours - target.value) / apart if apart > 0 else math.nan
    return (
        text
        if math.isnan(away)
        else f"{text} ({'+' if away > 0 else ''}{number(away, 1 if abs(away) < 10 else 0)} s.e.)"
    )
