"""The agents that come with the project: files that load, cards that can be checked."""

import hashlib

import pytest

from agents.ppo import DEFAULT_CONFIG, PPOConfig
from hftgym import EnvParams
from hftgym.evaluation import evaluate, exact
from hftgym.exact_value import PricePaths
from hftgym.policies import OnnxPolicy, ZScorePolicy
from hftgym.roster import market_for
from scripts.benchmarks.alpha import share_of

FOLDER = DEFAULT_CONFIG.parents[1] / "pretrained"
FILES = sorted(path for path in FOLDER.glob("*.onnx") if not path.name.endswith(".int8.onnx"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_has_a_card_that_says_how_to_make_it(path):
    policy, card = OnnxPolicy(path), path.with_suffix(".md").read_text()
    assert path.stat().st_size < 100_000
    assert policy.manifest["parity"]["max_abs"] <= policy.manifest["parity"]["tolerance"] <= 1e-5
    for word in (policy.manifest["env_id"], policy.manifest["algo"], "scripts/train.py", "scripts/export.py"):
        assert word in card, f"{path.stem}.md does not name {word}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_int8_file_is_made_of_the_float32_file_beside_it(path):
    full, small = OnnxPolicy(path), OnnxPolicy(path.with_suffix(".int8.onnx"))
    found = small.manifest["quantization"]
    assert found["source_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found["action"]["max_abs"] <= found["action"]["tolerance"] == 0.01
    assert found["j_loss"]["share"] + 2 * found["j_loss"]["se"] <= found["j_loss"]["tolerance"] == 0.005
    assert {**full.manifest["params"]} == {**small.manifest["params"]}
    assert path.with_suffix(".int8.onnx").stat().st_size < 0.7 * path.stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("alpha_ppo", 0.85), ("alpha_lstm", 0.80)])
def test_the_hidden_regime_is_read_from_returns(name, least):
    policy = OnnxPolicy(FOLDER / f"{name}.onnx", env_id="MarketMakingAlpha-v0")
    found = share_of(policy, episodes=4_000)
    assert found.share - 4 * found.standard_error > least - 0.1
    assert found.share + 4 * found.standard_error > least


@pytest.mark.parametrize(("name", "least"), [("default", 0.99), ("cj", 0.985)])
def test_what_the_optimum_is_known_of_is_reached(name, least):
    policy = OnnxPolicy(FOLDER / f"{name}.onnx")
    params, env_id = EnvParams.from_dict(policy.manifest["params"]), policy.manifest["env_id"]
    value, error = PricePaths.drawn(params, paths=4, seed=2**35, env_id=env_id).value(policy)
    truth = exact(params)
    assert truth is not None
    assert (value - truth.constant) / (truth.optimum - truth.constant) > least
    assert error < 0.001 * truth.optimum


@pytest.mark.parametrize("name", ["btcusdt_spot", "btcusdt_usdm"])
def test_where_fees_cannot_be_earned_nothing_is_traded(name):
    policy = OnnxPolicy(FOLDER / f"{name}.onnx")
    params = EnvParams.from_dict(policy.manifest["params"])
    fee = params.maker_fee_bps / 1e4 / (params.spread / 2)
    assert params.offset_high > fee > 100  # beyond its fee it may quote
    table = evaluate({name: policy}, policy.manifest["env_id"], episodes=20, params=params)
    assert table["fills"].to_list() == [0] * 20
    assert table["j"].to_list() == [0.0] * 20


def test_an_agent_acts_and_sees_as_where_it_was_trained():
    market = EnvParams(window=20, offset_low=0.0, offset_high=7.0, maker_fee_bps=3.0)
    agent = OnnxPolicy(FOLDER / "btcusdt_usdm.onnx")
    assert market_for(agent, market) == EnvParams(offset_high=300.0, maker_fee_bps=3.0)  # window 50, offsets from -1
    assert market_for(ZScorePolicy(), market) is market


@pytest.mark.parametrize("name", ["alpha_ppo", "alpha_lstm", "btcusdt_spot", "btcusdt_usdm", "default", "cj"])
def test_a_file_is_of_the_recipe_that_it_is_named_after(name):
    manifest = OnnxPolicy(FOLDER / f"{name}.onnx").manifest
    config = PPOConfig.from_toml(DEFAULT_CONFIG.with_name(f"{name}.toml"))
    # Not by the hash of the configuration, which a new field with a default changes.
    assert (manifest["algo"], manifest["seed"]) == (config.algo, config.seed)
    assert config.total_timesteps <= manifest["timesteps"] < config.total_timesteps + config.num_envs * config.n_steps
    assert manifest["params"] == config.params.to_dict()
