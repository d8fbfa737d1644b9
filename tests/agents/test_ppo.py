"""Training is a function of its configuration, and can be stopped anywhere without changing what it returns."""

import dataclasses
import io
import os
import pickle
import random
import shlex
import signal
import sys
import zipfile

import numpy as np
import pytest
import torch
from gymnasium.error import NameNotFound
from rich.console import Console
from stable_baselines3 import PPO
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents import callbacks, ppo
from agents.checkpoint import load_newest, save_checkpoint
from agents.ppo import PPOConfig, RunError, TrainingInterrupted, build_model, make_env, train
from agents.run_folder import RunFolder
from hftgym import EnvParams


def weights(path):
    return PPO.load(path, device="cpu").policy.state_dict()


def equal(a, b):
    return all(torch.equal(a[name], b[name]) for name in a) and a.keys() == b.keys()


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train(tiny, folder, progress=False)
    return folder


def crash_after(monkeypatch, saves, error=KeyboardInterrupt):
    """Let training fail right after so many checkpoints."""
    save, count = ppo.save_checkpoint, iter(range(1, 1000))

    def save_and_crash(*args, **kwargs):
        save(*args, **kwargs)
        if next(count) == saves:
            raise error

    monkeypatch.setattr(ppo, "save_checkpoint", save_and_crash)


def test_equal_seeds_give_equal_weights_and_others_do_not(tiny, whole, tmp_path):
    # Whatever was drawn before from the generators that SB3 shares with everyone.
    torch.rand(5), np.random.rand(5), random.random()  # noqa: NPY002
    same = train(tiny, tmp_path / "same", progress=False)
    other = train(dataclasses.replace(tiny, seed=1), tmp_path / "other", progress=False)
    assert equal(weights(same), weights(whole / "model.zip"))
    assert not equal(weights(other), weights(whole / "model.zip"))


def test_what_could_not_be_exported_is_not_trained(tiny, tmp_path):
    sized = dataclasses.replace(tiny, params=dataclasses.replace(tiny.params, sized_actions=True))
    with pytest.raises(ValueError, match=r"params\.sized_actions must be false for training: no policy file"):
        train(sized, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_the_folder_holds_what_reproduces_the_run(tiny, whole):
    assert PPOConfig.from_toml(whole / "config.toml") == tiny
    assert (whole / "command.txt").read_text() == f"{shlex.join(sys.orig_argv)}\n"
    assert [path.name for path in RunFolder(whole).newest_first()] == [
        f"step_{steps:012d}.zip" for steps in (1024, 768, 512)
    ]
    assert PPO.load(whole / "model.zip", device="cpu").num_timesteps == tiny.total_timesteps
    assert not list(whole.rglob("*.tmp"))


def test_tensorboard_has_the_tags(whole, tiny):
    events = EventAccumulator(str(whole / "tb"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"rollout/ep_rew_mean", "time/fps", "train/value_loss"} <= tags
    assert {
        f"mm/{name}"
        for name in ("j", "fraction", "pnl", "spread_capture", "inventory_pnl", "fees", "inventory_abs", "fill_rate")
    } <= tags
    rates = [event.value for event in events.Scalars("train/learning_rate")]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(tiny.final_learning_rate)


def test_a_crashed_run_resumes_to_the_same_weights(tiny, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        crash_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            train(tiny, tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "model.zip").exists()
    model = train(tiny, tmp_path / "run", resume=True, progress=False)
    assert equal(weights(model), weights(whole / "model.zip"))
    assert len((tmp_path / "run" / "command.txt").read_text().splitlines()) == 2


def test_a_corrupt_checkpoint_is_skipped_and_named(tiny, whole, tmp_path, monkeypatch):
    run = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        crash_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            train(tiny, run.path, progress=False)
    newest = run.newest_first()[0]
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    with pytest.warns(RuntimeWarning, match=rf"skipping the unreadable checkpoint .*{newest.name}"):
        model = train(tiny, run.path, resume=True, progress=False)
    assert equal(weights(model), weights(whole / "model.zip"))


def test_no_part_of_a_damaged_checkpoint_is_unpickled(model, tmp_path, monkeypatch):
    run = RunFolder(tmp_path / "run")
    run.create(overwrite=False)
    model.num_timesteps = 256
    path = save_checkpoint(model, run, keep=2)
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        # A member's bytes come after its local header: 30 bytes, its name, an extra field that is empty here.
        places = {m.filename: m.header_offset + 30 + len(m.filename) + m.file_size // 2 for m in archive.infolist()}
    monkeypatch.setattr(pickle, "loads", lambda _: pytest.fail("unpickled"))
    for name, place in places.items():
        broken = bytearray(data)
        broken[place] ^= 1
        path.write_bytes(broken)
        with pytest.warns(RuntimeWarning, match=f"{name} is damaged"), pytest.raises(RunError):
            load_newest(run)


def test_nothing_readable_is_an_error_and_nothing_saved_a_new_start(tiny, whole, tmp_path, monkeypatch):
    run = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(ppo, "_learn", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(tiny, run.path, progress=False)
    run.checkpoint(256).write_bytes(b"")
    with (
        pytest.warns(RuntimeWarning, match="skipping"),
        pytest.raises(RunError, match=r"no checkpoint in .* can be read: --overwrite"),
    ):
        train(tiny, run.path, resume=True, progress=False)
    run.checkpoint(256).unlink()
    assert equal(weights(train(tiny, run.path, resume=True, progress=False)), weights(whole / "model.zip"))


def test_ctrl_c_saves_and_leaves_a_model(tiny, whole, tmp_path, monkeypatch):
    """The signal comes in the middle of an update; the stop waits until everything fits together."""
    update, count = PPO.train, iter(range(1, 1000))

    def update_and_signal(self):
        if next(count) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        update(self)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(PPO, "train", update_and_signal)
        with pytest.raises(TrainingInterrupted, match=r"stopped after 384 steps.*--resume") as stopped:
            train(tiny, tmp_path / "run", progress=False)
    assert signal.getsignal(signal.SIGINT) is before
    assert isinstance(stopped.value, KeyboardInterrupt)
    assert PPO.load(stopped.value.model, device="cpu").num_timesteps == stopped.value.timesteps == 384
    model = train(tiny, tmp_path / "run", resume=True, progress=False)
    assert equal(weights(model), weights(whole / "model.zip"))


def test_a_second_ctrl_c_does_not_wait():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores the signal

    def twice(stop):
        with stop.from_ctrl_c():
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.made
            os.kill(os.getpid(), signal.SIGINT)

    try:
        with pytest.raises(KeyboardInterrupt):
            twice(callbacks.StopRequest())
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_a_finished_run_is_left_alone_or_extended(tiny, whole, tmp_path):
    with pytest.raises(RunError, match=r"holds a run that has a model.*--resume.*--overwrite"):
        train(tiny, whole, progress=False)
    before = (whole / "model.zip").stat()
    train(tiny, whole, resume=True, progress=False)
    assert (whole / "model.zip").stat() == before
    train(tiny, tmp_path / "run", progress=False)
    longer = dataclasses.replace(tiny, total_timesteps=1_280)
    train(longer, tmp_path / "run", resume=True, progress=False)
    assert PPO.load(tmp_path / "run" / "model.zip", device="cpu").num_timesteps == 1_280
    assert PPOConfig.from_toml(tmp_path / "run" / "config.toml") == longer
    assert equal(weights(train(tiny, tmp_path / "run", overwrite=True, progress=False)), weights(whole / "model.zip"))


def test_overwriting_wins_over_resuming_and_needs_a_recipe_that_can_be_built(tiny, tmp_path):
    run = RunFolder(tmp_path / "run")
    train(dataclasses.replace(tiny, seed=3), run.path, progress=False)
    with pytest.raises(NameNotFound):
        train(dataclasses.replace(tiny, env_id="Nowhere-v0"), run.path, overwrite=True, progress=False)
    assert run.model.exists()
    shorter = dataclasses.replace(tiny, total_timesteps=256)
    train(shorter, run.path, resume=True, overwrite=True, progress=False)
    assert [path.name for path in run.newest_first()] == [run.checkpoint(256).name]


CHANGED = {
    "env_id": "MarketMakingCJ-v0",
    "seed": 4,
    "num_envs": 4,
    "n_steps": 32,
    "batch_size": 32,
    "n_epochs": 3,
    "learning_rate": 2**-7,
    "final_learning_rate": 2**-9,
    "gamma": 0.5,
    "gae_lambda": 0.25,
    "clip_range": 0.125,
    "ent_coef": 0.375,
    "vf_coef": 0.625,
    "max_grad_norm": 0.75,
    "log_std_init": -1.5,
    "net_arch": (8, 4),
    "return_weights": (0.5,),
    "training_reward": "raw",
    "final_log_std": -2.5,
    "averaging": 2.0,
    "normalize_reward": False,
    "may_cross": False,
    "stagger": False,
    "params": EnvParams(horizon=61, window=12),
}
MAY_CHANGE = {"total_timesteps": 1_000, "checkpoint_every": 512, "keep_checkpoints": 2, "evaluate_every": 512}


def test_every_word_of_the_recipe_reaches_the_model(tiny):
    config = dataclasses.replace(tiny, **CHANGED)
    model = build_model(config, make_env(config))
    for name in ("seed", "n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "ent_coef", "vf_coef"):
        assert getattr(model, name) == getattr(config, name) != getattr(tiny, name), name
    assert (model.max_grad_norm, model.clip_range(1.0)) == (config.max_grad_norm, config.clip_range)
    assert (model.rollout_buffer.gamma, model.rollout_buffer.gae_lambda) == (config.gamma, config.gae_lambda)
    assert (model.lr_schedule(1.0), model.lr_schedule(0.0)) == (config.learning_rate, config.final_learning_rate)
    assert (model.policy.log_std == config.log_std_init).all()
    assert [layer.out_features for layer in model.policy.mlp_extractor.policy_net[::2]] == [8, 4]
    env = model.get_env()
    assert env.batch.spec.id == config.env_id
    assert env.get_attr("params") == [config.params] * config.num_envs
    assert (env.training_reward, env.stagger) == (config.training_reward, config.stagger)
    assert env.observation_space.shape == (8 + len(config.return_weights),)
    assert -1 < env.action_space.low[0] < -0.999


def test_another_recipe_cannot_be_resumed(tiny, whole):
    assert {*CHANGED, *MAY_CHANGE} == {field.name for field in dataclasses.fields(PPOConfig)}
    for name, value in CHANGED.items():
        with pytest.raises(RunError, match=rf"started with {name} = .*, so it cannot be resumed with .*--overwrite"):
            train(dataclasses.replace(tiny, **{name: value}), whole, resume=True, progress=False)
    model = train(dataclasses.replace(tiny, **MAY_CHANGE), whole, resume=True, progress=False)
    assert model == whole / "model.zip"


def test_a_checkpoint_of_another_version_is_not_trusted(whole, monkeypatch):
    monkeypatch.setattr("hftgym.__version__", "99")
    with pytest.warns(RuntimeWarning, match=r"written by hftgym .*, this is 99"), pytest.raises(RunError):
        load_newest(RunFolder(whole))


def test_divergence_is_explained(tiny, tmp_path, monkeypatch):
    build = ppo.build_model

    def broken(*args):
        model = build(*args)
        model.policy.action_net.weight.data[0, 0] = float("nan")
        return model

    monkeypatch.setattr(ppo, "build_model", broken)
    with pytest.raises(RunError, match=r"diverged before step .* lower learning_rate"):
        train(tiny, tmp_path / "run", progress=False)


def test_a_write_error_in_the_middle_is_explained(tiny, tmp_path, monkeypatch):
    crash_after(monkeypatch, 1, OSError(28, "No space left on device"))
    with pytest.raises(RunError, match=r"cannot write into .*run: No space left on device"):
        train(tiny, tmp_path / "run", progress=False)


def test_the_number_of_threads_is_put_back(tiny, tmp_path):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        train(tiny, tmp_path / "run", progress=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_says_how_far_how_fast_and_how_well(tiny, tmp_path, monkeypatch, terminal):
    monkeypatch.setattr(callbacks, "_LINE_EVERY_S", 0.0)
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=140)
    train(tiny, tmp_path / "run", console=console)
    text = out.getvalue()
    assert ("1024/1024" if terminal else "1,024 of 1,024 steps") in text
    assert "steps/s" in text
    assert "reward" in text
    assert ("s left" in text) != terminal
    assert "% of the way to the optimum" in text


def test_where_the_optimum_is_not_known_progress_says_so(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "_LINE_EVERY_S", 0.0)
    out = io.StringIO()
    unknown = dataclasses.replace(tiny, params=dataclasses.replace(tiny.params, trade_through=True))
    train(unknown, tmp_path / "run", console=Console(file=out, width=140))
    assert "optimum unknown" in out.getvalue()
    assert not RunFolder(tmp_path / "run").curve.exists()
