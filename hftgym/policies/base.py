"""The contract of every policy, and the two ends of it: features read by name, offsets written as actions.

This module needs numpy alone, so that a deployed agent runs without a compiler.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hftgym.observation import FEATURE_NAMES, N_FEATURES, with_sizes
from hftgym.params import EnvParams

# The two ends of the action range are not offsets: one buys or sells at once, the other shows no quote.
CROSS = -1.0
WITHDRAW = 1.0
# An offset at or beyond the opposite touch trades at once.
TOUCH = -1.0

_COLUMN = MappingProxyType({name: i for i, name in enumerate(FEATURE_NAMES)})
# The float32 numbers next to the two ends: actions that still rest.
_LOWEST = float(np.nextafter(np.float32(CROSS), np.float32(0)))
_HIGHEST = float(np.nextafter(np.float32(WITHDRAW), np.float32(0)))


class Policy(ABC):
    """A rule or a net that turns observations into actions; `predict` has Stable-Baselines3's signature.

    A subclass implements `actions` for a batch, and is then a function of the observation alone: `state` is handed
    back as it came. One with a memory overrides `predict`.
    """

    @abstractmethod
    def actions(self, observations: NDArray[np.float32]) -> NDArray[Any]:
        """Return actions (N, 2) = (bid, ask) in [-1, 1] for checked observations, float32 (N, 8)."""

    def predict(
        self,
        observation: ArrayLike,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.float32], tuple[np.ndarray, ...] | None]:
        """Return (action, state) for one observation or a batch.

        Args:
            observation: float32 (8,) or (N, 8), the features in the order of `FEATURE_NAMES`.
            state: Memory of a recurrent policy; handed back unchanged by a policy without one.
            episode_start: Which environments have just been reset; matters to recurrent policies only.
            deterministic: Matters to learned policies only.

        Returns:
            The action, float32 (2,) or (N, 2), order (bid, ask), and the state.

        Raises:
            ValueError: The observation has another shape, or a feature is not finite.
        """
        observations = checked_observation(observation)
        actions = np.asarray(self.actions(np.atleast_2d(observations)), dtype=np.float32)
        return (actions if observations.ndim == 2 else actions[0]), state


def feature(observations: NDArray[Any], name: str) -> NDArray[Any]:
    """Return one feature of a batch of observations (N, 8), by its name in the FEATURES table.

    Raises:
        ValueError: There is no feature of that name.
    """
    if name not in _COLUMN:
        raise ValueError(f"feature must be one of {', '.join(FEATURE_NAMES)}, got {name!r}")
    return observations[..., _COLUMN[name]]


def units_held(observations: NDArray[Any], params: EnvParams) -> NDArray[np.float64]:
    """Return the inventory in units, from the feature that gives it in limits."""
    return feature(observations, "inventory").astype(np.float64) * params.inventory_limit


def ticks_left(observations: NDArray[Any], params: EnvParams) -> NDArray[np.float64]:
    """Return T - t in ticks, from the feature that runs from 1 to -1."""
    return (feature(observations, "time_left").astype(np.float64) + 1.0) * 0.5 * params.horizon


def action_of_offset(offset: ArrayLike, params: EnvParams) -> NDArray[np.float32]:
    """Return the action, float32, that rests a quote `offset` half-spreads from the mid.

    The inverse of the market's linear map, to the resolution of float32. Offsets at or beyond the ends of the range
    become the nearest action inside (-1, 1): limiting an offset must never make it cross or withdraw.
    """
    low, high = params.offset_low, params.offset_high
    action = 2.0 * (np.clip(np.asarray(offset, dtype=np.float64), low, high) - low) / (high - low) - 1.0
    # The bounds are float32 numbers, so that rounding cannot carry a limited action to an end.
    return np.clip(action, _LOWEST, _HIGHEST).astype(np.float32)


def action_of_quote(offset: ArrayLike, params: EnvParams) -> NDArray[np.float32]:
    """Return the action of a quote that may also cross (offset -1 or below) or be absent (offset +inf)."""
    offset = np.asarray(offset, dtype=np.float64)
    resting = action_of_offset(offset, params)
    return np.where(offset <= TOUCH, CROSS, np.where(offset == np.inf, WITHDRAW, resting)).astype(np.float32)


def quote_of_action(action: ArrayLike, params: EnvParams) -> NDArray[np.float64]:
    """Return the offsets that actions ask for, -1 for one that crosses and +inf for one that withdraws."""
    action = np.asarray(action, dtype=np.float64)
    offset = params.offset_low + 0.5 * (action + 1.0) * (params.offset_high - params.offset_low)
    return np.where(action <= CROSS, TOUCH, np.where(action >= WITHDRAW, np.inf, offset))


def pair(bid: ArrayLike, ask: ArrayLike) -> NDArray[np.float32]:
    """Return actions (N, 2) from one column per side."""
    return np.stack([bid, ask], axis=-1).astype(np.float32)


def checked_number(name: str, value: Any, *, low: float, high: float, allowed: str) -> float:
    """Return `value` as a float in [low, high], or raise a ValueError that says what is allowed."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if isinstance(value, (bool, str)) or not (np.isfinite(number) and low <= number <= high):
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    return number


def checked_observation(observation: ArrayLike) -> NDArray[np.float32]:
    """Return the observation as a float32 array of an allowed shape, all of it finite."""
    observations = np.asarray(observation, dtype=np.float32)
    if observations.ndim not in (1, 2) or observations.shape[-1] != N_FEATURES:
        raise ValueError(
            f"observation must have the shape ({N_FEATURES},) or (N, {N_FEATURES}), got {observations.shape}"
        )
    finite = np.isfinite(observations)
    if not finite.all():
        names = _names(np.flatnonzero(~np.atleast_2d(finite).all(axis=0)))
        raise ValueError(f"observation must be finite, got a NaN or an infinity in {names}")
    return observations


def _names(columns: Sequence[int] | NDArray[np.intp]) -> str:
    return ", ".join(FEATURE_NAMES[i] for i in columns)


def checked_action(action: ArrayLike, params: EnvParams, *, name: str) -> NDArray[np.float64]:
    """Return one decision as float64 (2,), or (4,) where actions are sized; who names no sizes trades the full one.

    Raises:
        ValueError: It has another shape, or is not in [-1, 1]; the message names the policy.
    """
    width = 4 if params.sized_actions else 2
    checked = np.asarray(action, dtype=np.float64)
    if (checked.shape != (2,) and checked.shape != (width,)) or _outside(checked.tolist()):
        wanted = "two numbers in [-1, 1] (bid, ask)" + ("" if width == 2 else ", or four with the sizes")
        raise ValueError(f"{name} must return {wanted}, got {checked}")
    return checked if checked.size == width else with_sizes(checked, width)


def _outside(values: list[float]) -> bool:
    """Return whether one of them is not in [-1, 1]."""
    for value in values:  # noqa: SIM110 - for two numbers three times as quick as `any`
        if not -1 <= value <= 1:  # NaN too
            return True
    return False
