"""One entry of the history of a champion: what was tried, against whom, what came out, what was done."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from agents.run_folder import RunError

Action = Literal["first", "promoted", "kept", "adopted", "rolled back"]
Period = Literal["week", "day"]
# Entries that crown the model that lies in them.
CROWNING: tuple[Action, ...] = ("first", "promoted", "adopted")
FORMAT = "hftgym.retrain/1"


@dataclass(frozen=True, kw_only=True)
class Record:
    """What `record.json` holds.

    Attributes:
        number: Of the entry, counted from 1 without gaps.
        time: When it was decided, ISO 8601 in UTC.
        period: The week or day that it settles, "2026-W47" or "2026-11-21"; empty where no training was due.
        action: "first" (no champion to compare with), "promoted", "kept" (the challenger was not better), "adopted" (a
            file that somebody else put in the champion's place) or "rolled back".
        champion: Number of the entry whose model is the champion from here on.
        previous: The same before this entry; None if there was none.
        sha256: Of this entry's own model.onnx; empty for a rollback, which has none.
        command: The command line.
        reason: The decision in one sentence.
        market: Where the market came from, in words.
        comparison: `agents.retraining.verdict.Verdict.to_dict()`, or None without a comparison.
        seeds: {"training": first, "held_out": first, "episodes": count}, or None without training.
        seconds: Wall time of the run.
    """

    number: int
    time: str
    period: str
    action: Action
    champion: int
    previous: int | None
    sha256: str
    command: str
    reason: str
    market: str = ""
    comparison: dict[str, Any] | None = None
    seeds: dict[str, int] | None = None
    seconds: float = 0.0

    @property
    def crowns(self) -> bool:
        """Whether this entry made its own model the champion."""
        return self.action in CROWNING

    def to_json(self) -> str:
        """Return the record as JSON; `read` is the inverse."""
        return json.dumps({"format": FORMAT} | dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record.

        Raises:
            RunError: The file is missing, damaged or of another version.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls._checked(values)
        except (OSError, ValueError, TypeError) as error:
            raise RunError(
                f"{path} is damaged or missing ({error}): restore it, or put its folder and all later ones aside"
            ) from error

    @classmethod
    def _checked(cls, values: Mapping[str, Any]) -> Self:
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        record = cls(**values)
        if record.action not in get_args(Action) or type(record.number) is not int or type(record.champion) is not int:
            raise ValueError(f"it holds action {record.action!r}, number {record.number!r}")
        return record
