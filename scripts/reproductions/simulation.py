"""Play a policy through the batch of environments, keeping nothing but how each episode ended."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from hftgym import EnvParams
from hftgym.envs import MarketMakingVectorEnv
from hftgym.policies import Policy

# Environments per pass: with what the policy needs, they fit into the cache.
_CHUNK = 8_192


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ends:
    """How n episodes ended; float64 (n,).

    Attributes:
        j: Sum of rewards, quote currency.
        pnl: Equity at the end less equity at the start, quote currency.
        inventory: Units held at the end.
        seconds: Wall time of it all, the policy included.
    """

    j: NDArray[np.float64]
    pnl: NDArray[np.float64]
    inventory: NDArray[np.float64]
    seconds: float


def simulate(
    policy: Policy, params: EnvParams, *, paths: int, seed: int, on_tick: Callable[[float], None] = lambda share: None
) -> Ends:
    """Play one episode on every seed from `seed` on, on one thread.

    Args:
        policy: Who plays.
        params: The market.
        paths: Episodes.
        seed: Seed of the first.
        on_tick: Told the share that is done, 0 to 1.
    """
    j, pnl, inventory = np.zeros((3, paths))
    began = time.perf_counter()
    for first in range(0, paths, _CHUNK):
        part = slice(first, min(first + _CHUNK, paths))
        envs = MarketMakingVectorEnv(part.stop - first, params=params, autoreset_mode=AutoresetMode.DISABLED)
        observations, info = envs.reset(seed=seed + first)
        for t in range(params.horizon):
            observations, rewards, _, _, info = envs.step(policy.predict(observations)[0])
            j[part] += rewards
            on_tick((first + (part.stop - first) * (t + 1) / params.horizon) / paths)
        pnl[part], inventory[part] = info["equity"] - params.initial_cash, info["inventory"]
    return Ends(j=j, pnl=pnl, inventory=inventory, seconds=time.perf_counter() - began)


def mean_and_error(x: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean and its standard error."""
    return float(x.mean()), float(x.std(ddof=1) / np.sqrt(len(x)))


def std_and_error(x: NDArray[np.float64]) -> tuple[float, float]:
    """Return the standard deviation and its standard error, from the fourth moment."""
    squares = (x - x.mean()) ** 2
    std = float(np.sqrt(squares.mean()))
    return std, float(squares.std() / np.sqrt(len(x)) / (2 * std))
