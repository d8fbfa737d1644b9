"""Agents that remember: trained, resumed and exported like the others, and remembering the same everywhere."""

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy

from agents import export as module
from agents import ppo
from agents.checkpoint import load_model
from agents.export import ExportError, export
from agents.parity import N_PROBES
from agents.ppo import DEFAULT_CONFIG, PPOConfig, RecurrentConfig, RunError, build_model, make_env, train
from agents.recurrent import LstmPolicy
from agents.return_memory import Remembering, ReturnMemory, playable
from agents.vec_env import NativeVecEnv
from hftgym import PRESETS, EnvParams
from hftgym.policies import OnnxPolicy
from hftgym.rollout import rollout

CONFIGS = DEFAULT_CONFIG.parent
WEIGHTS = (0.5, 0.1)


@pytest.fixture(scope="session")
def averaging(tiny):
    """A recipe whose policy sees averages of past returns."""
    return dataclasses.replace(tiny, return_weights=WEIGHTS, training_reward="raw")


@pytest.fixture(scope="session")
def recurrent(tiny):
    """A recipe for an LSTM."""
    values = tiny.to_dict() | {"algo": "RecurrentPPO", "lstm_size": 6, "training_reward": "raw", "net_arch": [5]}
    return RecurrentConfig.from_dict(values)


@pytest.fixture(scope="session")
def informed(recurrent):
    """A recipe for an LSTM whose value function sees averages of past returns."""
    return dataclasses.replace(recurrent, return_weights=WEIGHTS)


@pytest.fixture(params=["averaging", "recurrent", "informed"])
def config(request):
    return request.getfixturevalue(request.param)


def eager(config):
    """Return an untrained agent whose actions depend on what it remembers, and reach the bounds."""
    model = build_model(config, make_env(config))
    model.policy.action_net.weight.data *= 300.0
    return model


@pytest.fixture
def exported(config, tmp_path):
    eager(config).save(tmp_path / "model.zip")
    manifest = export(tmp_path / "model.zip", tmp_path / "model.onnx")
    return tmp_path / "model.zip", OnnxPolicy(tmp_path / "model.onnx"), manifest


def equal(a, b):
    a, b = (load_model(path).policy.state_dict() for path in (a, b))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
def test_a_crashed_run_resumes_to_the_same_weights(config, tmp_path, monkeypatch):
    """Also in the middle of episodes: a horizon of 60 is no multiple of the 16 steps of a rollout."""
    whole = train(config, tmp_path / "whole", progress=False)
    save, count = ppo.save_checkpoint, iter(range(1, 100))

    def save_and_crash(*args, **kwargs):
        save(*args, **kwargs)
        if next(count) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ppo, "save_checkpoint", save_and_crash)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "run", progress=False)
    resumed = train(config, tmp_path / "run", resume=True, progress=False)
    assert equal(resumed, whole)
    other = train(dataclasses.replace(config, seed=1), tmp_path / "other", progress=False)
    assert not equal(other, whole)


def test_another_algorithm_cannot_be_resumed(tiny, recurrent, tmp_path):
    train(tiny, tmp_path / "run", progress=False)
    with pytest.raises(RunError, match=r"started with algo = 'PPO', so it cannot be resumed with 'Rec"):
        train(recurrent, tmp_path / "run", resume=True, progress=False)


def test_the_averages_are_sums_over_the_past():
    memory, generator = ReturnMemory(WEIGHTS), np.random.default_rng(0)
    observations = generator.uniform(-1, 1, size=(40, 3, 8)).astype(np.float32)
    averages = memory.start(3)
    for row in observations:
        averages = memory.after(averages, row)
    returns = 5.0 * observations[::-1, :, 4].astype(np.float64)
    for k, w in enumerate(WEIGHTS):
        plain = (w * (1 - w) ** np.arange(40)) @ returns
        np.testing.assert_allclose(averages[:, k], plain * np.sqrt((2 - w) / w), atol=1e-5)


def test_averages_of_independent_returns_have_variance_one():
    memory, averages = ReturnMemory(WEIGHTS), ReturnMemory(WEIGHTS).start(20_000)
    generator = np.random.default_rng(0)
    for _ in range(120):
        observations = np.zeros((20_000, 8), dtype=np.float32)
        observations[:, 4] = generator.normal(0, 0.2, size=20_000)
        averages = memory.after(averages, observations)
    np.testing.assert_allclose(averages.std(axis=0), 1.0, atol=4 / np.sqrt(40_000))


def test_the_environment_and_the_policy_remember_the_same():
    """What a model was shown in training is what it is shown when it plays."""

    class Witness:
        def predict(self, observation, state=None, episode_start=None, deterministic=True):
            self.seen = observation
            return np.zeros((len(observation), 2), dtype=np.float32), None

    params, witness = EnvParams(horizon=30, window=7), Witness()
    policy = Remembering(witness, ReturnMemory(WEIGHTS))
    envs = NativeVecEnv(num_envs=4, params=params, seed=3, return_weights=WEIGHTS)
    assert envs.observation_space.shape == (10,)
    seen, start, state = envs.reset(), np.ones(4, dtype=bool), None
    alone = None
    for _ in range(75):
        _, state = policy.predict(seen[:, :8], state, start)
        np.testing.assert_array_equal(witness.seen, seen)
        _, alone = policy.predict(seen[0, :8], alone, start[:1])
        np.testing.assert_array_equal(alone[0], state[0][0])
        before = seen
        seen, _, start, infos = envs.step(np.zeros((4, 2), dtype=np.float32))
        for i in np.flatnonzero(start):
            last = infos[i]["terminal_observation"]
            expected = ReturnMemory(WEIGHTS).after(before[i : i + 1, 8:], last[None, :8])[0]
            np.testing.assert_array_equal(last[8:], expected)


def test_whole_sequences_give_what_single_steps_give(recurrent):
    """`LstmPolicy` against sb3-contrib's own loop, with starts in front of some sequences and padding behind."""
    lstm, generator = torch.nn.LSTM(8, 6), torch.Generator().manual_seed(0)
    features = torch.rand((5 * 16, 8), generator=generator)
    starts = torch.zeros((5, 16))
    starts[1:4, 0] = 1.0
    states = tuple(torch.rand((1, 5, 6), generator=generator) for _ in range(2))
    ours = LstmPolicy._process_sequence(features, states, starts.flatten(), lstm)
    theirs = RecurrentActorCriticPolicy._process_sequence(features, states, starts.flatten(), lstm)
    together = torch.cat([theirs[0], features], dim=1)
    for a, b in zip((ours[0], *ours[1]), (together, *theirs[1]), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
    unknown = (states[0].clone(), states[1].clone())
    unknown[0][:, 1:4] = torch.nan
    after = LstmPolicy._process_sequence(features, unknown, starts.flatten(), lstm)
    torch.testing.assert_close(after[0], ours[0], atol=0, rtol=0)


def test_the_file_remembers_like_the_model(config, exported):
    path, policy, manifest = exported
    lanes, ticks = 9, 150
    model = playable(load_model(path))
    envs = NativeVecEnv(num_envs=lanes, params=config.params, seed=11)
    observation, start, theirs = envs.reset(), np.ones(lanes, dtype=bool), None
    mine = tuple(np.full((lanes, width), np.nan, dtype=np.float32) for width in policy.widths.values())
    used = np.zeros(2)
    for _ in range(ticks):
        expected, theirs = model.predict(observation, state=theirs, episode_start=start, deterministic=True)
        actions, mine = policy.predict(observation, mine, start)
        assert np.abs(actions - expected).max() <= 1e-5
        for a, b in zip(mine, theirs, strict=True):
            assert np.abs(a - b.reshape(a.shape)).max() <= 1e-5
        used += np.abs(actions - policy.predict(observation)[0]).max(axis=0) > 0.01
        observation, _, start, _ = envs.step(actions)
    assert (used > ticks / 2).all()  # the memory matters
    assert manifest["parity"]["n"] >= 10_000
    assert manifest["parity"]["max_abs"] <= 1e-5


def test_one_observation_is_a_row_of_a_batch(config):
    model, state, states = playable(eager(config)), None, None
    for observation in np.random.default_rng(0).uniform(-1, 1, (3, 8)).astype(np.float32):
        action, state = model.predict(observation, state, deterministic=True)
        actions, states = model.predict(observation[None], states, deterministic=True)
        np.testing.assert_allclose(action, actions[0], atol=1e-6)


def test_the_file_says_what_it_remembers(config, exported, tmp_path):
    path, policy, manifest = exported
    lstm = isinstance(config, RecurrentConfig)
    assert dict(policy.widths) == manifest["state"] == ({"h": 6, "c": 6} if lstm else {"h": 2})
    assert next(iter(policy.widths)) == "h"
    assert manifest["algo"] == config.algo
    assert len(manifest["probes"]["observations"]) == N_PROBES
    assert manifest["config_sha256"] != manifest["data_sha256"]
    assert len(manifest["data_sha256"]) == 64
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    export(path, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "model.onnx").read_bytes()


@pytest.mark.slow
def test_the_data_hash_is_that_of_the_prices(averaging, tmp_path):
    def data_hash(**changes):
        config = dataclasses.replace(averaging, **changes)
        build_model(config, make_env(config)).save(tmp_path / "model.zip")
        return export(tmp_path / "model.zip", tmp_path / "model.onnx")["data_sha256"]

    first = data_hash()
    assert data_hash(learning_rate=1e-3) == first
    assert len({first, data_hash(seed=1), data_hash(params=EnvParams(horizon=60, window=12, spread=0.001))}) == 3


def change_layers(net):
    (weights, bias), *rest = net.layers
    return dataclasses.replace(net, layers=[(weights * np.float32(1.001), bias), *rest])


def change_recurrence(net):
    """Alter what shows only once there is a memory."""
    if hasattr(net.memory, "recurrence"):
        return dataclasses.replace(net, memory=dataclasses.replace(net.memory, recurrence=net.memory.recurrence * 0.99))
    return dataclasses.replace(net, memory=type(net.memory)(ReturnMemory((0.5, 0.11))))


@pytest.mark.parametrize("change", [change_layers, change_recurrence])
def test_a_graph_that_differs_is_refused(config, tmp_path, monkeypatch, change):
    eager(config).save(tmp_path / "model.zip")
    build = module.build_graph
    monkeypatch.setattr(module, "build_graph", lambda net, space: build(change(net), space))
    with pytest.raises(ExportError, match="does not act like the model"):
        export(tmp_path / "model.zip", tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_a_memory_that_differs_where_no_action_shows_it_is_refused(recurrent, tmp_path, monkeypatch):
    model = build_model(recurrent, make_env(recurrent))
    model.policy.action_net.weight.data *= 0.0
    model.save(tmp_path / "model.zip")
    build = module.build_graph
    monkeypatch.setattr(module, "build_graph", lambda net, space: build(change_recurrence(net), space))
    with pytest.raises(ExportError, match=r"an action or a memory is off by .* over 2\d,\d\d\d observations"):
        export(tmp_path / "model.zip", tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_lstm_layers": 2}, "expected one layer"),
        ({"lstm_kwargs": {"bias": False}}, "expected one layer"),
        ({"activation_fn": torch.nn.ReLU}, "activation is"),
    ],
)
def test_another_architecture_is_refused(recurrent, tmp_path, arguments, message):
    policy = {"lstm_hidden_size": 4} | arguments
    RecurrentPPO("MlpLstmPolicy", make_env(recurrent), n_steps=16, device="cpu", policy_kwargs=policy).save(
        tmp_path / "model.zip"
    )
    with pytest.raises(ExportError, match=message):
        export(tmp_path / "model.zip", tmp_path / "model.onnx", params=recurrent.params, env_id="MarketMaking-v0")


@pytest.mark.slow
def test_a_plain_sb3_contrib_file_is_exported(recurrent, tmp_path):
    model = RecurrentPPO(
        "MlpLstmPolicy", make_env(recurrent), n_steps=16, device="cpu", policy_kwargs={"lstm_hidden_size": 4}
    )
    model.policy.action_net.weight.data *= 300.0
    model.save(tmp_path / "model.zip")
    export(tmp_path / "model.zip", tmp_path / "model.onnx", params=recurrent.params, env_id="MarketMaking-v0")
    policy = OnnxPolicy(tmp_path / "model.onnx")
    mine, theirs = (rollout(p, episodes=20, seed=5, params=recurrent.params).figures.j for p in (policy, model))
    np.testing.assert_allclose(mine, theirs, atol=1e-3)


def test_the_value_function_alone_sees_the_averages(informed):
    # With normalised rewards the value function starts at zero, whatever it sees.
    model = eager(dataclasses.replace(informed, normalize_reward=False))
    observations = np.random.default_rng(0).uniform(-1, 1, size=(50, 10)).astype(np.float32)
    others = observations + np.array([0.0] * 8 + [1.0] * 2, dtype=np.float32)
    (a, _), (b, _) = (model.predict(rows, deterministic=True) for rows in (observations, others))
    np.testing.assert_array_equal(a, b)
    state, start = (torch.zeros(1, 50, 6),) * 2, torch.ones(50)
    torch.nn.init.ones_(model.policy.value_net.weight)  # it starts at zero
    values = [model.policy.predict_values(torch.as_tensor(rows), state, start) for rows in (observations, others)]
    assert (values[0] - values[1]).abs().min() > 0


@pytest.mark.slow
def test_short_episodes_give_fewer_probes(recurrent, tmp_path):
    for horizon in (1, 9):
        config = dataclasses.replace(recurrent, params=EnvParams(horizon=horizon, window=5))
        eager(config).save(tmp_path / "model.zip")
        export(tmp_path / "model.zip", tmp_path / "model.onnx")
        assert len(OnnxPolicy(tmp_path / "model.onnx").manifest["probes"]["actions"]) == horizon


def test_weights_that_are_not_finite_are_refused(recurrent, tmp_path):
    model = build_model(recurrent, make_env(recurrent))
    model.policy.lstm_actor.bias_hh_l0.data[3] = float("nan")
    model.save(tmp_path / "model.zip")
    with pytest.raises(ExportError, match="LSTM has a weight that is not finite"):
        export(tmp_path / "model.zip", tmp_path / "model.onnx")


@pytest.mark.parametrize("weights", [(0.0,), (0.5, 1.5), (float("nan"),), (-0.1,)])
def test_bad_weights_are_named(tiny, weights):
    with pytest.raises(ValueError, match="return_weights must be one or more numbers in"):
        dataclasses.replace(tiny, return_weights=weights)


def test_a_configuration_keeps_its_algorithm(tiny, averaging, recurrent, tmp_path):
    for config in (tiny, averaging, recurrent):
        (tmp_path / "config.toml").write_text(config.to_toml())
        read = PPOConfig.from_toml(tmp_path / "config.toml")
        assert (read, type(read)) == (config, type(config))
    with pytest.raises(ValueError, match="algo must be one that RecurrentConfig is the configuration of, got 'PPO'"):
        RecurrentConfig.from_dict(tiny.to_dict())
    with pytest.raises(ValueError, match="got 'SAC'"):
        PPOConfig.from_dict(tiny.to_dict() | {"algo": "SAC"})
    with pytest.raises(ValueError, match="lstm_size must be at least 1"):
        dataclasses.replace(recurrent, lstm_size=0)


@pytest.mark.parametrize("name", ["alpha_lstm", "alpha_ppo"])
def test_the_shipped_recipes_are_for_the_hidden_regime(name):
    config = PPOConfig.from_toml(CONFIGS / f"{name}.toml")
    assert (config.env_id, config.params) == ("MarketMakingAlpha-v0", PRESETS["alpha"])
    assert config.training_reward == "raw"  # prices can be predicted there
