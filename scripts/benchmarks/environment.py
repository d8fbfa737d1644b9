"""Speed, memory and cold start of the environments."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym

import hftgym
from scripts.benchmarks.figure import Figure, interleaved_seconds

ENV_ID = "MarketMaking-v0"


# Everything that parameters can switch on, together.
EVERYTHING = dataclasses.replace(
    hftgym.PRESETS["adverse"],
    drift=1e-6,
    mean_reversion=1e-3,
    volatility_of_volatility=0.05,
    volatility_reversion=0.05,
    regime_switching=0.02,
    regime_drift=0.1,
    regime_volatility=1.5,
    alpha_volatility=0.05,
    alpha_reversion=0.05,
    excitation=0.2,
    excitation_decay=0.3,
    sized_actions=True,
    order_size=2.0,
    terminal_penalty=1.0,
    reward="cara",
    risk_aversion=0.01,
)
# What moves the price, and adverse selection: the features that the bar was measured with in a prototype.
PRICES = hftgym.EnvParams(
    drift=1e-6,
    mean_reversion=1e-3,
    jump_probability=0.002,
    jump_volatility=0.002,
    regime_switching=0.02,
    regime_drift=0.1,
    alpha_volatility=0.05,
    alpha_reversion=0.05,
    trade_through=True,
)
NO_LATENCY = dataclasses.replace(EVERYTHING, order_latency=0, order_latency_jitter=0.0, data_latency=0)


def batch_job(env_id: str, num_envs: int, steps: int, **kwargs: Any) -> Callable[[], None]:
    """Return a job that steps a vector env with prepared random actions."""
    envs = gym.make_vec(env_id, num_envs=num_envs, **kwargs)
    envs.reset(seed=0)
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(8)]

    def job() -> None:
        for step in range(steps):
            envs.step(actions[step % 8])

    return job


def single_job(env_id: str, steps: int) -> Callable[[], None]:
    """Return a job that steps one environment through `gym.make`, resets included."""
    env: Any = gym.make(env_id)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(101)]

    def job() -> None:
        env.reset()
        for step in range(steps):
            _, _, terminated, truncated, _ = env.step(actions[step % 101])
            if terminated or truncated:
                env.reset()

    return job


def batch_figures() -> Iterator[Figure]:
    """Yield the batch's rates and its ratio to Gymnasium's own CartPole vector env."""
    for num_envs in (1_024, 16_384):
        steps = 8_000_000 // num_envs
        seconds = interleaved_seconds({"ours": batch_job(ENV_ID, num_envs, steps)})
        rate = num_envs * steps / seconds["ours"] / 1e6
        yield Figure(name=f"batch, N = {num_envs:,}", value=rate, unit="M env-steps/s", bar=35.0)
    num_envs, steps = 10_000, 400
    seconds = interleaved_seconds(
        {"ours": batch_job(ENV_ID, num_envs, steps), "cartpole": batch_job("CartPole-v1", num_envs, steps)}
    )
    rates = {name: num_envs * steps / value / 1e6 for name, value in seconds.items()}
    yield Figure(
        name="batch against CartPole-v1, N = 10,000",
        value=rates["ours"] / rates["cartpole"],
        unit="x its rate",
        bar=1.3,
        note=f"{rates['ours']:.1f} and {rates['cartpole']:.1f} M env-steps/s",
    )


def full_figures() -> Iterator[Figure]:
    """Yield the rate with everything switched on, with and without latency, and its ratio to the plain form."""
    num_envs, steps = 1_024, 2_000
    jobs = {
        "plain": batch_job(ENV_ID, num_envs, steps),
        "price models and trade-through": batch_job(ENV_ID, num_envs, steps, params=PRICES),
        "everything on but latency": batch_job(ENV_ID, num_envs, steps, params=NO_LATENCY),
        "everything on": batch_job(ENV_ID, num_envs, steps, params=EVERYTHING),
    }
    seconds = interleaved_seconds(jobs, rounds=5)
    rates = {name: num_envs * steps / value / 1e6 for name, value in seconds.items()}
    for name in list(jobs)[1:]:
        note = f"{rates[name] / rates['plain']:.2f} of the plain form's {rates['plain']:.1f} in the same run"
        yield Figure(name=f"batch, {name}", value=rates[name], unit="M env-steps/s", bar=30.0, note=note)


def single_figures() -> Iterator[Figure]:
    """Yield the single environment's ratio to CartPole-v1."""
    steps = 20_000
    seconds = interleaved_seconds({"ours": single_job(ENV_ID, steps), "cartpole": single_job("CartPole-v1", steps)})
    micros = {name: value / steps * 1e6 for name, value in seconds.items()}
    yield Figure(
        name="single env against CartPole-v1",
        value=micros["cartpole"] / micros["ours"],
        unit="x its rate",
        bar=3.0,
        note=f"{micros['ours']:.2f} and {micros['cartpole']:.2f} us per step, resets and info included",
    )


# Linux only. The peak of getrusage() would be that of the parent, which a child inherits.
_MEMORY = """
import gymnasium as gym, hftgym.envs, hftgym.market.batch
from pathlib import Path
def megabytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
before = megabytes("VmRSS")
envs = gym.make_vec("MarketMaking-v0", num_envs=16_384)
envs.reset(seed=0)
for _ in range(60):
    *_, info = envs.step(envs.action_space.sample())
    dict(info)
print(megabytes("VmHWM") - before)
"""
_COLD = """
import time; start = time.perf_counter()
import gymnasium as gym, hftgym
env = gym.make("MarketMaking-v0")
env.reset(seed=0)
env.step(env.action_space.sample())
print(time.perf_counter() - start)
"""


def _in_fresh_process(code: str) -> float:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def process_figures() -> Iterator[Figure]:
    """Yield memory and cold start, each in processes of its own."""
    yield Figure(
        name="memory, N = 16,384, above the imports",
        value=_in_fresh_process(_MEMORY),
        unit="MB",
        bar=200.0,
        lower_is_better=True,
    )
    times = sorted(_in_fresh_process(_COLD) for _ in range(5))
    yield Figure(
        name="first step of a fresh process, cache warm", value=times[2], unit="s", bar=1.5, lower_is_better=True
    )
