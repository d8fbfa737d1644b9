"""The recipe for rl-baselines3-zoo is the one that is trained here, as far as the zoo can say it."""

import ast
import inspect
import re

import pytest
from stable_baselines3 import PPO

from agents.ppo_config import DEFAULT_CONFIG, PPOConfig

# What the zoo takes away before it calls PPO; the rest are PPO's arguments.
ZOO = {"n_envs": "num_envs", "n_timesteps": "total_timesteps", "policy": None, "normalize": None}


def scalar(text):
    text = text.removeprefix("!!float ")
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text  # YAML's plain strings need no quotes


@pytest.fixture(scope="module")
def recipe():
    """The file, which is one mapping of one mapping of scalars: no YAML reader is needed for that much of YAML."""
    text = DEFAULT_CONFIG.with_name("rl_zoo.yml").read_text()
    head, *lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert head == f"{PPOConfig.from_toml().env_id}:"
    matches = [re.fullmatch(r"  (\w+): (.+)", line) for line in lines]
    assert all(matches)
    return {match[1]: scalar(match[2]) for match in matches}


def test_every_key_is_an_argument_of_ppo(recipe):
    arguments = set(inspect.signature(PPO).parameters)
    assert {key for key in recipe if key not in ZOO} <= arguments
    assert recipe["policy"] == "MlpPolicy"


def test_values_are_those_of_the_toml(recipe):
    config = PPOConfig.from_toml()
    for key, value in recipe.items():
        name = ZOO.get(key, key)
        if name in (None, "policy_kwargs"):
            continue
        if isinstance(value, str):  # the zoo's notation for a linear fall to zero
            assert value.startswith("lin_")
            value = float(value.removeprefix("lin_"))
            assert config.final_learning_rate < 0.01 * value
        assert value == getattr(config, name), key


def test_the_net_is_that_of_the_toml(recipe):
    config = PPOConfig.from_toml()
    call = ast.parse(recipe["policy_kwargs"], mode="eval").body
    values = {word.arg: ast.unparse(word.value) for word in call.keywords}
    assert ast.literal_eval(values["net_arch"]) == list(config.net_arch)
    assert float(values["log_std_init"]) == config.log_std_init
    assert values["activation_fn"] == "nn.Tanh"
