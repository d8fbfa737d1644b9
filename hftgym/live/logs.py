"""Structured logs: one JSON object per line, with the time in UTC, the level, the logger, the message and its fields.

`logging.getLogger("hftgym.live").warning("gap", extra={"expected": 5})` becomes
`{"time": "2026-01-31T12:00:00.000001+00:00", "level": "WARNING", ..., "message": "gap", "expected": 5}`.
"""

import contextlib
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_SECRET = re.compile(r"KEY|SECRET|TOKEN|PASS|PRIVATE|CREDENTIAL", re.IGNORECASE)
_SHORTEST = 6  # characters of a secret: blanking "1" would blank every figure
_HIDDEN = "***"
# What every record has: anything else was given as `extra`.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values of variables whose names say that they are secret, longest first; none below 6 characters."""
    values = {value for name, value in environment.items() if _SECRET.search(name) and len(value) >= _SHORTEST}
    return tuple(sorted(values, key=len, reverse=True))


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON in which no secret appears.

    Args:
        secrets: Texts to blank wherever they appear; those of the environment if None.
    """

    def __init__(self, *, secrets: Iterable[str] | None = None) -> None:
        super().__init__()
        self._secrets = secrets_of(os.environ) if secrets is None else tuple(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _USUAL and name not in line}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(self._clean(line), ensure_ascii=False)

    def _clean(self, value: Any) -> Any:
        """Return what JSON can hold, with secrets blanked before quotes and line ends are escaped."""
        if isinstance(value, Mapping):
            return {self._clean(str(name)): self._clean(one) for name, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._clean(one) for one in value]
        if value is None or isinstance(value, (bool, int)):
            return value
        if isinstance(value, float) and abs(value) < float("inf"):
            return value
        text = str(value)
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text


class PlainLines(JsonLines):
    """Formats a record for a person, "WARNING: what happened", in which no secret appears."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text."""
        return str(self._clean(f"{record.levelname}: {record.getMessage()}"))


@contextlib.contextmanager
def shown_log(*, logger: str = "hftgym") -> Iterator[None]:
    """Show what a logger warns of on stderr, for as long as the context lasts."""
    handler = logging.StreamHandler()
    handler.setFormatter(PlainLines())
    handler.setLevel(logging.WARNING)
    target = logging.getLogger(logger)
    target.addHandler(handler)
    try:
        yield
    finally:
        target.removeHandler(handler)


@contextlib.contextmanager
def json_log(path: str | Path, *, logger: str = "hftgym", level: int = logging.INFO) -> Iterator[None]:
    """Append what a logger says to a file, for as long as the context lasts.

    Args:
        path: The file; its folder must exist.
        logger: Its name; with everything below it.
        level: From here on.

    Raises:
        OSError: The file cannot be opened. A disk that fills up later is told on stderr, and the session goes on.
    """
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(JsonLines())
    handler.setLevel(level)
    target = logging.getLogger(logger)
    before = target.level
    target.setLevel(min(level, before) if before else level)
    target.addHandler(handler)
    try:
        yield
    finally:
        target.removeHandler(handler)
        target.setLevel(before)
        with contextlib.suppress(OSError):  # a full disk has been told with the lines that it cost
            handler.close()
