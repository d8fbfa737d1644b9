"""The adaptor hands SB3 what the single environments do, and the statistics that SB3's own wrappers would."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from agents.vec_env import NativeVecEnv
from hftgym import EnvParams
from hftgym.policies import FixedSpreadPolicy

MARKET = EnvParams(horizon=40, window=7, inventory_limit=3)
N, STEPS = 5, 130


def actions(steps=STEPS, num_envs=N):
    return np.random.default_rng(1).uniform(-1, 1, size=(steps, num_envs, 2)).astype(np.float32)


def played(env, steps=STEPS):
    """Return everything that `steps` ticks gave, from a reset on."""
    first = env.reset()
    return first, [env.step(a) for a in actions(steps, env.num_envs)]


def make(**kwargs):
    return NativeVecEnv(num_envs=N, params=MARKET, seed=7, **kwargs)


def test_equals_the_single_environments_over_several_episodes():
    _, steps = played(make(training_reward="raw", stagger=False))
    _, free = played(make(training_reward="martingale_free", stagger=False))
    for i in range(N):
        env = gym.make("MarketMaking-v0", params=MARKET)
        env.reset(seed=7 + i)
        total, length = 0.0, 0
        for t, action in enumerate(actions()):
            observations, rewards, dones, infos = steps[t]
            observation, reward, terminated, truncated, info = env.step(action[i])
            total, length = total + reward, length + 1
            assert rewards[i] == np.float32(reward)
            assert free[t][1][i] == np.float32(reward - info["inventory_pnl"])
            assert dones[i] == (terminated or truncated)
            if dones[i]:
                np.testing.assert_array_equal(infos[i]["terminal_observation"], observation)
                assert infos[i]["TimeLimit.truncated"] is False
                assert infos[i]["episode"]["r"] == pytest.approx(total, abs=1e-12)
                assert infos[i]["episode"]["l"] == length == MARKET.horizon
                observation, _ = env.reset()
                total, length = 0.0, 0
            else:
                assert infos[i] == {}
            np.testing.assert_array_equal(observations[i], observation)


def test_types_and_shapes_are_those_of_the_contract():
    env = make()
    assert isinstance(env, VecEnv)
    first, steps = played(env, 3)
    observations, rewards, dones, infos = steps[-1]
    assert first.shape == observations.shape == (N, 8)
    assert (first.dtype, observations.dtype) == (np.float32, np.float32)
    assert (rewards.dtype, rewards.shape) == (np.float32, (N,))
    assert (dones.dtype, dones.shape) == (np.bool_, (N,))
    assert len({id(info) for info in infos}) == N
    assert len(env.reset_infos) == N
    assert env.reset_infos[0]["cash"] == MARKET.initial_cash


def test_staggered_first_episodes_are_late_and_unreported():
    env = make(stagger=True)
    first, steps = played(env, 2 * MARKET.horizon)
    ticks_gone = np.rint((1 - first[:, 1]) / 2 * MARKET.horizon).astype(int)
    assert len(set(ticks_gone)) > 1
    for i in range(N):
        ends = [t for t, (_, _, dones, _) in enumerate(steps) if dones[i]]
        assert ends[0] == MARKET.horizon - ticks_gone[i] - 1
        assert ("episode" in steps[ends[0]][3][i]) == (ticks_gone[i] == 0)
        assert steps[ends[1]][3][i]["episode"]["l"] == MARKET.horizon


def test_equal_seeds_give_equal_rollouts_and_others_do_not():
    a, b, c = make(), make(), NativeVecEnv(num_envs=N, params=MARKET, seed=8)
    assert c.seed(7) == [7, 8, 9, 10, 11]
    runs = [played(env) for env in (a, b, c)]
    for first, steps in runs[1:]:
        np.testing.assert_array_equal(first, runs[0][0])
        for mine, other in zip(steps, runs[0][1], strict=True):
            np.testing.assert_array_equal(mine[0], other[0])
            np.testing.assert_array_equal(mine[1], other[1])
    again, _ = played(a)  # unseeded: the streams go on
    assert not np.array_equal(again, runs[0][0])


def test_start_options_count_for_one_reset():
    env = make(stagger=False)
    env.set_options({"tick": 10, "inventory": 3})
    first = env.reset()
    assert (first[:, 0] == 1.0).all()
    assert (first[:, 1] == 0.5).all()
    assert (env.reset()[:, :2] == [0.0, 1.0]).all()
    env.set_options({"ticks": 3})
    with pytest.raises(ValueError, match="'ticks'"):
        env.reset()


@pytest.mark.parametrize(("steps", "truncated"), [(MARKET.horizon - 1, True), (MARKET.horizon, False)])
def test_truncation_is_told_apart(steps, truncated):
    """An episode that ends by itself in the last step that it may take is not cut off."""
    gym.register(
        "AdaptorTest-v0", vector_entry_point="hftgym.envs.vector:MarketMakingVectorEnv", max_episode_steps=steps
    )
    try:
        env = NativeVecEnv("AdaptorTest-v0", num_envs=2, params=MARKET, stagger=False)
        _, ticks = played(env, steps)
    finally:
        del gym.registry["AdaptorTest-v0"]
    assert ticks[-1][2].all()
    assert all(info["TimeLimit.truncated"] is truncated for info in ticks[-1][3])


def test_totals_are_means_of_the_ticks_and_start_again():
    env = make(training_reward="raw", stagger=False)
    _, steps = played(env, 2 * MARKET.horizon)
    totals = env.take_totals()
    assert totals["pnl"] == pytest.approx(totals["spread_capture"] + totals["inventory_pnl"] - totals["fees"])
    returns = [info["episode"]["r"] for _, _, _, infos in steps for info in infos if "episode" in info]
    # The reward is the PnL less the penalty on the inventory, which is at most limit^2 and at least its square mean.
    penalty = totals["pnl"] * MARKET.horizon - np.mean(returns)
    lowest = MARKET.phi * MARKET.horizon * totals["inventory_abs"] ** 2
    assert lowest <= penalty <= MARKET.phi * MARKET.horizon * MARKET.inventory_limit * totals["inventory_abs"] + 1e-9
    assert 0 < totals["fills"] <= 2
    assert set(env.take_totals().values()) == {0.0}


def test_judged_by_the_true_reward_without_a_monitor():
    policy = FixedSpreadPolicy(params=MARKET)
    free = make(stagger=False)
    with pytest.warns(UserWarning, match="already wrapped"):
        raw = VecMonitor(make(training_reward="raw", stagger=False))
    assert free.env_is_wrapped(Monitor) == [True] * N
    assert evaluate_policy(policy, free, n_eval_episodes=10) == pytest.approx(
        evaluate_policy(policy, raw, n_eval_episodes=10), rel=1e-5
    )


def test_attributes_belong_to_the_batch():
    env = make()
    assert env.get_attr("params", indices=[0, 2]) == [MARKET, MARKET]
    assert env.has_attr("params")
    assert not env.has_attr("nothing")
    env.set_attr("note", "x", indices=1)
    assert env.get_attr("note") == [None, "x", None, None, None]
    assert env.env_method("get_wrapper_attr", "params", indices=0) == [MARKET]
    with pytest.raises(AttributeError, match="params"):
        env.set_attr("params", MARKET)
    with pytest.raises(NotImplementedError, match="reset"):
        env.env_method("reset")
    env.close()


def test_a_pickled_copy_goes_on_equally():
    env = make()
    played(env, 50)
    copy = pickle.loads(pickle.dumps(env))
    for action in actions(60):
        for mine, other in zip(env.step(action)[:3], copy.step(action)[:3], strict=True):
            np.testing.assert_array_equal(mine, other)


def test_a_wrong_training_reward_is_named():
    with pytest.raises(
        ValueError, match="training_reward must be one of martingale_free, innovation_free, raw, got 'free'"
    ):
        NativeVecEnv(num_envs=1, training_reward="free")
