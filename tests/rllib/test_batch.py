"""The batch as RLlib steps it, without RLlib."""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from agents.ppo_config import PPOConfig, RLlibConfig
from agents.reward_scale import RewardScale
from agents.rllib.batch import RLlibBatch
from agents.vec_env import NativeVecEnv

TICKS = 60


def batch_of(recipe, *, num_envs=None, start=0):
    return RLlibBatch({"recipe": recipe, "start": start, "num_envs": num_envs or recipe.num_envs})


def quotes(observations):
    """Actions that depend on what is seen, lane by lane."""
    return np.tanh(3.0 * observations[:, :2] + observations[:, 2:4]).astype(np.float32)


def transitions_of_rllib(env, recipe):
    """Return (observation, reward, next observation, ended) per environment, as RLlib's runner takes them."""
    lanes = [[] for _ in range(env.num_envs)]
    observations, _ = env.reset(seed=recipe.seed)
    starting = np.zeros(env.num_envs, bool)
    for _ in range(TICKS):
        after, rewards, terminated, truncated, info = env.step(quotes(observations))
        assert info == {}
        for i in np.flatnonzero(~starting):
            lanes[i].append((observations[i], rewards[i], after[i], bool(terminated[i])))
        starting, observations = terminated | truncated, after
    return lanes


def transitions_of_ours(env):
    lanes = [[] for _ in range(env.num_envs)]
    observations = env.reset()
    for _ in range(TICKS):
        after, rewards, done, infos = env.step(quotes(observations))
        for i in range(env.num_envs):
            last = infos[i].get("terminal_observation", after[i])
            lanes[i].append((observations[i], rewards[i], last, bool(done[i])))
        observations = after
    return lanes


@pytest.mark.parametrize("training_reward", ["raw", "martingale_free"])
@pytest.mark.parametrize("stagger", [False, True])
def test_the_transitions_are_those_that_our_own_ppo_learns_from(tiny, training_reward, stagger):
    recipe = replace(tiny, training_reward=training_reward, stagger=stagger)
    ours = NativeVecEnv(
        recipe.env_id, num_envs=recipe.num_envs, params=recipe.params, training_reward=training_reward, stagger=stagger
    )
    env = batch_of(recipe)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    for theirs, own in zip(transitions_of_rllib(env, recipe), transitions_of_ours(ours), strict=True):
        assert sum(ended for *_, ended in theirs) >= 4
        for (before, reward, after, ended), expected in zip(theirs, own, strict=False):
            np.testing.assert_array_equal(before, expected[0])
            np.testing.assert_allclose(reward, expected[1], rtol=1e-6)
            np.testing.assert_array_equal(after, expected[2])
            assert ended is expected[3]


def seen(env, seed):
    """Return the observations of some ticks, (T, N, 8)."""
    rows = [env.reset(seed=seed)[0]]
    for _ in range(5):
        rows.append(env.step(quotes(rows[-1]))[0])
    return np.stack(rows)


def test_processes_share_the_environments_of_one_batch_and_a_resumed_run_has_new_ones(tiny):
    whole = seen(batch_of(tiny, num_envs=8), tiny.seed)
    # RLlib gives its first process seed + 1, its second seed + 2.
    halves = [seen(batch_of(tiny, num_envs=4), tiny.seed + k) for k in (1, 2)]
    np.testing.assert_array_equal(whole, np.concatenate(halves, axis=1))
    assert len({lane.tobytes() for lane in whole.swapaxes(0, 1)}) == 8
    resumed = seen(batch_of(tiny, num_envs=8, start=4_096), tiny.seed)
    assert not {lane.tobytes() for lane in resumed.swapaxes(0, 1)} & {lane.tobytes() for lane in whole.swapaxes(0, 1)}


def test_rewards_are_normalised_over_what_was_played(tiny):
    recipe, scale = replace(tiny, normalize_reward=True), RewardScale()
    plain, scaled = batch_of(tiny), batch_of(recipe)
    observations, _ = plain.reset(seed=0)
    scaled.reset(seed=0)
    starting = np.zeros(plain.num_envs, bool)
    for _ in range(TICKS):
        after, rewards, terminated, truncated, _ = plain.step(quotes(observations))
        _, normalized, *_ = scaled.step(quotes(observations))
        if not starting.all():
            np.testing.assert_array_equal(normalized[~starting], scale.normalized(rewards[~starting]))
        starting, observations = terminated | truncated, after


def test_an_agent_that_may_not_cross_is_limited_to_resting_quotes(tiny):
    env = batch_of(replace(tiny, may_cross=False))
    assert (env.single_action_space.low > -1.0).all()
    env.reset(seed=0)
    _, rewards, *_ = env.step(np.full((env.num_envs, 2), -5.0, np.float32))
    lowest = batch_of(replace(tiny, may_cross=False))
    lowest.reset(seed=0)
    np.testing.assert_array_equal(rewards, lowest.step(lowest.action_space.low)[1])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("env_runners", 7, "env_runners must divide num_envs = 16, got 7"),
        ("learners", 3, "learners must divide batch_size = 64, got 3"),
        ("env_runners", -1, "env_runners must be at least 0"),
        ("return_weights", (0.1,), "return_weights must be empty for RLlibPPO"),
        ("training_reward", "innovation_free", "training_reward must be .* for RLlibPPO"),
    ],
)
def test_what_cannot_be_trained_is_refused(tiny, name, value, message):
    with pytest.raises(ValueError, match=message):
        replace(tiny, **{name: value})


def test_a_configuration_survives_its_file(tiny, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(replace(tiny, env_runners=2, learners=2, gpus_per_learner=0.5).to_toml())
    read = PPOConfig.from_toml(path)
    assert isinstance(read, RLlibConfig)
    assert read == replace(tiny, env_runners=2, learners=2, gpus_per_learner=0.5)
