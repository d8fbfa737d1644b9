"""Play a policy on many episodes at once, and add up what each of them earned.

Episode i has the seed `seed + i`, whatever the policy: two policies played from the same seed meet the same prices and
the same market orders, so their differences can be taken episode by episode (common random numbers).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from random import Random
from typing import Any, Protocol, cast

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from hftgym.envs.vector import MarketMakingVectorEnv
from hftgym.observation import with_sizes
from hftgym.params import EnvParams
from hftgym.registration import IDS

# Environments per pass: bounds the memory (about 1 kB each and what the policy needs), whatever the episodes.
_CHUNK = 8_192


class Predicts(Protocol):
    """What can be played: every policy of hftgym, every Stable-Baselines3 model."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Any, Any]:
        """Return (actions (N, 2), state) for observations (N, 8)."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Figures:
    """What each of n episodes came to; float64 (n,), money in quote currency.

    Attributes:
        j: Sum of rewards: the criterion; pnl - penalty unless the market has another reward.
        pnl: Equity at the end less equity at the start.
        price_free: j less `inventory_pnl` where the reward is the PnL, and j itself where it is another one. On a
            martingale it has the same expectation and a far smaller variance.
        spread_capture: Distance from the mid, summed over the fills.
        inventory_pnl: Inventory times the move of the mid, summed over the ticks.
        fees: Fees paid.
        penalty: phi times inventory^2, summed over the ticks, and the terminal penalty.
        inventory_rms: Root mean square inventory over the ticks, units.
        inventory_abs_max: Largest absolute inventory, units.
        fills: Number of fills, both sides.
        turnover: Value traded, at the mid.
    """

    j: NDArray[np.float64]
    pnl: NDArray[np.float64]
    price_free: NDArray[np.float64]
    spread_capture: NDArray[np.float64]
    inventory_pnl: NDArray[np.float64]
    fees: NDArray[np.float64]
    penalty: NDArray[np.float64]
    inventory_rms: NDArray[np.float64]
    inventory_abs_max: NDArray[np.float64]
    fills: NDArray[np.float64]
    turnover: NDArray[np.float64]


FIGURES: tuple[str, ...] = tuple(field.name for field in fields(Figures))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Paths:
    """How the first m episodes went, tick by tick; an episode that ended early keeps its last value.

    Attributes:
        pnl: Equity less equity at the start, float32 (m, T + 1), quote currency.
        inventory: float32 (m, T + 1), units.
    """

    pnl: NDArray[np.float32]
    inventory: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rollout:
    """One policy on n episodes.

    Attributes:
        params: The market that was played.
        seeds: Seed of every episode, uint64 (n,).
        figures: What every episode came to.
        paths: Paths of the first episodes, as many as were asked for.
    """

    params: EnvParams
    seeds: NDArray[np.uint64]
    figures: Figures
    paths: Paths


def rollout(
    policy: Predicts,
    env_id: str = "MarketMaking-v0",
    *,
    episodes: int = 1_000,
    seed: int = 0,
    params: EnvParams | None = None,
    paths: int = 0,
    name: str = "policy",
    on_tick: Callable[[float], None] | None = None,
) -> Rollout:
    """Play `policy` on episodes with the seeds seed, seed + 1, ... in the native batch.

    A policy's own random generators are put back afterwards, so that playing it again gives the same again.

    Args:
        policy: Anything with Stable-Baselines3's `predict`; it is called with `deterministic=True`.
        env_id: A registered market.
        episodes: How many, at least 1.
        seed: Seed of the first episode.
        params: The market; None takes the id's own.
        paths: Keep the paths of so many first episodes (8 bytes per episode and tick).
        name: What errors call the policy.
        on_tick: Called after every tick with the share of the work that is done, 0 to 1.

    Raises:
        ValueError: An argument is outside its range, or the policy returned something else than (episodes, 2) actions
            in [-1, 1].
        TypeError: The policy has no `predict`.
    """
    for label, value, low in (("episodes", episodes, 1), ("paths", paths, 0)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
            raise ValueError(f"{label} must be an integer of at least {low}, got {value!r}")
    if not callable(getattr(policy, "predict", None)):
        raise TypeError(f"policy {name!r} must have a method predict(observation, ...), got {type(policy).__name__}")
    generators = _generators(policy)
    parts: list[tuple[Figures, Paths]] = []
    market = None
    try:
        for first in range(0, episodes, _CHUNK):
            count = min(_CHUNK, episodes - first)
            envs = _make(env_id, count, params)
            market = envs.params
            share = _share(on_tick, first / episodes, count / episodes / market.horizon)
            keep = min(max(paths - first, 0), count)
            parts.append(_play(policy, envs, seed=seed + first, keep=keep, name=name, on_tick=share))
    finally:
        for generator, state in generators:
            _set_state(generator, state)
    return Rollout(
        params=cast(EnvParams, market),
        seeds=np.arange(episodes, dtype=np.uint64) + np.uint64(seed),
        figures=Figures(**{k: np.concatenate([getattr(figures, k) for figures, _ in parts]) for k in FIGURES}),
        paths=Paths(
            pnl=np.concatenate([kept.pnl for _, kept in parts]),
            inventory=np.concatenate([kept.inventory for _, kept in parts]),
        ),
    )


def actions_of(
    policy: Predicts, observations: np.ndarray, *, state: Any, start: np.ndarray, name: str, width: int = 2
) -> tuple[np.ndarray, Any]:
    """Return the policy's (actions (N, 2), state), checked.

    Raises:
        ValueError: The shape is wrong, or an action is not in [-1, 1]; the message names the policy.
    """
    actions, state = policy.predict(observations, state=state, episode_start=start, deterministic=True)
    actions = np.asarray(actions)
    wanted = (len(observations), 2)
    if actions.shape not in (wanted, (len(observations), width)):
        raise ValueError(f"policy {name!r} must return actions of the shape {wanted}, got {actions.shape}")
    if not (np.abs(actions) <= 1.0).all():
        wrong = actions[~(np.abs(actions) <= 1.0).all(axis=1)][0].tolist()
        raise ValueError(f"policy {name!r} must return actions in [-1, 1], got {wrong}")
    return actions, state


def _play(
    policy: Predicts, envs: MarketMakingVectorEnv, *, seed: int, keep: int, name: str, on_tick: Callable[[int], None]
) -> tuple[Figures, Paths]:
    """Play one episode in every environment."""
    observations, info = envs.reset(seed=seed)
    horizon = envs.params.horizon
    totals = _Totals(envs.num_envs, info)
    pnl, inventory = np.zeros((2, horizon + 1, keep), dtype=np.float32)
    state, start = None, np.ones(envs.num_envs, dtype=bool)
    for t in range(horizon):
        actions, state = actions_of(policy, observations, state=state, start=start, name=name, width=_width(envs))
        start = np.zeros(envs.num_envs, dtype=bool)
        observations, rewards, terminated, truncated, info = envs.step(with_sizes(actions, _width(envs)))
        totals.add(rewards, info, terminated, params=envs.params)
        totals.running &= ~(terminated | truncated)
        pnl[t + 1] = totals.pnl[:keep]
        inventory[t + 1] = totals.inventory[:keep]
        on_tick(t + 1)
        if not totals.running.any():
            pnl[t + 2 :], inventory[t + 2 :] = pnl[t + 1], inventory[t + 1]
            break
    envs.close()
    return totals.figures(), Paths(pnl=pnl.T, inventory=inventory.T)


def _width(envs: MarketMakingVectorEnv) -> int:
    return 4 if envs.params.sized_actions else 2


class _Totals:
    """Running sums of a batch of episodes, each of which stops counting when it ends."""

    def __init__(self, count: int, info: dict[str, Any]) -> None:
        self.running = np.ones(count, dtype=bool)
        self.pnl, self.inventory = np.zeros(count), np.zeros(count)
        self._equity, self._mid = info["equity"], info["mid"]
        self._ticks, self._squares, self._largest, self._price_free = np.zeros((4, count))
        names = ("j", "spread_capture", "inventory_pnl", "fees", "penalty", "fills", "turnover")
        self._sums = {name: np.zeros(count) for name in names}

    def add(self, rewards: np.ndarray, info: dict[str, Any], ended: np.ndarray, *, params: EnvParams) -> None:
        """Count one tick."""
        on = self.running
        bought, sold, held = info["fill_bid"], info["fill_ask"], info["inventory"]
        squares = held * held
        if params.reward == "pnl":
            np.subtract(self._price_free, info["inventory_pnl"], out=self._price_free, where=on)
        tick = {
            "j": rewards,
            "spread_capture": info["spread_capture"],
            "inventory_pnl": info["inventory_pnl"],
            "fees": info["fees"],
            "penalty": (params.phi + ended * params.terminal_penalty * params.half_spread) * squares,
            "fills": (bought > 0).astype(np.float64) + (sold > 0),
            "turnover": (bought + sold) * self._mid,
        }
        for name, value in tick.items():
            np.add(self._sums[name], value, out=self._sums[name], where=on)
        self._ticks += on
        np.add(self._squares, squares, out=self._squares, where=on)
        np.maximum(self._largest, np.abs(held), out=self._largest, where=on)
        np.subtract(info["equity"], self._equity, out=self.pnl, where=on)
        np.copyto(self.inventory, held, where=on)
        self._mid = info["mid"]

    def figures(self) -> Figures:
        """Return what the episodes came to."""
        return Figures(
            **self._sums,
            pnl=self.pnl,
            price_free=self._sums["j"] + self._price_free,
            inventory_rms=np.sqrt(self._squares / self._ticks),
            inventory_abs_max=self._largest,
        )


def _make(env_id: str, count: int, params: EnvParams | None) -> MarketMakingVectorEnv:
    """Return the batch of a registered market, which ends its episodes and waits."""
    kwargs: dict[str, Any] = {} if params is None else {"params": params}
    try:
        envs = gym.make_vec(env_id, num_envs=count, autoreset_mode=AutoresetMode.DISABLED, **kwargs)
    except gym.error.UnregisteredEnv as error:
        raise ValueError(f"env_id must be a registered market such as {', '.join(IDS)}, got {env_id!r}") from error
    except TypeError as error:
        raise ValueError(f"env_id must be a market of hftgym ({', '.join(IDS)}), got {env_id!r}: {error}") from error
    if not isinstance(envs.unwrapped, MarketMakingVectorEnv):
        raise ValueError(f"env_id must be a market of hftgym ({', '.join(IDS)}), got {env_id!r}")
    return envs.unwrapped


def _share(on_tick: Callable[[float], None] | None, before: float, per_tick: float) -> Callable[[int], None]:
    """Return what turns a chunk's ticks into the share of the whole work."""
    if on_tick is None:
        return lambda tick: None
    return lambda tick: on_tick(before + tick * per_tick)


def _generators(policy: Any) -> list[tuple[Any, Any]]:
    """Return the random generators that a policy holds, each with its state."""
    found: list[tuple[Any, Any]] = []
    for value in getattr(policy, "__dict__", {}).values():
        if isinstance(value, np.random.Generator):
            found.append((value, value.bit_generator.state))
        elif isinstance(value, np.random.RandomState):
            found.append((value, value.get_state()))
        elif isinstance(value, Random):
            found.append((value, value.getstate()))
    return found


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state)
    else:
        generator.setstate(state)
