import importlib.util
import os
from dataclasses import replace
from pathlib import Path

import pytest

from agents.ppo_config import RLlibConfig
from scripts.ray_cluster import connected, own_environment

CONFIG = Path(__file__).parents[2] / "agents" / "configs" / "cj_rllib.toml"
# RLlib wants a Gymnasium of its own, and so has an environment of its own: `make test-rllib`.
MISSING = any(importlib.util.find_spec(name) is None for name in ("ray", "tree", "lz4"))
if not MISSING:
    # These tests import Ray before they enter `connected`, and Ray reads its environment when it is imported.
    os.environ.update(own_environment())


def pytest_ignore_collect(collection_path):
    """Leave out what imports RLlib where it is not installed."""
    return True if MISSING and collection_path.name.startswith("test_rllib_") else None


@pytest.fixture(scope="session")
def recipe():
    """The recipe of MarketMakingCJ-v0."""
    return RLlibConfig.from_toml(CONFIG)


@pytest.fixture(scope="session")
def tiny(recipe):
    """A recipe that trains in seconds, with episodes of 12 ticks and every reward as it is."""
    return replace(
        recipe,
        total_timesteps=2_048,
        num_envs=16,
        n_steps=16,
        batch_size=64,
        checkpoint_every=512,
        evaluate_every=512,
        stagger=False,
        normalize_reward=False,
        training_reward="raw",
        params=replace(recipe.params, horizon=12),
    )


@pytest.fixture(scope="session")
def cluster():
    """A cluster of this machine's own, with two CPUs."""
    with connected(None, cpus=2) as ray:
        yield ray
