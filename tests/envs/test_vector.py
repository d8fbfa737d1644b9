"""The batch equals single environments bit for bit, in every autoreset mode."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from hftgym.envs import MarketMakingEnv, MarketMakingVectorEnv
from hftgym.market.layout import INFO_KEYS
from hftgym.params import EnvParams


def actions_for(seed, steps, n, width=2):
    """Actions of environment i depend on i alone, not on how many others there are."""
    rngs = [np.random.default_rng((seed, i)) for i in range(n)]
    raw = np.stack([rng.uniform(-1.3, 1.3, (steps, width)) for rng in rngs], axis=1)
    return np.clip(raw, -1, 1).astype(np.float32)


def single_run(params, seed, actions):
    """One environment, reset as soon as it ends; returns observations, rewards, flags and infos per step."""
    env = MarketMakingEnv(params=params)
    env.reset(seed=seed)
    rows = []
    for action in actions:
        observation, reward, terminated, _, info = env.step(action)
        rows.append((observation, reward, terminated, info))
        if terminated:
            env.reset()
    return rows


@pytest.mark.parametrize(("n", "threads"), [(1, 1), (3, 1), (64, 1), (65, 2), (200, 3)])
def test_batch_equals_single_environments(market, n, threads):
    steps, seed = 130, 11
    actions = actions_for(seed, steps, n, 4 if market.sized_actions else 2)
    envs = MarketMakingVectorEnv(n, params=market, autoreset_mode="SameStep", num_threads=threads)
    envs.reset(seed=seed)
    record = []
    for step in range(steps):
        observations, rewards, terminated, _, info = envs.step(actions[step])
        # At an end the observation and the info of the episode's last step are in final_*.
        last = {key: info["final_info"][key] if terminated.any() else info[key] for key in INFO_KEYS}
        record.append((observations, rewards, terminated, dict(info), last))
    envs.close()
    for i in {0, n // 2, n - 1}:
        for step, (observation, reward, ended, info) in enumerate(single_run(market, seed + i, actions[:, i])):
            observations, rewards, terminated, infos, last = record[step]
            seen = infos["final_obs"][i] if ended else observations[i]
            assert (seen == observation).all()
            assert (rewards[i], terminated[i]) == (reward, ended)
            values = last if ended else infos
            assert all(values[key][i] == info[key] for key in INFO_KEYS)


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 150), cut=st.integers(0, 149), threads=st.integers(1, 4))
def test_results_do_not_depend_on_neighbours_or_threads(n, cut, threads):
    cut = cut % n
    params = EnvParams(horizon=40, window=9)
    runs = []
    for count, first, used in ((n, 0, threads), (n - cut, cut, 1)):
        envs = MarketMakingVectorEnv(count, params=params, num_threads=used)
        envs.reset(seed=100 + first)
        actions = actions_for(3, 60, n)[:, first:]
        runs.append([envs.step(a)[:4] for a in actions])
        envs.close()
    for whole, part in zip(*runs, strict=True):
        for a, b in zip(whole, part, strict=True):
            assert (a[cut:] == b).all()


def test_permuting_environments_permutes_results():
    n, steps = 70, 120
    params, order = EnvParams(horizon=50), np.random.default_rng(0).permutation(70)
    seeds, actions = list(range(500, 500 + n)), actions_for(1, steps, n)
    plain, shuffled = MarketMakingVectorEnv(n, params=params), MarketMakingVectorEnv(n, params=params)
    plain.reset(seed=seeds)
    shuffled.reset(seed=[seeds[i] for i in order])
    for step in range(steps):
        for a, b in zip(plain.step(actions[step])[:4], shuffled.step(actions[step][order])[:4], strict=True):
            assert (a[order] == b).all()


def test_batch_is_seeded_like_gymnasiums_own_vector_env():
    params = EnvParams(horizon=15)
    ours = gym.make_vec("MarketMaking-v0", num_envs=3, params=params)
    theirs = gym.make_vec("MarketMaking-v0", num_envs=3, params=params, vectorization_mode="sync")
    assert (ours.reset(seed=4)[0] == theirs.reset(seed=4)[0]).all()
    for action in actions_for(2, 50, 3):
        for a, b in zip(ours.step(action), theirs.step(action), strict=True):
            if isinstance(a, dict):
                assert set(a) == set(b)
                assert all((a[key] == b[key]).all() for key in a)
            else:
                assert (a == b).all()


def assert_same_info(mine, other):
    """Equal keys and masks, and equal values where the masks say that there are any."""
    assert set(mine) == set(other)
    for key in (key for key in mine if not key.startswith("_")):
        mask = other[f"_{key}"]
        assert (mine[f"_{key}"] == mask).all()
        if isinstance(mine[key], dict):
            assert_same_info(mine[key], other[key])
        else:
            assert all(np.array_equal(mine[key][i], other[key][i]) for i in np.flatnonzero(mask))


def test_the_info_of_an_end_is_gymnasiums():
    params, ticks = EnvParams(horizon=15), [0, 4, 9]
    ours = gym.make_vec("MarketMaking-v0", num_envs=3, params=params, autoreset_mode="SameStep")
    theirs = SyncVectorEnv([lambda: MarketMakingEnv(params=params)] * 3, autoreset_mode="SameStep")
    ours.reset(seed=4, options={"tick": ticks})
    theirs.reset()
    for i, env in enumerate(theirs.envs):
        env.reset(seed=4 + i, options={"tick": ticks[i]})
    ends = 0
    for action in actions_for(2, 40, 3):
        mine, other = ours.step(action), theirs.step(action)
        ends += "final_obs" in mine[-1]
        assert (mine[0] == other[0]).all()
        assert_same_info(mine[-1], other[-1])
    assert ends == 7  # never two in the same step


def test_next_step_ignores_the_action_after_an_end():
    envs = MarketMakingVectorEnv(4, params=EnvParams(horizon=5))
    first, _ = envs.reset(seed=0)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    for _ in range(5):
        _, _, terminated, *_ = envs.step(np.zeros((4, 2)))
    assert terminated.all()
    observations, rewards, terminated, truncated, info = envs.step(-np.ones((4, 2)))
    assert (observations == first).all()
    for nothing in (rewards, terminated, truncated, info["inventory"]):
        assert not nothing.any()


def test_disabled_autoreset_obeys_the_mask():
    envs = MarketMakingVectorEnv(5, params=EnvParams(horizon=6), autoreset_mode=AutoresetMode.DISABLED)
    envs.reset(seed=0)
    for _ in range(3):
        before, *_ = envs.step(np.zeros((5, 2)))
    mask = np.array([True, False, True, False, False])
    after, info = envs.reset(options={"reset_mask": mask})
    assert (after[~mask] == before[~mask]).all()
    assert (after[mask][:, 1] == 1).all()
    assert (info["mid"][mask] == 100).all()
    assert (info["mid"][~mask] != 100).all()


def test_a_reset_by_mask_takes_the_place_of_the_autoreset():
    envs = MarketMakingVectorEnv(3, params=EnvParams(horizon=4))
    envs.reset(seed=0)
    for _ in range(4):
        envs.step(np.zeros((3, 2)))
    envs.reset(options={"reset_mask": np.array([True, False, False])})
    observations, rewards, *_ = envs.step(np.zeros((3, 2)))
    assert observations[:, 1].tolist() == [0.5, 1, 1]  # the first has played a tick, the others have been reset
    assert rewards[1:].tolist() == [0, 0]


def test_seeds_wrap_and_mix():
    envs, reference = MarketMakingVectorEnv(3), MarketMakingEnv()
    envs.reset(seed=2**64 - 2)
    ours = envs.step(np.zeros((3, 2)))[0]
    for i, seed in enumerate((2**64 - 2, 2**64 - 1, 0)):
        reference.reset(seed=seed)
        assert (reference.step(np.zeros(2))[0] == ours[i]).all()
    envs.reset(seed=5)
    envs.reset(seed=[None, 77, None])  # the others go on to their second episode
    ours = envs.step(np.zeros((3, 2)))[0]
    reference.reset(seed=5)
    reference.reset()
    assert (reference.step(np.zeros(2))[0] == ours[0]).all()
    reference.reset(seed=77)
    assert (reference.step(np.zeros(2))[0] == ours[1]).all()


def test_max_episode_steps_truncates():
    envs = gym.make_vec("MarketMaking-v0", num_envs=2, max_episode_steps=7, autoreset_mode="SameStep")
    envs.reset(seed=0)
    for step in range(1, 15):
        _, _, terminated, truncated, _ = envs.step(np.zeros((2, 2)))
        assert not terminated.any()
        assert truncated.all() == (step % 7 == 0)


def test_truncation_counts_from_the_reset():
    envs = MarketMakingVectorEnv(1, params=EnvParams(horizon=100), max_episode_steps=7, autoreset_mode="SameStep")
    envs.reset(seed=0, options={"tick": 50})
    assert [bool(envs.step(np.zeros((1, 2)))[3][0]) for _ in range(7)] == [False] * 6 + [True]


def test_late_starts():
    envs = MarketMakingVectorEnv(3, params=EnvParams(horizon=100))
    observations, info = envs.reset(seed=0, options={"tick": [0, 50, 99], "inventory": [0, 5, -10]})
    assert observations[:, 1].tolist() == pytest.approx([1, 0, -0.98])
    assert info["inventory"].tolist() == [0, 5, -10]
    assert (info["equity"] == 10_000).all()
    assert (info["cash"] + info["inventory"] * info["mid"] == 10_000).all()
    _, _, terminated, *_ = envs.step(np.zeros((3, 2)))
    assert terminated.tolist() == [False, False, True]


def test_info_belongs_to_its_step():
    envs = MarketMakingVectorEnv(3)
    envs.reset(seed=0)
    *_, kept = envs.step(np.zeros((3, 2)))
    copy = dict(kept)
    *_, unread = envs.step(np.zeros((3, 2)))
    envs.step(np.zeros((3, 2)))
    assert (kept["mid"] == copy["mid"]).all()
    with pytest.raises(RuntimeError, match="earlier step"):
        unread["mid"]


def test_info_behaves_like_a_dictionary():
    envs = MarketMakingVectorEnv(2)
    envs.reset(seed=0)
    *_, info = envs.step(np.zeros((2, 2)))
    assert isinstance(info, dict)
    assert {key for key in info if not key.startswith("_")} == set(INFO_KEYS)
    assert len(info) == len(list(info.items())) == 2 * len(INFO_KEYS)
    assert (info.get("mid") == {**info}["mid"]).all()
    assert set(pickle.loads(pickle.dumps(info))) == set(info)


def test_what_is_written_into_an_unread_info_stays():
    envs = MarketMakingVectorEnv(2)
    envs.reset(seed=0)
    *_, info = envs.step(np.zeros((2, 2)))
    info["mid"] = "mine"
    info.update(ask="too")
    info |= {"bid": "and this"}
    assert (info["mid"], info["ask"], info["bid"]) == ("mine", "too", "and this")
    assert len(info) == 2 * len(INFO_KEYS)
    *_, info = envs.step(np.zeros((2, 2)))
    info.clear()
    assert not info


def test_pickle_goes_on_where_it_was():
    envs = MarketMakingVectorEnv(70, params=EnvParams(horizon=60), num_threads=2)
    envs.reset(seed=0)
    actions = actions_for(0, 150, 70)
    for action in actions[:77]:
        envs.step(action)
    copy = pickle.loads(pickle.dumps(envs))
    for action in actions[77:]:
        for a, b in zip(envs.step(action)[:4], copy.step(action)[:4], strict=True):
            assert (a == b).all()
    envs.close()
    copy.close()


def test_out_of_range_actions_are_limited_and_nan_withdraws():
    wild = np.array([[5.0, -3.0], [np.nan, np.nan], [np.inf, -np.inf]], dtype=np.float32)
    tame = np.array([[1.0, -1.0], [1.0, 1.0], [1.0, -1.0]], dtype=np.float32)
    runs = []
    for action in (wild, tame):
        envs = MarketMakingVectorEnv(3)
        envs.reset(seed=0)
        runs.append(envs.step(action))
    for a, b in zip(runs[0][:4], runs[1][:4], strict=True):
        assert (a == b).all()


def test_environments_that_end_apart_show_their_own_last_step():
    params = EnvParams(horizon=20)
    envs = MarketMakingVectorEnv(3, params=params, autoreset_mode="SameStep")
    envs.reset(seed=30, options={"tick": [0, 5, 10]})
    actions = actions_for(5, 20, 3)
    last = {}
    for step in range(20):
        _, _, terminated, _, info = envs.step(actions[step])
        for i in np.flatnonzero(terminated):
            last.setdefault(int(i), (info["final_obs"][i].copy(), info["final_info"]["equity"][i]))
            assert info["_final_obs"].tolist() == terminated.tolist()
    for i, tick in enumerate((0, 5, 10)):
        env = MarketMakingEnv(params=params)
        env.reset(seed=30 + i, options={"tick": tick})
        for step in range(20 - tick):
            observation, _, terminated, _, info = env.step(actions[step, i])
        assert terminated
        assert (last[i][0] == observation).all()
        assert last[i][1] == info["equity"]


def test_a_truncated_episode_restarts_in_the_next_step():
    envs = MarketMakingVectorEnv(2, max_episode_steps=3)
    envs.reset(seed=0)
    flags = [envs.step(np.zeros((2, 2)))[2:4] for _ in range(8)]
    assert [bool(truncated.all()) for _, truncated in flags] == [False, False, True, False, False, False, True, False]
    assert not any(terminated.any() for terminated, _ in flags)


@pytest.mark.parametrize("make", [MarketMakingEnv, MarketMakingVectorEnv])
def test_without_a_seed_every_environment_is_another(make):
    mids = set()
    for _ in range(3):
        env = make()
        env.reset()
        *_, info = env.step(np.zeros(env.action_space.shape))
        mids.add(float(np.ravel(info["mid"])[0]))
    assert len(mids) == 3
