"""Stable-Baselines3's `VecEnv` over the native batch: no subprocesses, no wrappers."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

import hftgym  # noqa: F401 (registers the ids)
from agents.innovation import Innovation
from agents.return_memory import ReturnMemory
from agents.reward_scale import RewardScale
from hftgym import EnvParams
from hftgym.observation import MARKET_FEATURES, N_FEATURES

TrainingReward = Literal["martingale_free", "innovation_free", "raw"]
# Sums over all environments and ticks that `take_totals` hands out.
TOTALS = ("pnl", "spread_capture", "inventory_pnl", "fees", "inventory_abs", "fills")


class NativeVecEnv(VecEnv):
    """N market-making environments as Stable-Baselines3 wants them, stepped by one call into compiled code.

    Environment i under seed s has the stream of a single environment under seed s + i. Episodes end and start in the
    same step; `infos[i]` then holds `terminal_observation`, `TimeLimit.truncated` and, as SB3's `Monitor` would,
    `episode` = {"r": sum of the true rewards, "l": ticks, "t": seconds since construction}. Episodes that were entered
    late have no `episode` entry: their sums cannot be compared with those of whole ones.

    Args:
        env_id: An id with a native batch.
        num_envs: N.
        params: The market and the task; None is the default one.
        seed: Seed of the first reset (and of the staggering), until `seed()` gives another one.
        training_reward: "raw" is the environment's reward. "martingale_free" leaves out `inventory_pnl`, the inventory
            times the move of the mid: its mean is zero where the mid is a martingale, so the optimum is the same, and
            it is nearly all of the reward's noise. Do not use it where prices can be predicted. "innovation_free"
            leaves out that part of it which no linear forecast from the observation could foresee (`Innovation`).
        stagger: Start every environment's first episode after a reset at a random tick, so that the batch never sees
            the same phase of the episode everywhere.
        normalize_reward: Take the running mean from the training rewards, and divide them by their running standard
            deviation; the rewards in `episode` stay the true ones.
        may_cross: The agent may send orders that cross the spread. If not, the lowest action is the next number above
            -1, which rests at offset_low: exploration then never pays for crossing by accident.
        return_weights: Put averages of past returns (`ReturnMemory`) behind the observation; empty puts none.

    Raises:
        ValueError: `training_reward` is not one of the two, or a weight is outside (0, 1].
    """

    def __init__(
        self,
        env_id: str = "MarketMaking-v0",
        *,
        num_envs: int = 256,
        params: EnvParams | Mapping[str, Any] | None = None,
        seed: int = 0,
        training_reward: TrainingReward = "martingale_free",
        stagger: bool = True,
        normalize_reward: bool = False,
        may_cross: bool = True,
        return_weights: tuple[float, ...] = (),
    ) -> None:
        if training_reward not in get_args(TrainingReward):
            raise ValueError(
                f"training_reward must be one of {', '.join(get_args(TrainingReward))}, got {training_reward!r}"
            )
        # Typed as Any: make_vec promises the general VectorEnv only.
        self.batch: Any = gym.make_vec(
            env_id, num_envs=num_envs, params=params, autoreset_mode=AutoresetMode.SAME_STEP
        ).unwrapped
        self.params: EnvParams = self.batch.params
        self.training_reward: TrainingReward = training_reward
        self.stagger = stagger
        self._scale = RewardScale() if normalize_reward else None
        self._attributes: dict[str, list[Any]] = {}
        self._memory = ReturnMemory(return_weights) if return_weights else None
        space = self.batch.single_action_space
        super().__init__(
            num_envs,
            _with_memory(self.batch.single_observation_space, self._memory),
            space if may_cross else Box(np.nextafter(space.low, 0.0, dtype=np.float32), space.high, dtype=np.float32),
        )
        self._innovation = None
        if training_reward == "innovation_free":
            inputs = len(MARKET_FEATURES) + len(return_weights)
            self._innovation = Innovation(inputs, unit=self.params.nominal_volatility)
        self._seen, self._mids = np.zeros((num_envs, N_FEATURES), np.float32), np.ones(num_envs)
        self.seed(seed)
        self._generator = np.random.default_rng(seed)
        self._actions = np.zeros((num_envs, 2), dtype=np.float32)
        self._returns = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, dtype=np.int64)
        self._late = np.zeros(num_envs, dtype=np.bool_)
        self._started_s = time.time()
        self._totals, self._ticks = np.zeros(len(TOTALS)), 0
        self._averages = np.zeros((num_envs, len(return_weights)), dtype=np.float32)

    def reset(self) -> NDArray[np.float32]:
        """Start new episodes everywhere and return observations, float32 (N, 8 + k); infos are in `reset_infos`.

        `seed` and `set_options` ("tick" and "inventory" at the start) count for the next reset only.
        """
        seeds = self._seeds if any(seed is not None for seed in self._seeds) else None
        if seeds is not None:
            self._generator = np.random.default_rng(seeds[0])
        start = self._start_options()
        self._late = start["tick"] > 0
        observations, info = self.batch.reset(seed=seeds, options=start)
        self._returns[:] = 0.0
        self._lengths[:] = 0
        columns = {key: values for key, values in info.items() if not key.startswith("_")}
        self.reset_infos = [{key: values[i] for key, values in columns.items()} for i in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        self._averages[:] = 0.0
        self._seen, self._mids = self._remembered(observations), np.array(info["mid"])
        return self._seen

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions, float32 (N, 2), for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Run one tick and return observations (N, 8 + k), training rewards float32 (N,), dones bool (N,) and infos."""
        observations, rewards, terminated, truncated, info = self.batch.step(self._actions)
        done = terminated | truncated
        ended = np.flatnonzero(done)
        tick = _this_tick(info, done if ended.size else None)
        self._count(rewards, tick)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i in ended.tolist():
            infos[i] = self._ending(i, info["final_obs"][i], bool(truncated[i]))
            self._averages[i] = 0.0
        if self.training_reward != "raw":
            rewards = rewards - tick("inventory_pnl")
        if self._innovation is not None:
            rewards = rewards + self._foreseen(self._innovation, tick)
        if self._scale is not None:
            rewards = self._scale.normalized(rewards)
        self._seen, self._mids = self._remembered(observations), np.array(info["mid"])
        return self._seen, rewards.astype(np.float32), done, infos

    def take_totals(self) -> dict[str, float]:
        """Return the mean per environment and tick of every name in TOTALS since the last call (zeros if no tick)."""
        means = self._totals / max(self._ticks, 1)
        self._totals, self._ticks = np.zeros(len(TOTALS)), 0
        return dict(zip(TOTALS, means.tolist(), strict=True))

    def close(self) -> None:
        """Close the batch."""
        self.batch.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute per environment: one set by `set_attr`, or the batch's, which all of them share."""
        places = list(self._get_indices(indices))
        if attr_name in self._attributes:
            return [self._attributes[attr_name][i] for i in places]
        return [getattr(self.batch, attr_name)] * len(places)

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Keep an attribute per environment for `get_attr`; it cannot change the market.

        Raises:
            AttributeError: The batch has an attribute of that name, which is read when the batch is built.
        """
        if hasattr(self.batch, attr_name):
            raise AttributeError(f"{attr_name} belongs to the whole batch and is fixed: build another NativeVecEnv")
        values = self._attributes.setdefault(attr_name, [None] * self.num_envs)
        for i in self._get_indices(indices):
            values[i] = value

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Look attributes up (`get_wrapper_attr`, `has_wrapper_attr`); there are no single environments to call.

        Raises:
            NotImplementedError: Any other method.
        """
        if method_name == "get_wrapper_attr":
            return self.get_attr(*method_args, indices=indices, **method_kwargs)
        if method_name == "has_wrapper_attr":
            return [self.has_attr(*method_args, **method_kwargs)] * len(list(self._get_indices(indices)))
        raise NotImplementedError(f"{method_name}: the native batch has no single environments whose method to call")

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Return True for SB3's `Monitor`, whose `episode` statistics the infos hold, and False for the rest."""
        return [issubclass(wrapper_class, Monitor)] * len(list(self._get_indices(indices)))

    def _remembered(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the observations with the averages behind them, if there are any, which take in the newest returns."""
        if self._memory is None:
            return observations
        self._averages = self._memory.after(self._averages, observations)
        return np.concatenate([observations, self._averages], axis=1)

    def _foreseen(self, innovation: Innovation, tick: Callable[[str], NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return what of this tick's gain from the price move could be foreseen, and learn to foresee it."""
        seen = self._seen[:, [*MARKET_FEATURES, *range(N_FEATURES, self._seen.shape[1])]]
        forecast = innovation.forecast(seen, tick("mid") / self._mids - 1.0)
        return tick("inventory") * self._mids * forecast

    def _start_options(self) -> dict[str, np.ndarray]:
        """Return tick and inventory of the next episodes: drawn or zero, then what `set_options` asked for."""
        tick = np.zeros(self.num_envs)
        if self.stagger:
            tick = self._generator.integers(self.params.horizon, size=self.num_envs).astype(np.float64)
        start = {"tick": tick, "inventory": np.zeros(self.num_envs)}
        for i, options in enumerate(self._options):
            for name, value in options.items():
                if name not in start:
                    raise ValueError(f"options may hold {', '.join(start)}, got {name!r}")
                start[name][i] = value
        return start

    def _count(self, rewards: NDArray[np.float64], tick: Callable[[str], NDArray[np.float64]]) -> None:
        """Add this tick to the returns of the episodes and to the totals."""
        self._returns += rewards
        self._lengths += 1
        capture, drift, fees = tick("spread_capture").sum(), tick("inventory_pnl").sum(), tick("fees").sum()
        held, fills = np.abs(tick("inventory")).sum(), tick("fill_bid").sum() + tick("fill_ask").sum()
        self._totals += (capture + drift - fees, capture, drift, fees, held, fills)
        self._ticks += self.num_envs

    def _ending(self, i: int, final_observation: np.ndarray, truncated: bool) -> dict[str, Any]:
        """Return the info of an environment whose episode has just ended, and start counting its next one."""
        if self._memory is not None:
            last = self._memory.after(self._averages[i : i + 1], final_observation[None])[0]
            final_observation = np.concatenate([final_observation, last])
        info: dict[str, Any] = {"terminal_observation": final_observation, "TimeLimit.truncated": truncated}
        if not self._late[i]:
            seconds = round(time.time() - self._started_s, 6)
            info["episode"] = {"r": float(self._returns[i]), "l": int(self._lengths[i]), "t": seconds}
        self._returns[i], self._lengths[i], self._late[i] = 0.0, 0, False
        return info


def _with_memory(space: Box, memory: ReturnMemory | None) -> Box:
    """Return the space of observations with averages behind them, which have no bounds."""
    if memory is None:
        return space
    unbounded = np.full(len(memory.weights), np.inf, dtype=np.float32)
    return Box(np.concatenate([space.low, -unbounded]), np.concatenate([space.high, unbounded]), dtype=np.float32)


def _this_tick(info: dict[str, Any], done: NDArray[np.bool_] | None) -> Callable[[str], NDArray[np.float64]]:
    """Return a reader of info keys that takes ended environments from `final_info`: `info` shows their next episode."""
    if done is None:
        return info.__getitem__
    final = info["final_info"]
    return lambda key: np.where(done, final[key], info[key])
