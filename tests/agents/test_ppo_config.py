"""A configuration is checked, explained, and survives TOML."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.ppo_config import DEFAULT_CONFIG, PPOConfig
from hftgym import EnvParams

BASE = PPOConfig.from_toml()


def test_the_shipped_recipe_is_complete_and_for_the_default_market():
    assert BASE.params == EnvParams()
    assert PPOConfig.from_toml(DEFAULT_CONFIG) == BASE


@given(
    seed=st.integers(0, 2**32 - 1),
    rate=st.floats(1e-6, 1.0),
    widths=st.lists(st.integers(1, 4096), min_size=1, max_size=4),
    symbol=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
@settings(max_examples=100, deadline=None)
def test_toml_round_trip(tmp_path_factory, seed, rate, widths, symbol):
    params = EnvParams(symbol=symbol, spread=rate / 3)
    config = dataclasses.replace(
        BASE, seed=seed, learning_rate=rate, final_learning_rate=rate, net_arch=tuple(widths), params=params
    )
    path = tmp_path_factory.mktemp("toml") / "config.toml"
    path.write_text(config.to_toml(), encoding="utf-8")
    assert PPOConfig.from_toml(path) == config
    assert PPOConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("seed", 2**32),
        ("total_timesteps", 0),
        ("num_envs", 2.5),
        ("num_envs", True),
        ("batch_size", 1),
        ("batch_size", 100),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("final_learning_rate", 0.5),
        ("gamma", 1.5),
        ("gae_lambda", "0.9"),
        ("log_std_init", float("inf")),
        ("net_arch", ()),
        ("net_arch", (32, 0)),
        ("net_arch", 32),
        ("training_reward", "martingale"),
        ("stagger", 1),
        ("keep_checkpoints", 1),
        ("env_id", ""),
        ("params", None),
    ],
)
def test_a_bad_value_is_named(name, value):
    with pytest.raises((ValueError, TypeError), match=name) as raised:
        dataclasses.replace(BASE, **{name: value})
    shown = type(value).__name__ if name == "params" else repr(value)
    assert shown in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = ", "Invalid"),
        ("sed = 1\n[params]", "did you mean 'seed'"),
        ("seed = 1", "lacks env_id"),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        PPOConfig.from_toml(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    "params", [{"drift": 1e-3}, {"mean_reversion": 0.01}, {"regime_drift": 0.5, "regime_switching": 0.02}]
)
def test_what_predictable_prices_bring_must_be_in_the_reward(params):
    market = EnvParams(**params)
    with pytest.raises(ValueError, match=r'training_reward must be "innovation_free" or "raw" where prices'):
        dataclasses.replace(BASE, params=market, training_reward="martingale_free")
    for reward in ("innovation_free", "raw"):
        assert dataclasses.replace(BASE, params=market, training_reward=reward).training_reward == reward
