import dataclasses

import pytest

from agents.export import export
from agents.ppo import PPOConfig, build_model, make_env
from hftgym import EnvParams

MARKET = EnvParams(horizon=60, window=12)


@pytest.fixture(scope="session")
def tiny():
    """A recipe that trains in a tenth of a second: 8 rollouts of 128 steps, checkpoints after every second one."""
    return dataclasses.replace(
        PPOConfig.from_toml(),
        total_timesteps=1_024,
        num_envs=8,
        n_steps=16,
        batch_size=64,
        net_arch=(8, 8),
        checkpoint_every=256,
        evaluate_every=256,
        params=MARKET,
    )


@pytest.fixture
def model(tiny):
    """An untrained agent whose actions depend on what it sees, and reach the bounds."""
    model = build_model(tiny, make_env(tiny))
    model.policy.action_net.weight.data *= 300.0
    return model


@pytest.fixture
def model_zip(model, tmp_path):
    path = tmp_path / "model.zip"
    model.save(path)
    return path


@pytest.fixture
def exported(model_zip, tmp_path):
    path = tmp_path / "model.onnx"
    export(model_zip, path)
    return path


@pytest.fixture
def unwritable(tmp_path):
    """A path that no user can make, root included."""
    (tmp_path / "file").write_text("in the way")
    return tmp_path / "file" / "champion"
