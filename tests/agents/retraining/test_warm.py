"""A warm start takes the weights, and nothing else, of the earlier agent."""

import dataclasses

import pytest
import torch

from agents.checkpoint import load_newest
from agents.ppo import train
from agents.retraining.warm import prepare_warm
from agents.run_folder import RunFolder


@pytest.fixture
def training(tmp_path):
    return RunFolder(tmp_path / "training")


def test_step_0_has_the_weights_and_a_fresh_exploration(tiny, model, tmp_path, training):
    model.policy.log_std.data.fill_(-4.0)
    model.save(tmp_path / "parent.zip")
    assert prepare_warm(tiny, training, tmp_path / "parent.zip").startswith("warm start from")
    begun = load_newest(training)
    assert begun.num_timesteps == 0
    parent = dict(model.policy.named_parameters())
    for name, weights in begun.policy.named_parameters():
        wanted = torch.full_like(weights, tiny.log_std_init) if name == "log_std" else parent[name]
        assert torch.equal(weights, wanted), name
    train(tiny, training.path, resume=True, progress=False)
    assert load_newest(training).num_timesteps == tiny.total_timesteps


@pytest.mark.parametrize("what", ["missing", "damaged", "other layers", "not finite"])
def test_weights_that_cannot_be_used_are_not(tiny, model, tmp_path, training, what):
    path, config = tmp_path / "parent.zip", tiny
    if what == "damaged":
        path.write_bytes(b"damaged")
    elif what != "missing":
        if what == "not finite":
            model.policy.action_net.weight.data[0, 0] = torch.nan
        model.save(path)
    if what == "other layers":
        config = dataclasses.replace(tiny, net_arch=(4,))
    assert prepare_warm(config, training, path).startswith("no warm start")
    assert not training.path.exists()
