"""What was measured, kept with machine, versions, command and date in one file, and the page made of it."""

import json
import math
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hftgym.report import machine, versions
from hftgym.tables import markdown
from scripts.benchmarks.figure import Figure

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "docs/benchmarks.json"
PAGE = ROOT / "BENCHMARKS.md"

_INTRODUCTION = """# Benchmarks

Every speed and quality bar of the project as `make benchmark` measured it, missed bars included. Written by that
command from `docs/benchmarks.json`: do not edit. `make benchmark-compare` measures again and says what got worse.

- A rate or a time holds for the machine that is named under it. A ratio (`x ...`) comes from one interleaved run
  against the peer in its name and travels further; it is still one machine's.
- Rates and times are medians of CPU seconds where the note does not say otherwise. What else the machine did is in
  them: the load when a part began is told.
- Quality figures are of simulated markets whose optimum is known. They say how well an agent learned, and nothing
  about profits."""


class RecordError(ValueError):
    """A file is no record of benchmarks."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the benchmark, as it was measured.

    Attributes:
        figures: What came out.
        command: What measures it again.
        machine: Processor, cores, system.
        versions: Of what the figures depend on.
        date: When it began, UTC.
        commit: Of the code; "+" if it had changes that were not committed.
        load: Processes that wanted to run when it began, over a minute.
        seconds: How long it took.
    """

    figures: tuple[Figure, ...]
    command: str
    machine: str
    versions: str
    date: str
    commit: str
    load: float
    seconds: float

    @staticmethod
    def of(name: str, figures: Sequence[Figure], *, began: datetime, load: float) -> "Part":
        """Describe a part that has just been measured here."""
        return Part(
            figures=tuple(figures),
            command=f"python scripts/benchmark.py {name}",
            machine=machine(),
            versions=versions(),
            date=f"{began:%Y-%m-%d %H:%M}",
            commit=_commit(),
            load=round(load, 1),
            seconds=round((datetime.now(UTC) - began).total_seconds(), 1),
        )

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Part":
        """Return the part that `to_dict` was made of."""
        figures = tuple(Figure(**{**figure, "value": float(figure["value"])}) for figure in values["figures"])
        return Part(**{**values, "figures": figures})

    def to_dict(self) -> dict[str, Any]:
        """Return the part as JSON has it, which knows no infinity: such a value is a text."""
        values = asdict(self)
        for figure in values["figures"]:
            figure["value"] = figure["value"] if math.isfinite(figure["value"]) else str(figure["value"])
        return values


def load_now() -> float:
    """Return how many processes wanted to run over the last minute; 0 where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def read_record(path: Path = RECORD) -> dict[str, Part]:
    """Return the parts that were measured, by name; none if there is no file.

    Raises:
        RecordError: The file is no record of benchmarks.
    """
    if not path.exists():
        return {}
    try:
        return {name: Part.from_dict(values) for name, values in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecordError(f"{path} is no record of benchmarks: {error}") from None


def write_record(parts: Mapping[str, Part], *, record: Path = RECORD, page: Path = PAGE) -> None:
    """Write the record and the page, each whole or not at all."""
    text = json.dumps({name: part.to_dict() for name, part in parts.items()}, indent=1, allow_nan=False) + "\n"
    for path, content in ((record, text), (page, as_page(parts))):
        new = path.with_name(f".{path.name}.new")
        new.write_text(content, encoding="utf-8")
        new.replace(path)


def as_page(parts: Mapping[str, Part]) -> str:
    """Return the page: what was missed first, then part by part."""
    figures = [figure for part in parts.values() for figure in part.figures]
    missed = [figure for figure in figures if figure.reached is False]
    with_bar = sum(figure.bar is not None for figure in figures)
    told = f"**{len(figures)} figures, {with_bar} with a bar, {len(missed)} of them missed.**"
    names = "\n".join(f"- {figure.name}: {_value(figure)}, the bar is {bar_of(figure)}" for figure in missed)
    sections = [_section(name, part) for name, part in parts.items()]
    return "\n\n".join(part for part in (_INTRODUCTION, told, names, *sections) if part) + "\n"


def bar_of(figure: Figure) -> str:
    """Return the bar as it is read; empty without one."""
    if figure.bar is None:
        return ""
    return f"{'≤' if figure.lower_is_better else '≥'} {figure.bar:g} {figure.unit}".rstrip()


def _section(name: str, part: Part) -> str:
    verdicts = {True: "reached", False: "**missed**", None: ""}
    rows = [
        [figure.name, _value(figure), bar_of(figure), verdicts[figure.reached], figure.note] for figure in part.figures
    ]
    table = markdown(["figure", "measured", "bar", "", "note"], rows)
    measured = f"{part.date} UTC, {part.seconds:.0f} s, load {part.load:g} at the start, commit {part.commit}"
    return f"## {name}\n\n`{part.command}`: {measured}\n\n{table}\n\n{part.machine}; {part.versions}"


def _value(figure: Figure) -> str:
    return f"{figure.value:.4g} {figure.unit}".rstrip()


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", ":!docs/benchmarks.json", ":!BENCHMARKS.md")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
