"""Does the file act like the model? Both see the same observations, and everything they return is compared."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.return_memory import State, playable
from agents.vec_env import NativeVecEnv
from hftgym import FEATURES, EnvParams
from hftgym.observation import N_FEATURES
from hftgym.policies import OnnxPolicy

N_COMPARED = 10_000
N_PROBES = 16
_N_UNIFORM = 2_000
_LOW, _HIGH = [feature.low for feature in FEATURES], [feature.high for feature in FEATURES]


@dataclass(frozen=True, kw_only=True, eq=False)
class Story:
    """What a model saw and answered, tick by tick.

    Attributes:
        observations: float32 (T, N, 8).
        starts: Where an episode starts, bool (T, N).
        actions: float32 (T, N, 2).
        states: Its memories after each tick, each float32 (T, N, width).
    """

    observations: NDArray[np.float32]
    starts: NDArray[np.bool_]
    actions: NDArray[np.float32]
    states: tuple[NDArray[np.float32], ...]

    @property
    def size(self) -> int:
        """Number of observations."""
        return self.starts.size


def story_of(model: BaseAlgorithm, params: EnvParams, env_id: str, *, widths: dict[str, int]) -> Story:
    """Let a model play, and return what it saw and did: 10,000 observations or more.

    With a memory: more than two horizons of staggered lanes, so that each has a whole episode, begun by the mask over
    the memory of another one. Without: 10,000 single ticks, from episodes and, a fifth, from the whole box.
    """
    if widths:
        lanes = -(-N_COMPARED // params.horizon)
        return _played(model, params, env_id, lanes=lanes, ticks=2 * params.horizon + N_PROBES, widths=widths)
    lanes = 64
    played = _played(model, params, env_id, lanes=lanes, ticks=-(-(N_COMPARED - _N_UNIFORM) // lanes), widths=widths)
    uniform = np.random.default_rng(0).uniform(_LOW, _HIGH, size=(_N_UNIFORM, N_FEATURES)).astype(np.float32)
    rows = np.concatenate([played.observations.reshape(-1, N_FEATURES), uniform])[-N_COMPARED:]
    actions, _ = playable(model).predict(rows, deterministic=True)
    return Story(observations=rows[:, None], starts=np.ones((len(rows), 1), bool), actions=actions[:, None], states=())


def probes_of(story: Story) -> dict[str, list[list[float]]]:
    """Return 16 observations with the model's actions: from all over, or the first ones of one episode.

    An episode that is shorter than 16 ticks gives as many as it has.
    """
    places = np.linspace(0, len(story.starts) - 1, N_PROBES).astype(int)
    lane = 0
    if story.states:
        lane = int(np.argmax(story.starts[1:].sum(axis=0)))
        first, *later = (np.flatnonzero(story.starts[1:, lane]) + 1).tolist()
        places = np.arange(first, min(first + N_PROBES, *later, len(story.starts)))
    return {
        "observations": short(story.observations[places, lane]),
        "actions": short(story.actions[places, lane]),
    }


def short(array: Iterable[NDArray[np.float32]]) -> list[list[float]]:
    """Return float32 numbers with as many digits as it takes to tell them apart."""
    return [[float(str(number)) for number in row] for row in array]


def largest_difference(policy: OnnxPolicy, story: Story) -> float:
    """Return the largest difference between the file's answers, in a batch and one by one, and the model's."""
    # numpy's maximum, which does not lose a NaN.
    return float(np.max([*_differences_in_batch(policy, story), *_differences_one_by_one(policy, story)]))


def _differences_in_batch(policy: OnnxPolicy, story: Story) -> Iterator[float]:
    """Yield the differences in actions and states, from memories that are no numbers at the first start."""
    if not story.states:
        yield _difference(policy.predict(story.observations[:, 0])[0], story.actions[:, 0])
        return
    lanes = story.starts.shape[1]
    state: tuple[np.ndarray, ...] | None = tuple(
        np.full((lanes, width), np.nan, dtype=np.float32) for width in policy.widths.values()
    )
    for t, observations in enumerate(story.observations):
        actions, state = policy.predict(observations, state, story.starts[t])
        assert state is not None
        yield _difference(actions, story.actions[t])
        yield from (_difference(part, whole[t]) for part, whole in zip(state, story.states, strict=True))


def _differences_one_by_one(policy: OnnxPolicy, story: Story) -> Iterator[float]:
    """Yield the differences in the actions of `act`."""
    for lane in range(story.starts.shape[1]):
        for t, observation in enumerate(story.observations[:, lane]):
            if story.starts[t, lane]:
                policy.reset()
            yield _difference(policy.act(observation), story.actions[t, lane])
    policy.reset()


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max())


def _played(
    model: BaseAlgorithm, params: EnvParams, env_id: str, *, lanes: int, ticks: int, widths: dict[str, int]
) -> Story:
    """Let a model play some ticks in environments that start late and with random inventories."""
    policy = playable(model)
    generator = np.random.default_rng(0)
    envs = NativeVecEnv(env_id, num_envs=lanes, params=params, seed=0)
    inventories = generator.uniform(-params.inventory_limit, params.inventory_limit, size=lanes)
    envs.set_options([{"inventory": inventory} for inventory in inventories])
    observation, start, state = envs.reset(), np.ones(lanes, dtype=bool), None
    rows, starts, answers, states = [], [], [], []
    for _ in range(ticks):
        actions, state = policy.predict(observation, state=state, episode_start=start, deterministic=True)
        rows.append(observation)
        starts.append(start)
        answers.append(actions)
        states.append(_flat(state, widths))
        observation, _, start, _ = envs.step(actions)
    envs.close()
    memories = tuple(np.stack(part) for part in zip(*states, strict=True))
    return Story(observations=np.stack(rows), starts=np.stack(starts), actions=np.stack(answers), states=memories)


def _flat(state: State | None, widths: dict[str, int]) -> State:
    """Return memories (N, width): SB3's have an axis of layers in front."""
    return tuple(part.reshape(-1, width) for part, width in zip(state or (), widths.values(), strict=True))
