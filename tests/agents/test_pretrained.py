"""The agents that come with the project: files that load, cards that can be checked."""

import hashlib

import pytest

from agents.ppo import DEFAULT_CONFIG, PPOConfig
from hftgym.policies import OnnxPolicy
from scripts.benchmarks.alpha import share_of

FOLDER = DEFAULT_CONFIG.parents[1] / "pretrained"
FILES = sorted(FOLDER.glob("*.onnx"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_has_a_card_that_says_how_to_make_it(path):
    policy, card = OnnxPolicy(path), path.with_suffix(".md").read_text()
    assert path.stat().st_size < 100_000
    assert policy.manifest["parity"]["max_abs"] <= policy.manifest["parity"]["tolerance"] <= 1e-5
    for word in (policy.manifest["env_id"], policy.manifest["algo"], "scripts/train.py", "scripts/export.py"):
        assert word in card, f"{path.stem}.md does not name {word}"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("alpha_ppo", 0.85), ("alpha_lstm", 0.80)])
def test_the_hidden_regime_is_read_from_returns(name, least):
    policy = OnnxPolicy(FOLDER / f"{name}.onnx", env_id="MarketMakingAlpha-v0")
    found = share_of(policy, episodes=4_000)
    assert found.share - 4 * found.standard_error > least - 0.1
    assert found.share + 4 * found.standard_error > least


@pytest.mark.parametrize("name", ["alpha_ppo", "alpha_lstm"])
def test_a_file_is_of_the_recipe_that_it_is_named_after(name):
    manifest = OnnxPolicy(FOLDER / f"{name}.onnx").manifest
    config = PPOConfig.from_toml(DEFAULT_CONFIG.with_name(f"{name}.toml"))
    assert manifest["config_sha256"] == hashlib.sha256(config.to_toml().encode()).hexdigest()
    assert manifest["timesteps"] >= config.total_timesteps
