"""A forecaster of the next move, traded as the z-score rule trades z: cross when it is sure enough, else do nothing."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hftgym.policies.base import CROSS, WITHDRAW, Policy, checked_number, checked_observation, feature, pair

# Moves that a forecaster sees, the newest last.
WINDOW = 50
# Moves are multiples of it, wrong by 2.4e-6 standard deviations at most. Their products with weights on a similar grid
# add up exactly in float64, whatever the order: a batch, one row and an exported graph have the same features.
GRID = 2.0**-20


class Forecasts(Protocol):
    """What can be traded: every forecaster of `agents.forecasters`, or anything with this one method."""

    def proba(self, windows: NDArray[np.float32], /) -> NDArray[Any]:
        """Return the probabilities (N,) of an up move, given one moves next, after windows float32 (N, 50)."""
        ...


class SignalPolicy(Policy):
    """Buy one order at the ask when an up move is more probable than `entry`, sell one at the bid when a down move is.

    Otherwise show no quote. The forecaster sees the last 50 moves as the feature last_return shows them (fractions of
    5 nominal standard deviations, clipped there, the newest last), and zeros before the start of the episode. The
    policy remembers them: its state is one array, float32 (50,) for one observation and (N, 50) for a batch. Call
    `predict` once per tick, with the state that it returned.

    Args:
        forecaster: Anything with `proba(windows) -> probabilities`.
        entry: Probability beyond which it trades, at least 1/2 and below 1. A trade pays half the spread and the fee,
            so an edge that is real may still be too small.

    Raises:
        ValueError: `entry` is outside its range.
        TypeError: The forecaster has no `proba`.
    """

    def __init__(self, forecaster: Forecasts, entry: float = 0.55) -> None:
        if not callable(getattr(forecaster, "proba", None)):
            raise TypeError(f"forecaster must have a method proba(windows), got {type(forecaster).__name__}")
        below = float(np.nextafter(1.0, 0.0))
        self.entry = checked_number("entry", entry, low=0.5, high=below, allowed="a probability from 0.5 to below 1")
        self.forecaster = forecaster

    def predict(
        self,
        observation: ArrayLike,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.float32], tuple[np.ndarray, ...] | None]:
        """Return (action, state) for one observation or a batch, as `Policy.predict`.

        Raises:
            ValueError: The observation is not as it must be, the state is not one window per observation, or the
                forecaster returned something else than one probability each.
        """
        observations = checked_observation(observation)
        batch = np.atleast_2d(observations)
        windows = self._remembered(batch, state, episode_start, single=observations.ndim == 1)
        actions = self._trade(batch, windows)
        return (actions, (windows,)) if observations.ndim == 2 else (actions[0], (windows[0],))

    def actions(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return actions (N, 2) without memory, as if episodes began here."""
        return self._trade(observations, extended(np.zeros((len(observations), WINDOW), np.float32), observations))

    def _remembered(
        self,
        observations: NDArray[np.float32],
        state: tuple[np.ndarray, ...] | None,
        episode_start: np.ndarray | None,
        *,
        single: bool,
    ) -> NDArray[np.float32]:
        """Return the windows (N, 50) with the newest move in them."""
        count = len(observations)
        if state is None:
            return extended(np.zeros((count, WINDOW), dtype=np.float32), observations)
        expected = (WINDOW,) if single else (count, WINDOW)
        if len(state) != 1 or np.shape(state[0]) != expected:
            raise ValueError(f"state must be one array of the shape {expected}, got {[np.shape(x) for x in state]}")
        before = np.asarray(state[0], dtype=np.float32).reshape(count, WINDOW)
        if episode_start is not None:
            start = np.broadcast_to(np.asarray(episode_start, dtype=bool).reshape(-1), (count,))
            before = np.where(start[:, None], np.float32(0), before)
        return extended(before, observations)

    def _trade(self, observations: NDArray[np.float32], windows: NDArray[np.float32]) -> NDArray[np.float32]:
        up = np.asarray(self.forecaster.proba(windows))
        if up.shape != (len(windows),) or not ((up >= 0.0) & (up <= 1.0)).all():
            raise ValueError(f"forecaster must return {len(windows)} probabilities, got {up.shape}: {up.ravel()[:4]}")
        inventory = feature(observations, "inventory")
        bid = np.where((up > self.entry) & (inventory < 1.0), CROSS, WITHDRAW)
        ask = np.where((up < 1.0 - self.entry) & (inventory > -1.0), CROSS, WITHDRAW)
        return pair(bid, ask)


def extended(windows: NDArray[np.float32], observations: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return windows (N, 50) one tick on: the oldest move leaves, the one in the observations (N, 8) comes last."""
    newest = on_grid(feature(observations, "last_return"))
    return np.concatenate([windows[:, 1:], newest[:, None]], axis=1)


def on_grid(moves: ArrayLike) -> NDArray[np.float32]:
    """Return moves in [-1, 1] rounded to multiples of `GRID`, which float32 holds exactly."""
    return np.rint(np.asarray(moves, dtype=np.float32) / np.float32(GRID)) * np.float32(GRID)
