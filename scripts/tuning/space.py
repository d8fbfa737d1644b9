"""What is searched: ranges and choices for fields of a recipe, from the `[search]` table of a TOML file."""

import dataclasses
import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import Trial

from agents.ppo_config import PPOConfig, check_number

DEFAULT_SEARCH = Path(__file__).with_name("search.toml")

# What a search must leave alone, and why.
_FIXED = {
    "env_id": "it is the task",
    "params": "the market is the task",
    "seed": "see --seeds",
    "total_timesteps": "see --steps",
    "evaluate_every": "every trial is judged equally often",
    "checkpoint_every": "it changes nothing that is learned",
    "keep_checkpoints": "it changes nothing that is learned",
}


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included."""

    low: float
    high: float
    log: bool = False
    step: float | None = None


@dataclass(frozen=True)
class Choices:
    """One of some values, as TOML has them."""

    values: tuple[Any, ...]


Space = Mapping[str, Range | Choices]


def read_space(path: Path, recipe: PPOConfig) -> Space:
    """Return what a file says is to be searched around a recipe.

    Raises:
        ValueError: The file cannot be read, is not TOML, or a key or value of it is not allowed; the message names
            the file and the key.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # TOML, and UTF-8
        raise ValueError(f"{path}: {error}") from error
    try:
        return space_of(table, recipe)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def space_of(table: Mapping[str, Any], recipe: PPOConfig) -> Space:
    """Return the search that a table {"search": {...}} describes.

    Raises:
        ValueError, TypeError: A key or value is not allowed; the message names the key.
    """
    if list(table) != ["search"] or not isinstance(table["search"], dict) or not table["search"]:
        raise ValueError(f"must hold one table [search] with at least one field of the recipe, got {list(table)}")
    return {name: _entry(name, entry, recipe) for name, entry in table["search"].items()}


def table_of(space: Space) -> dict[str, Any]:
    """Return the table of a search in plain values; `space_of` reads it back."""
    entries = {
        name: {"choices": list(entry.values)} if isinstance(entry, Choices) else dataclasses.asdict(entry)
        for name, entry in space.items()
    }
    return {"search": {name: {k: v for k, v in entry.items() if v is not None} for name, entry in entries.items()}}


def suggested(trial: Trial, space: Space) -> dict[str, Any]:
    """Return a trial's values of the fields that are searched."""
    return {name: _suggest(trial, name, entry) for name, entry in space.items()}


def decoded(params: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Return the values of the fields from what Optuna has stored."""
    return {name: json.loads(value) if _in_json(space[name]) else value for name, value in params.items()}


def _suggest(trial: Trial, name: str, entry: Range | Choices) -> Any:
    if isinstance(entry, Choices):
        coded = [json.dumps(value) for value in entry.values] if _in_json(entry) else list(entry.values)
        return decoded({name: trial.suggest_categorical(name, coded)}, {name: entry})[name]
    if isinstance(entry.low, int):
        return trial.suggest_int(name, entry.low, int(entry.high), log=entry.log, step=int(entry.step or 1))
    return trial.suggest_float(name, entry.low, entry.high, log=entry.log, step=entry.step)


def _in_json(entry: Range | Choices) -> bool:
    """Return whether choices are stored as text: Optuna stores no lists."""
    return isinstance(entry, Choices) and any(isinstance(value, list) for value in entry.values)


def _entry(name: str, entry: Any, recipe: PPOConfig) -> Range | Choices:
    """Check one key of the table and return what it says."""
    fields = {field.name: field for field in dataclasses.fields(recipe)}
    if name in _FIXED or name.startswith("params."):
        raise ValueError(f"search.{name} cannot be searched: {_FIXED.get(name, _FIXED['params'])}")
    if name not in fields:
        near = difflib.get_close_matches(name, set(fields) - set(_FIXED), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; they are {', '.join(sorted(set(fields) - set(_FIXED)))}"
        raise ValueError(f"search.{name} is not a field of {type(recipe).__name__}{hint}")
    number = fields[name].type in (int, float, float | None)
    if isinstance(entry, dict) and set(entry) == {"choices"}:
        return _choices(name, entry["choices"], recipe, integer=fields[name].type is int if number else None)
    if isinstance(entry, dict) and {"low", "high"} <= set(entry) <= {"low", "high", "log", "step"} and number:
        return _range(name, entry, integer=fields[name].type is int)
    allowed = "{ low, high } with log or step if wanted, or { choices }" if number else "{ choices = [...] }"
    raise ValueError(f"search.{name} must be {allowed}, got {entry!r}")


def _range(name: str, entry: Mapping[str, Any], *, integer: bool) -> Range:
    low, high, log, step = (entry.get(key) for key in ("low", "high", "log", "step"))
    for value in (low, high):
        check_number(f"{name}", value, integer=integer)
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if low >= high:
        raise ValueError(f"search.{name}.low must be below high = {high}, got {low}")
    if log not in (None, True, False):
        raise TypeError(f"search.{name}.log must be true or false, got {log!r}")
    if log and low <= 0:
        raise ValueError(f"search.{name}.low must be greater than 0 with log = true, got {low}")
    if step is not None and (log or not isinstance(step, int if integer else int | float) or not 0 < step < high):
        raise ValueError(
            f"search.{name}.step must be a positive {'integer' if integer else 'number'} below high = {high}, "
            f"and goes without log, got {step!r}"
        )
    return Range(*((low, high) if integer else (float(low), float(high))), log=bool(log), step=step)


def _choices(name: str, values: Any, recipe: PPOConfig, *, integer: bool | None) -> Choices:
    """Check every value alone; which of them go together shows in the trials.

    Args:
        name: The field.
        values: What the file says.
        recipe: It has the other fields.
        integer: Whether the field is an integer, None if it is not a number.
    """
    if not isinstance(values, list) or len(values) < 2:
        raise ValueError(f"search.{name}.choices must be a list of at least two values, got {values!r}")
    if any(value in values[:place] for place, value in enumerate(values)):
        raise ValueError(f"search.{name}.choices must differ from each other, got {values!r}")
    for value in values:
        if integer is not None:
            check_number(name, value, integer=integer)
        else:
            dataclasses.replace(recipe, **{name: field_value(value)})
    return Choices(tuple(values))


def field_value(value: Any) -> Any:
    """Return a value of TOML as a field of a recipe has it."""
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
