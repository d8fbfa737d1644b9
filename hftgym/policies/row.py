"""One decision at a time, through fixed buffers: the shortest path from an observation to an action."""

import math
from collections.abc import Callable, Mapping
from itertools import accumulate, pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hftgym.observation import FEATURE_NAMES, N_FEATURES
from hftgym.policies.artefact import N_ACTIONS
from hftgym.policies.engine import BindingEngine

_FLOAT32, _SHAPE = np.dtype(np.float32), (N_FEATURES,)

State = tuple[NDArray[np.float32], ...]


class Decides(Protocol):
    """Decides about one observation after the other; the methods are those of `Row` and `RememberingRow`."""

    @property
    def act(self) -> Callable[[Any], NDArray[np.float32]]:
        """Return what returns the action of an observation, a view."""
        ...

    def predict(self, observation: Any, state: Any, start: Any, /) -> tuple[NDArray[np.float32], Any]:
        """Return (action, new state), copies."""
        ...

    def reset(self) -> None:
        """Start an episode."""
        ...


class Row:
    """Decides about one observation after the other, without a memory.

    Args:
        engine: Computes the net.
        name: What errors call the policy.
    """

    def __init__(self, engine: BindingEngine, name: str) -> None:
        self._name = name
        observation, action = _buffer(N_FEATURES), _buffer(N_ACTIONS)
        self._observation, self._action = observation[0], action[0]
        self._run = engine.bind([observation], [action])

    def act(self, observation: Any) -> NDArray[np.float32]:
        """Return the action, a view of the row's own buffer; see `OnnxPolicy.act`."""
        if type(observation) is not np.ndarray or observation.shape != _SHAPE or observation.dtype is not _FLOAT32:
            observation = as_observation(observation)
        # A sum of float32 numbers in float64 is finite if and only if they all are, and faster than numpy's test.
        if not math.isfinite(sum(observation.tolist())):
            raise not_finite(observation)
        self._observation[:] = observation
        self._run()
        action = self._action
        bid, ask = action.tolist()
        if not math.isfinite(bid + ask):
            raise overflow(self._name, observation, action)
        return action

    def predict(self, observation: Any, state: Any, _start: Any) -> tuple[NDArray[np.float32], Any]:
        """Return (action, the state as it came)."""
        return self.act(observation).copy(), state

    def reset(self) -> None:
        """Forget nothing: there is nothing to forget."""


class RememberingRow:
    """Decides about one observation after the other, with a memory: its own (`act`) or the caller's (`predict`).

    The net reads the memory in one buffer and writes it to the other, in turn, so that nothing is copied, and what
    went wrong can be thrown away.

    Args:
        engine: Computes the net.
        widths: Of every memory, by name, in order.
        name: What errors call the policy.
    """

    def __init__(self, engine: BindingEngine, widths: Mapping[str, int], name: str) -> None:
        self._name, self._widths = name, widths
        self._slices = [slice(*ends) for ends in pairwise(accumulate(widths.values(), initial=0))]
        observation, action = _buffer(N_FEATURES), _buffer(N_ACTIONS)
        # Two memories take turns in `act`; `predict` reads the third and writes the fourth.
        memories = [_buffer(sum(widths.values())) for _ in range(4)]
        self._ping, self._pong, given_memory, self._taken = (memory[0] for memory in memories)
        self._given = [given_memory[part] for part in self._slices]
        self._finite = np.ones(self._ping.size, dtype=np.bool_)
        self._all_finite = self._finite.tobytes()
        own, given = np.ones((2, 1, 1), dtype=np.bool_)
        self._observation, self._action, self._starts, self._given_starts = observation[0], action[0], own[0], given[0]

        def bound(start: NDArray[np.bool_], read: int, write: int) -> Any:
            into = [memories[read][:, part] for part in self._slices]
            out = [memories[write][:, part] for part in self._slices]
            return engine.bind([observation, start, *into], [action, *out])

        # (run, the memory that it writes)
        self._turns = ((bound(own, 0, 1), self._pong), (bound(own, 1, 0), self._ping))
        self._turn = 0
        self._run_given = bound(given, 2, 3)

    def act(self, observation: Any) -> NDArray[np.float32]:
        """Return the action, a view of the row's own buffer; what raises leaves the memory as it was."""
        self._take(observation)
        run, memory = self._turns[self._turn]
        run()
        self._check(memory)
        self._turn = 1 - self._turn
        self._starts[0] = False
        return self._action

    def reset(self) -> None:
        """Start an episode: the next `act` knows nothing of the past."""
        self._starts[0] = True

    def predict(self, observation: Any, state: Any, start: Any) -> tuple[NDArray[np.float32], State]:
        """Return (action, new state), copies; the memory of `act` is left alone."""
        self._take(observation)
        begins = False if start is None else starts_of(start, 1)[0]
        self._given_starts[0] = begins or state is None
        if state is not None:
            if type(state) is not tuple or len(state) != len(self._slices):
                raise wrong_state(self._widths, state)
            for part, value in zip(self._given, state, strict=True):
                if type(value) is not np.ndarray or value.shape != part.shape:
                    raise wrong_state(self._widths, state)
                part[:] = value
        self._run_given()
        self._check(self._taken)
        taken = self._taken.copy()
        return self._action.copy(), tuple([taken[part] for part in self._slices])

    def _take(self, observation: Any) -> None:
        """Put an observation into the buffer, if it is one and finite."""
        if type(observation) is not np.ndarray or observation.shape != _SHAPE or observation.dtype is not _FLOAT32:
            observation = as_observation(observation)
        if not math.isfinite(sum(observation.tolist())):
            raise not_finite(observation)
        self._observation[:] = observation

    def _check(self, memory: NDArray[np.float32]) -> None:
        """Raise unless the action and the memory that were just written are finite."""
        if not math.isfinite(sum(self._action.tolist())):
            raise overflow(self._name, self._observation, self._action)
        # Comparing bytes is five times as fast as `all`.
        if np.isfinite(memory, self._finite).tobytes() != self._all_finite:
            wrong = [
                name
                for name, part in zip(self._widths, self._slices, strict=True)
                if not np.isfinite(memory[part]).all()
            ]
            raise FloatingPointError(f"{self._name}: the net's new memory {', '.join(wrong)} is not finite")


def as_observation(value: Any) -> NDArray[np.float32]:
    """Return one observation, float32 (8,), or raise a ValueError."""
    observation = np.asarray(value, dtype=np.float32)
    if observation.shape != _SHAPE:
        raise ValueError(f"observation must have the shape ({N_FEATURES},), got {observation.shape}")
    return observation


def starts_of(start: Any, count: int) -> NDArray[np.bool_]:
    """Return `episode_start`, bool (count,); None is nowhere, and one truth value counts for all."""
    array = np.asarray(False if start is None else start, dtype=np.bool_)
    if array.shape not in ((), (count,)):
        raise ValueError(f"episode_start must have the shape ({count},), got {array.shape}")
    return array if array.shape else np.full(count, array)


def wrong_state(widths: Mapping[str, int], state: Any, count: int | None = None) -> ValueError:
    """Return the error for a state of another form; `count` is the size of the batch, None for one observation."""
    rows = () if count is None else (count,)
    wanted = ", ".join(f"{name} {(*rows, width)}" for name, width in widths.items())
    got = tuple(np.shape(part) for part in state) if isinstance(state, (tuple, list)) else type(state).__name__
    return ValueError(f"state must be None or a tuple of float32 arrays, {wanted}; got {got}")


def not_finite(observation: NDArray[np.float32]) -> ValueError:
    """Return the error for an observation that is not finite, with the names of the features."""
    names = ", ".join(FEATURE_NAMES[i] for i in np.flatnonzero(~np.isfinite(observation)))
    return ValueError(f"observation must be finite, got a NaN or an infinity in {names}")


def overflow(name: str, observation: NDArray[np.float32], action: NDArray[np.float32]) -> FloatingPointError:
    """Return the error for an action that is not finite."""
    return FloatingPointError(f"{name}: the net returned {action.tolist()} for {observation.tolist()}")


def _buffer(width: int) -> NDArray[np.float32]:
    return np.zeros((1, width), dtype=np.float32)
