"""What both environments check in the same way: seeds, reset options, and a spec that survives JSON."""

import dataclasses
import operator
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec

from hftgym.params import EnvParams

RESET_OPTIONS = ("tick", "inventory")
_SEEDS = 2**64


def checked_seed(seed: Any) -> int:
    """Return a seed as a Python integer.

    Raises:
        ValueError: It is not an integer in [0, 2^64).
    """
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if not 0 <= number < _SEEDS:
        raise ValueError(f"seed must be an integer from 0 to 2^64 - 1, got {seed!r}")
    return number


def start_states(options: Mapping[str, Any] | None, params: EnvParams, count: int) -> np.ndarray:
    """Return (2, count) float64: the tick and the inventory at which each episode starts, from reset options.

    Raises:
        ValueError: An option is unknown, outside its range, or of the wrong shape.
    """
    start = np.zeros((2, count))
    options = options or {}
    for row, (name, low, high) in enumerate(
        (("tick", 0, params.horizon - 1), ("inventory", -params.inventory_limit, params.inventory_limit))
    ):
        if name in options:
            try:
                start[row] = np.asarray(options[name], dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"options[{name!r}] must be a number or {count} of them, got {options[name]!r}"
                ) from error
            whole = name != "tick" or np.all(start[row] == np.floor(start[row]))
            if not (np.all((start[row] >= low) & (start[row] <= high)) and whole):
                raise ValueError(f"options[{name!r}] must be from {low} to {high}, got {options[name]!r}")
    return start


def refuse_unknown_options(options: Mapping[str, Any] | None, known: tuple[str, ...]) -> None:
    """Raise a ValueError for a reset option that means nothing here."""
    for name in options or {}:
        if name not in known:
            raise ValueError(f"options may hold {', '.join(known)}, got {name!r}")


class JsonSpec:
    """Mixin: a `spec` that survives `spec.to_json()`, although it may have been made with an EnvParams or an enum."""

    _spec: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """What `gym.make` built this from, with plain values only."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None:
            spec = dataclasses.replace(spec, kwargs={name: _plain(value) for name, value in spec.kwargs.items()})
        self._spec = spec


def _plain(value: Any) -> Any:
    if isinstance(value, EnvParams):
        return value.to_dict()
    return value.value if isinstance(value, Enum) else value
