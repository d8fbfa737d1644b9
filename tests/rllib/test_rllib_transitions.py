"""What RLlib learns from, taken from its own runner and its own learner."""

import itertools

import gymnasium as gym
import numpy as np
import pytest
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.evaluation.postprocessing import Postprocessing

import hftgym  # noqa: F401 (registers the ids)
from agents.rllib.algorithm import algorithm_config, build_algorithm

pytestmark = [
    pytest.mark.slow,
    # RLlib registers its environment anew with every runner.
    pytest.mark.filterwarnings("ignore:.*Overriding environment rllib-single-agent-env-v0"),
    # Ray reads its own deprecated options when it is imported.
    pytest.mark.filterwarnings("ignore:.*`use_.*is deprecated:DeprecationWarning"),
]
ROLLOUTS = 4


@pytest.fixture(scope="module")
def rollouts(tiny, cluster):
    """Some rollouts of RLlib's runner, each a list of pieces of episodes, from the untrained policy."""
    runner = SingleAgentEnvRunner(config=algorithm_config(tiny), worker_index=0)
    found = [runner.sample() for _ in range(ROLLOUTS)]
    runner.stop()
    return found


def whole_episodes(rollouts):
    """Return (observations, actions, rewards, terminated) of the episodes, their pieces put together."""
    pieces = {}
    for rollout in rollouts:
        for piece in rollout:
            pieces.setdefault(piece.id_, []).append(piece)
    for parts in pieces.values():
        observations = [part.get_observations() for part in parts]
        for before, after in itertools.pairwise(observations):
            np.testing.assert_array_equal(before[-1], after[0])
        yield (
            np.concatenate([part[:-1] for part in observations[:-1]] + [observations[-1]]),
            np.concatenate([part.get_actions() for part in parts]),
            np.concatenate([part.get_rewards() for part in parts]),
            parts[-1].is_terminated,
        )


def test_every_transition_is_one_of_a_single_environment(rollouts, tiny):
    episodes = list(whole_episodes(rollouts))
    lengths = [len(actions) for _, actions, _, _ in episodes]
    assert sum(lengths) >= ROLLOUTS * tiny.num_envs * tiny.n_steps
    assert sum(terminated for *_, terminated in episodes) > 4 * tiny.num_envs
    assert all(length == tiny.params.horizon for length, (*_, ended) in zip(lengths, episodes, strict=True) if ended)
    left = {i: gym.make(tiny.env_id, params=tiny.params) for i in range(tiny.num_envs)}
    starts = {i: env.reset(seed=tiny.seed + i)[0] for i, env in left.items()}
    # The episodes of an environment come in order, those of the environments at once in the order of their number.
    for number, (observations, actions, rewards, terminated) in enumerate(episodes):
        i = number % tiny.num_envs
        np.testing.assert_array_equal(observations[0], starts[i])
        for t, action in enumerate(actions):
            seen, reward, ended, truncated, _ = left[i].step(np.clip(action, np.nextafter(np.float32(-1), 0), 1))
            np.testing.assert_array_equal(observations[t + 1], seen)
            assert (rewards[t], ended, truncated) == (reward, terminated and t == len(actions) - 1, False)
        starts[i], _ = left[i].reset()


def test_advantages_stop_at_the_ends_of_episodes_and_go_on_where_a_rollout_was_cut(rollouts, tiny):
    algorithm = build_algorithm(tiny)
    learner = algorithm.learner_group._learner
    pieces = [piece.to_numpy() for piece in rollouts[-1]]
    parts = [(piece.get_observations(), piece.get_rewards(), piece.is_terminated) for piece in pieces]
    batch = learner._learner_connector(
        rl_module=learner.module, batch={}, episodes=pieces, shared_data={}, metrics=learner.metrics
    )[DEFAULT_MODULE_ID]
    module, mask = learner.module[DEFAULT_MODULE_ID], batch[Columns.LOSS_MASK].numpy()
    expected = []
    for observations, rewards, terminated in parts:
        values = module.compute_values({Columns.OBS: batch[Columns.OBS].new_tensor(observations)}).detach().numpy()
        values = np.append(values[:-1], 0.0 if terminated else values[-1])
        advantage = 0.0
        targets = []
        for t in reversed(range(len(rewards))):
            advantage = rewards[t] + tiny.gamma * values[t + 1] - values[t] + tiny.gamma * tiny.gae_lambda * advantage
            targets.append(advantage + values[t])
        expected += targets[::-1]
    assert mask.sum() == len(expected)
    assert any(terminated for *_, terminated in parts)
    assert not all(terminated for *_, terminated in parts)
    np.testing.assert_allclose(batch[Postprocessing.VALUE_TARGETS].numpy()[mask], expected, rtol=1e-4, atol=1e-5)
    algorithm.stop()
