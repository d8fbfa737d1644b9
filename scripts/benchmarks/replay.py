"""Speed of the replay environment over one shared tape."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from hftgym import EnvParams
from hftgym.tape import Tape, read_tape
from hftgym.tape.simulate import simulate_tape
from scripts.benchmarks.figure import Figure, interleaved_seconds

_ID = "MarketMakingReplay-v0"
_CAPTURE = "binance_usdm_btcusdt_20240808.gz"
_LATENCY_S = 0.005


def busy_tape() -> tuple[Tape, str]:
    """Return the recorded BTCUSDT perpetual, or a simulated tape with as many rows a second, and which it is."""
    path = Path(os.environ.get("HFTGYM_DATA", "../shared/data")) / _CAPTURE
    if path.is_file():
        return read_tape(path), "BTCUSDT perpetual"
    return simulate_tape(EnvParams(tick_s=0.005), ticks=60_000, seed=0), "a simulated tape"


def replay_figures() -> Iterator[Figure]:
    """Yield the rates of the batch and of the single environment, and what a reset costs."""
    tape, what = busy_tape()
    num_envs, steps = 1_024, 400
    batch = gym.make_vec(_ID, num_envs=num_envs, tape=tape, latency_s=_LATENCY_S)
    env = gym.make(_ID, tape=tape, latency_s=_LATENCY_S)
    jobs = {
        "batch": _stepping(batch, np.random.default_rng(0).uniform(-1, 1, (8, num_envs, 2)), steps),
        "single": _stepping(env, np.zeros((8, 2)), 900),
        "reset": lambda: [env.reset() for _ in range(1_000)],
    }
    seconds = interleaved_seconds(jobs)
    rows = (len(tape.quotes) + len(tape.trades)) / tape.duration_s * 0.1
    note = f"{what}, steps of 100 ms with {rows:.0f} rows, latency {_LATENCY_S * 1e3:g} ms"
    rate = num_envs * steps / seconds["batch"] / 1e6
    yield Figure(name="replay, batch of 1,024", value=rate, unit="M env-steps/s", bar=1.0, note=note)
    yield Figure(
        name="replay, single step", value=seconds["single"] / 900 * 1e6, unit="us", bar=5.0, lower_is_better=True
    )
    yield Figure(name="replay, reset", value=seconds["reset"] / 1_000 * 1e6, unit="us", bar=50.0, lower_is_better=True)


def _stepping(env: Any, actions: np.ndarray, steps: int) -> Callable[[], None]:
    """Return a job that resets and steps with prepared actions; the episode is longer than the steps."""
    prepared = list(actions.astype(np.float32))

    def job() -> None:
        env.reset(seed=0)
        for step in range(steps):
            env.step(prepared[step % 8])

    return job
