"""The value of a policy that looks at everything it is shown: exact over the fills, averaged over price paths.

Given the prices of an episode, what a policy sees of the market is known in every tick, and what is left to chance are
the fills. So its value on that path follows by backward recursion over (tick, inventory, fills of the last tick), and
no fill is ever drawn: a handful of paths says more than thousands of played episodes.
"""

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from hftgym.observation import FEATURE_NAMES, N_FEATURES
from hftgym.params import EnvParams, as_params
from hftgym.policies.base import quote_of_action
from hftgym.policies.recursion import covered, fill_terms
from hftgym.rollout import Predicts

_INVENTORY, _BID, _ASK = (FEATURE_NAMES.index(name) for name in ("inventory", "bid_fill", "ask_fill"))
# Ticks whose quotes are asked for at a time: bounds the memory, about 3 kB per tick, path and unit of inventory limit.
_TICKS = 50

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PricePaths:
    """What is to be seen of the market along some price paths; `value` plays policies on it.

    Attributes:
        params: The market.
        observations: float32 (T, K, 8); inventory and fills in it are those of nobody.
    """

    params: EnvParams
    observations: NDArray[np.float32]

    @classmethod
    def drawn(
        cls, params: EnvParams | None = None, *, paths: int = 16, seed: int = 0, env_id: str = "MarketMaking-v0"
    ) -> "PricePaths":
        """Draw paths with the seeds seed, seed + 1, ...

        Args:
            params: The market; None is the default one.
            paths: How many, at least 1.
            seed: Seed of the first.
            env_id: A registered market.

        Raises:
            ValueError: The recursion does not cover the market; the message names the parameter.
        """
        params = covered(params)
        if paths < 1:
            raise ValueError(f"paths must be at least 1, got {paths}")
        envs = gym.make_vec(env_id, num_envs=paths, params=params, autoreset_mode=AutoresetMode.SAME_STEP)
        seen = np.empty((params.horizon, paths, N_FEATURES), dtype=np.float32)
        seen[0] = envs.reset(seed=seed)[0]
        nobody = np.ones((paths, 2), dtype=np.float32)  # withdraws both quotes
        for tick in range(1, params.horizon):
            seen[tick] = envs.step(nobody)[0]
        envs.close()
        return cls(params, seen)

    def value(self, policy: Predicts) -> tuple[float, float]:
        """Return (J, standard error) of a policy without memory, quote currency per episode; price moves left out.

        What inventory gains from price moves has mean zero on the martingales that the recursion covers, so that this
        J has the expectation of the true one. The error is that of the mean over the paths (nan for one).
        """
        values = self.values(policy)
        error = values.std(ddof=1) / np.sqrt(values.size) if values.size > 1 else np.nan
        return float(values.mean()), float(error)

    def values(self, policy: Predicts) -> FloatArray:
        """Return J on every path, float64 (K,), quote currency; see `value`."""
        params, (horizon, paths, _) = self.params, self.observations.shape
        limit = params.inventory_limit
        penalty = params.inventory_penalty * np.arange(-limit, limit + 1.0) ** 2
        value: FloatArray = np.zeros((paths, 2, 2, 2 * limit + 1))
        for end in range(horizon, 0, -_TICKS):
            start = max(end - _TICKS, 0)
            (bid, bid_gain), (ask, ask_gain) = self._fills(policy, start, end)
            for t in range(end - start - 1, -1, -1):
                value = _before(value - penalty, bid[t], bid_gain[t], ask[t], ask_gain[t])
        return value[:, 0, 0, limit] * params.half_spread

    def _fills(self, policy: Predicts, start: int, end: int) -> list[tuple[FloatArray, FloatArray]]:
        """Return (probability, gain in half-spreads) of the bid and of the ask, each (ticks, K, 2, 2, 2Q + 1).

        The axes after the path are: was the bid filled in the last tick, was the ask, and the inventory.
        """
        params, paths = self.params, self.observations.shape[1]
        limit = params.inventory_limit
        states = np.empty((end - start, paths, 2, 2, 2 * limit + 1, N_FEATURES), dtype=np.float32)
        states[:] = self.observations[start:end, :, None, None, None]
        states[..., _INVENTORY] = np.arange(-limit, limit + 1) / limit
        states[..., _BID] = np.arange(2)[:, None, None]
        states[..., _ASK] = np.arange(2)[:, None]
        actions, _ = policy.predict(states.reshape(-1, N_FEATURES), deterministic=True)
        quotes = quote_of_action(np.asarray(actions), params).reshape(*states.shape[:-1], 2)
        return [fill_terms(quotes[..., i], side, params) for i, side in enumerate((1.0, -1.0))]


def _before(
    after: FloatArray, bid: FloatArray, bid_gain: FloatArray, ask: FloatArray, ask_gain: FloatArray
) -> FloatArray:
    """Return the value before a tick from the value after it less the penalty; all (K, 2, 2, 2Q + 1).

    `after` has the fills of this tick on its middle axes, the others those of the tick before.
    """
    none, both = after[:, None, None, 0, 0], after[:, None, None, 1, 1]
    bought = np.roll(after[:, None, None, 1, 0], -1, axis=-1)  # what rolls over an edge has probability 0
    sold = np.roll(after[:, None, None, 0, 1], 1, axis=-1)
    return (1 - bid) * ((1 - ask) * none + ask * (sold + ask_gain)) + bid * (
        (1 - ask) * (bought + bid_gain) + ask * (both + bid_gain + ask_gain)
    )


def paths_for(params: EnvParams | None, *, ticks: int, env_id: str, seed: int) -> PricePaths | None:
    """Return paths of about so many ticks in all (2 to 64 paths), or None where the recursion does not apply."""
    market = as_params(params)
    try:
        return PricePaths.drawn(market, paths=min(max(ticks // market.horizon, 2), 64), seed=seed, env_id=env_id)
    except ValueError:  # the recursion says so of every market that it does not cover
        return None
