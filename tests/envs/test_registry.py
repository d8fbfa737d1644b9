"""Every registered id, including those that are added later, keeps Gymnasium's contract."""

import json
import pickle
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.utils.env_match import check_environments_match

import hftgym
from hftgym.market.layout import INFO_KEYS
from hftgym.registration import IDS, register_all

pytestmark = pytest.mark.parametrize("env_id", IDS)


def rollout(env, seed, steps=200):
    env.action_space.seed(seed)
    record = [env.reset(seed=seed)]
    for _ in range(steps):
        record.append(env.step(env.action_space.sample()))
        if record[-1][2]:
            record.append(env.reset())
    return record


def test_gymnasium_check(env_id):
    check_env(gym.make(env_id).unwrapped, skip_render_check=True)


def test_stable_baselines_check(env_id):
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    sb3_check_env(gym.make(env_id).unwrapped, warn=True)


def test_same_seed_same_rollout(env_id):
    params = hftgym.EnvParams(horizon=70)
    first, second = (rollout(gym.make(env_id, params=params), 7) for _ in range(2))
    assert data_equivalence(first, second, exact=True)
    assert not data_equivalence(first, rollout(gym.make(env_id, params=params), 8), exact=True)


def test_episodes_of_one_seed_differ_and_repeat(env_id):
    env = gym.make(env_id)
    paths = []
    for seed in (3, None, 3, None):
        env.reset(seed=seed)
        paths.append([env.step(np.zeros(2, dtype=np.float32))[4]["mid"] for _ in range(20)])
    assert paths[0] == paths[2]
    assert paths[1] == paths[3]
    assert paths[0] != paths[1]


def test_info_keys_are_stable(env_id):
    env = gym.make(env_id)
    _, info = env.reset(seed=0)
    assert tuple(info) == INFO_KEYS
    for _ in range(3):
        *_, info = env.step(env.action_space.sample())
        assert tuple(info) == INFO_KEYS
        assert all(type(value) is float for value in info.values())


def test_pickle_goes_on_where_it_was(env_id):
    env = gym.make(env_id)
    env.reset(seed=5)
    for _ in range(70):
        env.step(np.zeros(2, dtype=np.float32))
    copy = pickle.loads(pickle.dumps(env))
    for _ in range(70):
        action = env.action_space.sample()
        assert data_equivalence(env.step(action), copy.step(action), exact=True)


@pytest.mark.parametrize("params", [None, hftgym.EnvParams(horizon=123, fill_model="linear")])
def test_spec_survives_json(env_id, params):
    env = gym.make(env_id) if params is None else gym.make(env_id, params=params)
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.params == env.unwrapped.params
    check_environments_match(env, again, num_steps=50)
    envs = gym.make_vec(env_id, num_envs=3, params=params, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)
    json.loads(envs.spec.to_json())


@pytest.mark.slow
def test_make_registers_by_module_name(env_id):
    code = f"import gymnasium as gym; e = gym.make('hftgym:{env_id}'); e.reset(seed=0); print(e.spec.id)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == env_id


def test_registering_again_is_silent(env_id):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_all()
    assert env_id in gym.registry


def test_docstring_has_gymnasiums_headings(env_id):
    page = type(gym.make(env_id).unwrapped).__doc__
    headings = [line.strip()[3:] for line in page.splitlines() if line.strip().startswith("## ")]
    assert headings == [
        "Description",
        "Action Space",
        "Observation Space",
        "Rewards",
        "Starting State",
        "Episode End",
        "Arguments",
        "Vectorized environment",
        "Version History",
    ]


def test_wrappers_for_batches_work(env_id):
    for wrapper in (gym.wrappers.vector.NormalizeObservation, gym.wrappers.vector.RecordEpisodeStatistics):
        envs = wrapper(gym.make_vec(env_id, num_envs=4, params=hftgym.EnvParams(horizon=20)))
        envs.reset(seed=0)
        for _ in range(45):
            *_, info = envs.step(envs.action_space.sample())
        assert "inventory" in info
