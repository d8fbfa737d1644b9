"""What helps learning keeps its promises: rewards of size one, noise without the foreseeable, averages, schedules."""

import dataclasses

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from agents import ppo
from agents.curve import Point, read_curve, write_curve
from agents.innovation import Innovation
from agents.ppo import train
from agents.reward_scale import RewardScale
from agents.run_folder import RunError, RunFolder
from agents.schedules import Average, averaged
from agents.seeds import seconds_to, spreads, train_seeds
from agents.vec_env import NativeVecEnv
from hftgym import PRESETS, EnvParams

MARKET = EnvParams(horizon=60, window=12)


def test_normalised_rewards_have_mean_zero_and_size_one_and_keep_their_order():
    scale, generator = RewardScale(), np.random.default_rng(0)
    out = np.stack([scale.normalized(3.0 + 0.02 * generator.normal(size=64)) for _ in range(3_000)])[1_000:]
    assert abs(out.mean()) < 0.05
    assert out.std() == pytest.approx(1.0, abs=0.05)
    rewards = generator.normal(size=64)
    assert (np.argsort(scale.normalized(rewards)) == np.argsort(rewards)).all()


def test_episodes_show_the_true_reward_whatever_is_learned_from():
    def returns(**kwargs):
        envs = NativeVecEnv(num_envs=8, params=MARKET, seed=3, stagger=False, **kwargs)
        envs.reset()
        actions = np.full((8, 2), -0.3, dtype=np.float32)
        steps = [envs.step(actions) for _ in range(60)]
        return np.stack([step[1] for step in steps]), [info["episode"]["r"] for info in steps[-1][3]]

    plain, shown = returns()
    normal, also_shown = returns(normalize_reward=True)
    assert shown == also_shown
    assert not np.allclose(plain, normal)


def training_rewards(training_reward, params, ticks):
    envs = NativeVecEnv(num_envs=512, params=params, seed=3, training_reward=training_reward)
    envs.reset()
    actions = np.full((512, 2), -0.3, dtype=np.float32)
    return np.stack([envs.step(actions)[1] for _ in range(ticks)])


def test_on_a_martingale_nothing_is_foreseen():
    free, innovation = (training_rewards(kind, MARKET, 300) for kind in ("martingale_free", "innovation_free"))
    raw = training_rewards("raw", MARKET, 300)
    foreseen = (innovation - free)[150:]
    assert foreseen.std() < 0.03 * (raw - free)[150:].std()


def test_what_a_linear_forecast_foresees_stays_in_the_reward():
    params = dataclasses.replace(PRESETS["mean-reverting"], horizon=200, mean_reversion=0.1)
    kinds = ("martingale_free", "innovation_free", "raw")
    free, innovation, raw = (training_rewards(kind, params, 300).astype(np.float64) for kind in kinds)
    foreseen, gain = (innovation - free)[150:].ravel(), (raw - free)[150:].ravel()
    error = float(gain.std() / np.sqrt(foreseen @ foreseen))
    # A forecast is right on average: the gain is one times it, and noise.
    assert error < 0.1
    assert foreseen @ gain / (foreseen @ foreseen) == pytest.approx(1.0, abs=4 * error)


def test_the_forecast_is_made_before_the_move_is_known():
    innovation = Innovation(2, unit=1.0)
    seen = np.random.default_rng(0).normal(size=(100_000, 2)).astype(np.float32)
    moves = 0.5 * seen[:, 0] - 0.25 * seen[:, 1]
    assert not innovation.forecast(seen, moves).any()
    np.testing.assert_allclose(innovation.forecast(seen, moves), moves, rtol=0.1, atol=0.05)


def test_an_average_of_power_zero_is_the_mean_and_powers_weigh_late_rollouts_more():
    values = [1.0, 2.0, 4.0, 8.0]
    for power, weights in ((0, [1, 1, 1, 1]), (1, [1, 2, 3, 4])):
        average = Average()
        for step, value in enumerate(values, 1):
            average.take({"w": torch.tensor([value])}, step, power)
            average.take({"w": torch.tensor([99.0])}, step, power)  # the same rollout again
        assert average.weights["w"].item() == pytest.approx(np.average(values, weights=weights))


@pytest.fixture(scope="module")
def scheduled(tiny):
    return dataclasses.replace(tiny, averaging=4.0, final_log_std=-2.5, normalize_reward=True, may_cross=False)


def test_exploration_ends_where_it_was_told_to_and_the_model_is_the_average(scheduled, tmp_path):
    path = train(scheduled, tmp_path / "run", progress=False)
    model = PPO.load(path, device="cpu")
    newest = PPO.load(RunFolder(path.parent).newest_first()[0], device="cpu")
    last_rollout = 1 - scheduled.num_envs * scheduled.n_steps / scheduled.total_timesteps
    expected = scheduled.log_std_init + last_rollout * (-2.5 - scheduled.log_std_init)
    assert newest.policy.log_std.detach().numpy() == pytest.approx(expected)
    with averaged(newest):
        for name, value in newest.policy.state_dict().items():
            assert torch.equal(value, model.policy.state_dict()[name]), name
    assert any(
        not torch.equal(value, model.policy.state_dict()[name]) for name, value in newest.policy.state_dict().items()
    )


def test_a_resumed_run_has_the_same_average_and_curve(scheduled, tmp_path, monkeypatch):
    whole = train(scheduled, tmp_path / "whole", progress=False)
    save = ppo.save_checkpoint

    def save_and_crash(model, *args, **kwargs):
        save(model, *args, **kwargs)
        if model.num_timesteps >= 512:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ppo, "save_checkpoint", save_and_crash)
        with pytest.raises(KeyboardInterrupt):
            train(scheduled, tmp_path / "cut", progress=False)
    resumed = train(scheduled, tmp_path / "cut", resume=True, progress=False)
    a, b = (PPO.load(path, device="cpu").policy.state_dict() for path in (whole, resumed))
    assert all(torch.equal(a[name], b[name]) for name in a)
    curves = [[(p.timesteps, p.j) for p in read_curve(RunFolder(path.parent).curve)] for path in (whole, resumed)]
    assert curves[0] == curves[1]
    assert [timesteps for timesteps, _ in curves[0]] == [256, 512, 768, 1_024]


def test_a_curve_survives_its_file_and_a_broken_one_is_explained(tmp_path):
    points = [Point(256, 0.25, 1.5, 0.125, 0.75, 0.5), Point(512, 0.5, 1.75, 0.125, 0.875, 0.75)]
    write_curve(tmp_path / "curve.csv", points)
    assert read_curve(tmp_path / "curve.csv") == points
    assert read_curve(tmp_path / "none.csv") == []
    (tmp_path / "curve.csv").write_text("timesteps\n1,2\n")
    with pytest.raises(RunError, match=r"curve\.csv is not a learning curve"):
        read_curve(tmp_path / "curve.csv")


@pytest.mark.slow
def test_several_seeds_are_several_runs_and_come_to_a_median(tiny, tmp_path):
    models = train_seeds(tiny, tmp_path, (0, 2))
    alone = train(dataclasses.replace(tiny, seed=2), tmp_path / "alone", progress=False)
    a, b = (PPO.load(path, device="cpu").policy.state_dict() for path in (models[2], alone))
    assert all(torch.equal(a[name], b[name]) for name in a)
    before = models[0].stat()
    assert train_seeds(tiny, tmp_path, (0, 2), resume=True) == models
    assert models[0].stat() == before
    with pytest.raises(ValueError, match=r"seeds must differ from each other, got \[1, 1\]"):
        train_seeds(tiny, tmp_path, (1, 1))


def test_the_time_to_a_share_is_when_it_stays_reached():
    def points(*shares):
        return [Point(i, float(i), 1.0, 0.1, share, share) for i, share in enumerate(shares)]

    assert seconds_to(points(0.9, 0.99, 0.98, 0.995, 0.991), 0.99) == 3.0
    assert seconds_to(points(0.9, 0.99, 0.98), 0.99) == np.inf
    found = spreads({"a": points(0.9, 0.99), "b": points(0.9, 0.98), "c": points(0.99, 0.995)})
    assert (found["J / J*"].median, found["J / J*"].low, found["J / J*"].high) == (0.99, 0.98, 0.995)
    assert found["CPU seconds to 99 % of J*"].median == 1.0
