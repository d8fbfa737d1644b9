"""One task of a sweep, and the key under which its results are kept."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FORMAT = 1  # of keys and rows: results of another format are other results


@dataclass(frozen=True)
class Task:
    """What is computed, and from what.

    Attributes:
        kind: Which command: a name in `kinds.KINDS`.
        values: Its options, flat, as JSON has them: {"seed": 3, "params.volatility": 0.001, "policies": ["z-score"]}.
        files: The files among the values -> SHA-256 of their content. The key has a file's name and content, so that a
            sweep goes on after the folder was moved, and a file that was changed is another task.
    """

    kind: str
    values: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """16 hex digits that name this task, the same on every machine and in every run of Python."""
        values = {name: self._identity(value) for name, value in self.values.items()}
        text = json.dumps([FORMAT, self.kind, values], sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _identity(self, value: Any) -> Any:
        """Return a value with every file in it replaced by its name and content."""
        if isinstance(value, list):
            return [self._identity(one) for one in value]
        if isinstance(value, str) and value in self.files:
            return {"file": Path(value).name, "sha256": self.files[value]}
        return value
