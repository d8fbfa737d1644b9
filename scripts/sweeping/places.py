"""Where things stand in a TOML file: tomllib tells what it holds, not on which line."""

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str | int, ...]


def places(text: str) -> dict[Path, int]:
    """Return the path of every key -> the number of its line, 1 for the first.

    Args:
        text: TOML that can be read. An element of an array of tables has its index in the path: ("list", 0, "seed").
    """
    found: dict[Path, int] = {}
    counts: dict[str, int] = {}
    table: Path = ()
    for number, statement in _statements(text):
        (path, value), *_ = _leaves(tomllib.loads(statement))
        if not statement.lstrip().startswith("["):
            # Values may be tables of their own: the keys within them are on the same line, or close to it.
            for path, _ in _leaves(tomllib.loads(statement)):
                for length in range(1, len(path) + 1):
                    found.setdefault(table + path[:length], number)
            continue
        array = str(path[0])
        if isinstance(value, list):
            counts[array] = counts.get(array, 0) + 1
        # [[list]] begins the next element; [list.params] belongs to the last one.
        table = (array, counts[array] - 1, *path[1:]) if array in counts else path
        for length in range(1, len(table) + 1):
            found.setdefault(table[:length], number)
    return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield headings and key-value pairs with the number of their first line."""
    statement, first = "", 0
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        if not statement and (not line.strip() or line.lstrip().startswith("#")):
            continue
        first = first if statement else number
        statement += line
        try:
            tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # goes on in the next line
        yield first, statement
        statement = ""


def _leaves(value: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield what is not a table, and empty tables, with their paths."""
    for name, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from _leaves(inner, (*path, name))
        else:
            yield (*path, name), inner
