"""What got worse since the figures that were kept: measured again, and what looks worse once more."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from hftgym.report import machine
from scripts.benchmarks.figure import Figure
from scripts.benchmarks.record import Part

WORSE = 1.10  # by this factor at least
ROUNDS = 3  # a figure that looks worse is measured so often in all; the median counts

# Units of figures that say something about another machine too: ratios, shares, errors.
_PORTABLE = ("x", "of the")


class Change(NamedTuple):
    """One figure, kept and measured again."""

    part: str
    kept: Figure
    now: float

    @property
    def factor(self) -> float:
        """How many times worse it is; below 1 it is better."""
        if self.kept.value == self.now:
            return 1.0
        worse, better = (self.now, self.kept.value) if self.kept.lower_is_better else (self.kept.value, self.now)
        return worse / better if better > 0 else float("inf")


def compare(
    kept: Mapping[str, Part], names: Sequence[str], measure: Callable[[str], Sequence[Figure]]
) -> tuple[list[Change], list[str]]:
    """Measure parts again and compare them with what was kept.

    Args:
        kept: The parts of the record.
        names: Which parts to measure.
        measure: Measures one part.

    Returns:
        Every figure that could be compared, and remarks on what could not.
    """
    changes, remarks = list[Change](), list[str]()
    for name in names:
        if name not in kept:
            remarks.append(f"{name}: nothing was kept to compare with")
            continue
        here = kept[name].machine == machine()
        known = {figure.name: figure for figure in kept[name].figures}
        comparable = {key: figure for key, figure in known.items() if here or is_portable(figure)}
        if len(comparable) < len(known):
            left = len(known) - len(comparable)
            remarks.append(f"{name}: {left} figures hold for another machine alone ({kept[name].machine}): left out")
        if comparable:
            found = _measured(name, comparable, measure)
            remarks += [f"{name}: {key!r} is not measured any more" for key in comparable if key not in found]
            changes += [Change(name, comparable[key], value) for key, value in found.items()]
    return changes, remarks


def is_portable(figure: Figure) -> bool:
    """Whether a figure says something about other machines."""
    return figure.unit.startswith(_PORTABLE) or figure.unit in ("", "largest difference")


def _measured(
    name: str, comparable: Mapping[str, Figure], measure: Callable[[str], Sequence[Figure]]
) -> dict[str, float]:
    """Return the values now: the first, or the median of several where the first looks worse."""
    values: dict[str, list[float]] = {key: [] for key in comparable}
    found: dict[str, float] = {}
    for _ in range(ROUNDS):
        for figure in measure(name):
            if figure.name in values:
                values[figure.name].append(figure.value)
        found = {key: statistics.median(several) for key, several in values.items() if several}
        if all(Change(name, comparable[key], value).factor < WORSE for key, value in found.items()):
            break
    return found
