"""The native batch of environments."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from hftgym.envs.checks import RESET_OPTIONS, JsonSpec, checked_seed, refuse_unknown_options, start_states
from hftgym.envs.info import BatchInfo
from hftgym.envs.spaces import action_space, observation_space
from hftgym.market import batch
from hftgym.market import layout as at
from hftgym.market.layout import INFO_KEYS, LANES, is_full
from hftgym.observation import N_FEATURES
from hftgym.params import EnvParams, as_params


# `spec` is a plain attribute of Gymnasium's base and a property here.
class MarketMakingVectorEnv(JsonSpec, VectorEnv[np.ndarray, np.ndarray, np.ndarray]):  # pyright: ignore[reportIncompatibleVariableOverride]
    """N environments of `MarketMakingEnv`'s kind, stepped together by one call into compiled code.

    Environment i of `reset(seed=s)` equals the single environment under `reset(seed=s + i)` bit for bit, whatever the
    number of environments and threads. Spaces, rewards, episode ends and info keys are those of `MarketMakingEnv`.

    Actions are float32 (N, 2). Values outside [-1, 1] are limited to it and a NaN withdraws its side; `check_actions`
    raises for both instead. `info` is filled when it is first read, which must happen before the next step;
    `dict(info)` keeps a copy.

    Args:
        num_envs: N, at least 1.
        params: The market and the task, as in the single environment.
        max_episode_steps: Truncate after so many steps; None leaves the end to the horizon.
        render_mode: None; a batch has no picture (render a single environment under the same seed).
        autoreset_mode: NEXT_STEP (Gymnasium's default): the step after an episode's end ignores the action and returns
            the reset observation with reward 0. SAME_STEP: the ending step returns the reset observation, and the last
            one of the episode is in `info["final_obs"]` and `info["final_info"]`. DISABLED: reset by
            `reset(options={"reset_mask": bool (N,)})`.
        check_actions: Raise for actions outside [-1, 1] (about 5 % slower).
        num_threads: Threads that share the batch. One is right below about 10,000 environments or on a busy machine.

    Raises:
        ValueError: An argument is outside its range; the message names it.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012
    # Gymnasium 1.2 closes what was never built, too: refused arguments come first in `__init__`.
    _pool: ThreadPoolExecutor | None = None

    def __init__(
        self,
        num_envs: int = 1,
        *,
        params: EnvParams | Mapping[str, Any] | None = None,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        check_actions: bool = False,
        num_threads: int = 1,
    ) -> None:
        if render_mode is not None:
            raise ValueError(f"render_mode must be None for a batch, got {render_mode!r}; render a single environment")
        self.num_envs = _at_least_one("num_envs", num_envs)
        self.params = as_params(params)
        self.render_mode = None
        self._mode = _autoreset_mode(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self._mode}
        self.single_action_space, self.single_observation_space = action_space(self.params), observation_space()
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._check_actions = check_actions
        self._threads = _at_least_one("num_threads", num_threads)
        steps = np.inf if max_episode_steps is None else _at_least_one("max_episode_steps", max_episode_steps)
        self._tiles = -(-self.num_envs // LANES)
        self._memory = batch.allocate(self.params, self.num_envs, max_steps=float(steps))
        self._full = is_full(self.params)
        self._lanes = np.arange(self.num_envs)
        self._turn = 0
        self._steps = 0
        self._started = False
        self._pending: np.ndarray | None = None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start the next episode everywhere, or where `options["reset_mask"]` says so.

        Args:
            seed: An integer s seeds environment i with s + i; a sequence gives every environment its own; None goes on
                with the streams that there are.
            options: "tick" and "inventory" at the start of the episodes, a number or one per reset environment;
                "reset_mask" bool (N,).

        Raises:
            ValueError: A seed or an option is outside its range or of the wrong shape.
        """
        lanes = self._masked(options)
        start = self._start(options, lanes.size)
        self._seed(seed, lanes)
        if self._pending is not None:  # who has just been reset has nothing left to wait for
            self._pending = np.setdiff1d(self._pending, lanes)
        self._started = True
        observations = np.empty((self.num_envs, N_FEATURES), dtype=np.float32)
        self._begin(lanes, start)
        batch.write_observations(self._memory, self._lanes, observations)
        return observations, self._info({})

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Quote for one tick in every environment.

        Args:
            actions: float32 (N, 2).

        Returns:
            observations float32 (N, 8), rewards float64 (N,), terminated bool (N,), truncated bool (N,), info.

        Raises:
            ValueError: The shape is wrong, or `check_actions` found a value outside [-1, 1].
            gymnasium.error.ResetNeeded: The environments have not been reset.
        """
        if not self._started:
            raise ResetNeeded("call reset() before step()")
        actions = self._checked(actions)
        observations = np.empty((self.num_envs, N_FEATURES), dtype=np.float32)
        rewards = np.empty(self.num_envs)
        flags = np.empty((2, self.num_envs), dtype=np.bool_)
        self._turn += 1
        ended = self._run(actions, observations, rewards, flags)
        extra: dict[str, Any] = {}
        if ended or self._pending is not None:
            extra = self._autoreset(observations, rewards, flags)
        return observations, rewards, flags[0], flags[1], self._info(extra)

    def close_extras(self, **kwargs: Any) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _start(self, options: dict[str, Any] | None, count: int) -> np.ndarray:
        """Return where `count` episodes start, float64 (numbers, count), from checked reset options."""
        refuse_unknown_options(options, (*RESET_OPTIONS, "reset_mask"))
        return start_states(options, self.params, count)

    def _begin(self, lanes: np.ndarray, start: np.ndarray) -> None:
        """Start the next episode in these environments."""
        batch.reset_lanes(self._memory, lanes, start, self._tiles, self._turn)

    def _kernel(self) -> tuple[Callable[..., int], tuple[Any, ...]]:
        """Return what runs one tick of some tiles, and its last arguments."""
        return (batch.step_full_tiles if self._full else batch.step_tiles), ()

    def _run(self, actions: np.ndarray, observations: np.ndarray, rewards: np.ndarray, flags: np.ndarray) -> int:
        """Run one tick everywhere and return how many episodes ended."""
        step_tiles, extra = self._kernel()
        inner = (self._tiles, self._turn, actions, observations, rewards, flags, *extra)
        if self._threads == 1:
            return step_tiles(self._memory, 0, self._tiles, *inner)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads)
        cuts = np.linspace(0, self._tiles, self._threads + 1).astype(int).tolist()
        return sum(self._pool.map(lambda a, b: step_tiles(self._memory, a, b, *inner), cuts[:-1], cuts[1:]))

    def _autoreset(self, observations: np.ndarray, rewards: np.ndarray, flags: np.ndarray) -> dict[str, Any]:
        """Do what the autoreset mode asks for, and return what it adds to the info."""
        extra: dict[str, Any] = {}
        if self._mode is AutoresetMode.NEXT_STEP:
            if self._pending is not None:  # these ended one step ago; what they have just done does not count
                self._restart(self._pending, observations)
                rewards[self._pending] = 0.0
                flags[:, self._pending] = False
            ended = np.flatnonzero(flags[0] | flags[1])
            self._pending = ended if ended.size else None
        elif self._mode is AutoresetMode.SAME_STEP:
            done = flags[0] | flags[1]
            ended = np.flatnonzero(done)
            final = np.full(self.num_envs, None, dtype=object)
            final[ended] = list(observations[ended])
            extra = {"final_obs": final, "_final_obs": done, "final_info": self._read(done), "_final_info": done}
            self._restart(ended, observations)
        return extra

    def _restart(self, lanes: np.ndarray, observations: np.ndarray) -> None:
        self._begin(lanes, self._start(None, lanes.size))
        batch.write_observations(self._memory, lanes, observations)

    def _info(self, extra: dict[str, Any]) -> BatchInfo:
        self._steps += 1
        return BatchInfo(partial(_read_current, self, self._steps), extra)

    def _read(self, mask: np.ndarray) -> dict[str, Any]:
        """Return a copy of every info key, with Gymnasium's masks."""
        fields = batch.fields(self._memory, self.num_envs)
        values: dict[str, Any] = {}
        for index, key in enumerate(INFO_KEYS):
            values[key] = fields[:, index, :].reshape(-1)[: self.num_envs].copy()
            values[f"_{key}"] = mask.copy()
        return values

    def _seed(self, seed: int | Sequence[int | None] | None, lanes: np.ndarray) -> None:
        """Key the draws of the environments that are being reset."""
        if seed is None and not self._started:
            seed = int(self.np_random.integers(2**63))
        if seed is None:
            return
        if isinstance(seed, (list, tuple, np.ndarray)):
            if len(seed) != self.num_envs:
                raise ValueError(f"seed must hold one entry per environment ({self.num_envs}), got {len(seed)}")
            lanes = np.array([lane for lane in lanes.tolist() if seed[lane] is not None], dtype=np.int64)
            seeds = np.array([checked_seed(seed[lane]) for lane in lanes.tolist()], dtype=np.uint64)
        else:
            first = checked_seed(seed)
            super().reset(seed=first)
            seeds = np.uint64(first) + lanes.astype(np.uint64)  # wraps at 2^64
        fields = batch.fields(self._memory, self.num_envs)
        tiles, places = np.divmod(lanes, LANES)
        fields[tiles, at.SEED_LOW, places] = seeds & np.uint64(0xFFFFFFFF)
        fields[tiles, at.SEED_HIGH, places] = seeds >> np.uint64(32)
        fields[tiles, at.EPISODE, places] = -1.0

    def _masked(self, options: dict[str, Any] | None) -> np.ndarray:
        """Return the environments to reset."""
        if not options or "reset_mask" not in options:
            return self._lanes
        mask = np.asarray(options["reset_mask"])
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
            raise ValueError(
                f"options['reset_mask'] must be bool of shape ({self.num_envs},), got {mask.dtype} {mask.shape}"
            )
        if not self._started and not mask.all():
            raise ResetNeeded("the first reset must reset every environment")
        return np.flatnonzero(mask)

    def _checked(self, actions: Any) -> np.ndarray:
        actions = np.ascontiguousarray(actions, dtype=np.float32)
        if actions.shape != self.action_space.shape:
            raise ValueError(f"actions must have the shape {self.action_space.shape}, got {actions.shape}")
        if self._check_actions and not (np.abs(actions) <= 1.0).all():
            worst = int(np.flatnonzero(~(np.abs(actions) <= 1.0).all(axis=1))[0])
            raise ValueError(
                f"actions must be numbers in [-1, 1], got {actions[worst].tolist()} in environment {worst}"
            )
        return actions

    def __getstate__(self) -> dict[str, Any]:
        """Pickle everything but the threads."""
        return {**self.__dict__, "_pool": None}


def _read_current(env: MarketMakingVectorEnv, step: int) -> dict[str, Any]:
    """Read the info of `step`, if the environments have not moved on."""
    if env._steps != step:
        raise RuntimeError("this info belongs to an earlier step: read it, or keep dict(info), before the next one")
    return env._read(np.ones(env.num_envs, dtype=np.bool_))


def _at_least_one(name: str, value: Any) -> int:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    return int(value)


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        allowed = ", ".join(m.value for m in AutoresetMode)
        raise ValueError(f"autoreset_mode must be an AutoresetMode or one of {allowed}, got {mode!r}") from None
