"""The file that says what a sweep is: read, checked and turned into tasks before anything runs."""

import itertools
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from scripts.sweeping import places
from scripts.sweeping.content import content
from scripts.sweeping.kinds import KINDS, files_of
from scripts.sweeping.nearest import nearest
from scripts.sweeping.task import Task

MOST_TASKS = 100_000
_SERIES = ("from", "count", "step")


class SweepFileError(ValueError):
    """A sweep file cannot be used; the message says where and why."""


@dataclass(frozen=True)
class _Value:
    """A value and the line that it stands on."""

    value: Any
    line: int


_Set = Mapping[str, _Value]


def load(path: Path) -> list[Task]:
    """Return the tasks that a sweep file describes.

    The file has `kind`, and up to three parts: [fixed] for all tasks, [grid] (every combination of its lists) and
    [[list]] (one table per set); with both, every set of the list is combined with the whole grid.

    Raises:
        SweepFileError: It cannot be read, or describes something that cannot be run; the message names file, line and
            key.
    """
    return _Reader(path).tasks()


class _Reader:
    """Reads one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        text = _text_of(path)
        try:
            self._found = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"\(at line (\d+), column \d+\)", str(error))
            number = int(line[1]) if line else len(text.splitlines())
            reason = str(error).partition(" (at ")[0]
            raise SweepFileError(f"{path}:{number}: {reason}: {_line(text, number)}") from error
        self._places = places.places(text)
        self._kind = self._kind_of()
        self._options = KINDS[self._kind].options()

    def _fail(self, line: int, key: str, reason: object) -> NoReturn:
        raise SweepFileError(f"{self._path}:{line}: {key}: {reason}")

    def _line_of(self, *path: str | int) -> int:
        """Return the line of a key, or of what it is written within."""
        known = (self._places.get(path[:length]) for length in range(len(path), 0, -1))
        return next((line for line in known if line is not None), 1)

    def _kind_of(self) -> str:
        parts = {"kind": str, "fixed": dict, "grid": dict, "list": list}
        for name, value in self._found.items():
            if name not in parts:
                self._fail(self._line_of(name), name, f"no part of a sweep file; there are {', '.join(parts)}")
            if not isinstance(value, parts[name]):
                shown = {"kind": 'a name: kind = "evaluate"', "list": "tables: [[list]]"}.get(
                    name, f"a table: [{name}]"
                )
                self._fail(self._line_of(name), name, f"must be {shown}, got {value!r}")
        kind = self._found.get("kind")
        if not isinstance(kind, str) or kind not in KINDS:
            self._fail(self._line_of("kind"), "kind", f"must be one of {', '.join(KINDS)}, got {kind!r}")
        return kind

    def tasks(self) -> list[Task]:
        """Return all tasks, checked."""
        fixed = self._set("fixed")
        grid = {name: self._choices(name, value) for name, value in self._pairs("grid")}
        sets = [self._set("list", i) for i in range(len(self._found.get("list", ())))]
        count = math.prod(map(len, grid.values())) * max(1, len(sets))
        if count > MOST_TASKS:
            largest = max(grid, key=lambda name: len(grid[name]), default="list")
            line = grid[largest][0].line if grid else self._line_of("list")
            self._fail(line, largest, f"{count:,} tasks are more than {MOST_TASKS:,}: make several sweeps of it")
        tasks: dict[str, Task] = {}
        for chosen in sets or [{}]:
            for combination in itertools.product(*grid.values()):
                values = self._joined(fixed, chosen, dict(zip(grid, combination, strict=True)))
                task = self._task(values)
                if task.key in tasks:
                    varied = {**chosen, **dict(zip(grid, combination, strict=True))} or values
                    name, where = next(iter(varied.items()), ("list", _Value(None, 1)))
                    told = ", ".join(f"{n} = {v.value!r}" for n, v in varied.items())
                    self._fail(where.line, name, f"the same task twice: {told or 'nothing is varied'}")
                tasks[task.key] = task
        return list(tasks.values())

    def _joined(self, *sets: _Set) -> dict[str, _Value]:
        joined: dict[str, _Value] = {}
        for one in sets:
            for name, value in one.items():
                if name in joined:
                    self._fail(value.line, name, f"given twice, also in line {joined[name].line}")
                joined[name] = value
        return joined

    def _pairs(self, *part: str | int) -> Iterator[tuple[str, _Value]]:
        """Yield the options of a part, flat, in the order of the file."""
        table: Any = self._found
        for step in part:
            table = table.get(step, {}) if isinstance(table, dict) else table[step]
        if not isinstance(table, dict):
            self._fail(self._line_of(*part), str(part[0]), f"must be a table: [[{part[0]}]], got {table!r}")
        for name, value in table.items():
            nested = isinstance(value, dict) and name not in self._options
            for inner, one in value.items() if nested else ():
                yield self._known(f"{name}.{inner}", _Value(one, self._line_of(*part, name, inner)))
            if not nested or not value:
                yield self._known(name, _Value(value, self._line_of(*part, name)))

    def _known(self, name: str, value: _Value) -> tuple[str, _Value]:
        if name not in self._options:
            near = nearest(name, self._options)
            hint = f"did you mean {near!r}?" if near else f"there are those of scripts/{self._kind}.py --help"
            self._fail(value.line, name, f"no option of {self._kind} that a sweep may set; {hint}")
        return name, value

    def _set(self, *part: str | int) -> dict[str, _Value]:
        return {name: self._checked(name, value.value, value.line) for name, value in self._pairs(*part)}

    def _choices(self, name: str, value: _Value) -> list[_Value]:
        """Return the values of an option of the grid."""
        listed, line = value.value, value.line
        if isinstance(listed, dict) and name == "seed":
            listed = self._series(listed, line)
        if not isinstance(listed, list):
            hint = " or {from = 0, count = 5}" if name == "seed" else ""
            self._fail(line, name, f"must be a list of values{hint}, one for all tasks is for [fixed]; got {listed!r}")
        if not listed:
            self._fail(line, name, "must have at least one value, got none")
        return [self._checked(name, one, line) for one in listed]

    def _series(self, told: Mapping[str, Any], line: int) -> Sequence[int]:
        """Return the seeds of {from, count} or {from, count, step}; without a step no two tasks share a draw."""
        complete = {"step": self._seeds_per_task(), **told}
        numbers = [complete.get(name) for name in _SERIES]
        whole = [number for number in numbers if type(number) is int and number >= 0]
        if set(complete) != set(_SERIES) or len(whole) < len(numbers) or not complete["step"]:
            shape = "{from = 0, count = 5}, with a step or without, of integers from 0"
            self._fail(line, "seed", f"must be {shape}, got {told!r}")
        first, count, step = whole
        if count > MOST_TASKS:
            self._fail(line, "seed", f"count must be at most {MOST_TASKS:,}, got {count:,}")
        return list(range(first, first + count * step, step))

    def _seeds_per_task(self) -> int:
        """Return how many seeds, one after the other, the largest task of the file takes."""
        name, default = KINDS[self._kind].seeds
        parts = [self._found.get("fixed", {}), self._found.get("grid", {}), *self._found.get("list", ())]
        given = [part[name] for part in parts if isinstance(part, dict) and name in part]
        flat = [one for value in given for one in (value if isinstance(value, list) else [value])]
        return max((one for one in flat if type(one) is int and one > 0), default=default)

    def _checked(self, name: str, value: Any, line: int) -> _Value:
        """Return a value as its option has it: plain, of the right type."""
        try:
            converted = json.loads(json.dumps(msgspec.convert(value, self._options[name])))
        except msgspec.ValidationError as error:
            self._fail(line, name, f"{str(error)[0].lower()}{str(error)[1:]}; got {value!r}")
        if isinstance(converted, float) and not math.isfinite(converted):
            self._fail(line, name, f"must be finite, got {value!r}")
        return _Value(converted, line)

    def _task(self, values: Mapping[str, _Value]) -> Task:
        """Return a task that the command would take."""
        kind = KINDS[self._kind]
        for name in kind.needed:
            if name not in values:
                self._fail(self._line_of("kind"), name, f"{self._kind} needs it, in [fixed], [grid] or [[list]]")
        plain = {**kind.defaults(), **{name: value.value for name, value in values.items()}}
        files = files_of(plain)
        try:
            task = Task(
                self._kind,
                {name: _absolute(value, files) for name, value in plain.items()},
                {str(Path(name).absolute()): content(Path(name)) for name in files},
            )
            kind.build(task.values)
        except (ValueError, TypeError, OSError) as error:
            name, line = self._guilty(values, str(error))
            self._fail(line, name, error)
        return task

    def _guilty(self, values: Mapping[str, _Value], message: str) -> tuple[str, int]:
        """Return the option that an error speaks of first, and its line."""
        words = re.findall(r"\w+", message)
        named = {name: words.index(short) for name in values if (short := name.rpartition(".")[2]) in words}
        told = {name: 0 for name, value in values.items() if any(one in message for one in _texts(value.value))}
        found = told or named
        name = min(found, key=found.__getitem__, default=next(iter(values), "kind"))
        return name, values[name].line if name in values else self._line_of("kind")


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SweepFileError(f"{path}: not UTF-8 text, at byte {error.start:,}") from error
    except OSError as error:
        raise SweepFileError(f"{path}: {error.strerror or error}") from error


def _texts(value: Any) -> list[str]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _absolute(value: Any, files: Sequence[str]) -> Any:
    """Return a value with the paths of files made absolute: workers may run elsewhere."""
    if isinstance(value, list):
        return [_absolute(one, files) for one in value]
    return str(Path(value).absolute()) if isinstance(value, str) and value in files else value


def _line(text: str, number: int) -> str:
    lines = text.splitlines()
    return lines[number - 1].strip() if 0 < number <= len(lines) else "the end of the file"
