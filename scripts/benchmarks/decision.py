"""How long one decision takes: the trained model, the exported file, and the file's shortest path."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import PPO

from agents.ppo import one_thread
from hftgym.observation import N_FEATURES
from hftgym.policies import OnnxPolicy


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """Percentiles of the time of one call, in microseconds, the timer's own 0.1 included."""

    p50_us: float
    p99_us: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Latencies of one decision, measured in turn in one run."""

    sb3: Latency
    onnx_predict: Latency
    onnx_act: Latency

    @property
    def speedup(self) -> float:
        """How many times faster the file's `predict` is than the model's, at the median."""
        return self.sb3.p50_us / self.onnx_predict.p50_us

    @property
    def speedup_act(self) -> float:
        """The same for `act`."""
        return self.sb3.p50_us / self.onnx_act.p50_us


def decision_latency(model_zip: Path | str, model_onnx: Path | str, *, calls: int = 20_000) -> Decision:
    """Time one decision by the model's `predict` and by the exported file's `predict` and `act`.

    Args:
        model_zip: The trained model.
        model_onnx: The file exported from it.
        calls: Calls of each.
    """
    model, policy = PPO.load(model_zip, device="cpu"), OnnxPolicy(model_onnx)
    jobs: dict[str, Callable[[Any], Any]] = {
        "sb3": lambda observation: model.predict(observation, deterministic=True),
        "onnx_predict": policy.predict,
        "onnx_act": policy.act,
    }
    with one_thread():
        return Decision(**latencies(jobs, calls=calls))


def latencies(jobs: Mapping[str, Callable[[Any], Any]], *, calls: int = 20_000, rounds: int = 20) -> dict[str, Latency]:
    """Time calls of several functions of one observation in turn, round after round: what disturbs one disturbs all."""
    observations = np.random.default_rng(0).uniform(-1, 1, size=(256, N_FEATURES)).astype(np.float32)
    times_ns: dict[str, list[int]] = {name: [] for name in jobs}
    for job in jobs.values():
        for observation in observations:
            job(observation)
    for _ in range(rounds):
        for name, job in jobs.items():
            for i in range(calls // rounds):
                observation = observations[i % 256]
                start = time.perf_counter_ns()
                job(observation)
                times_ns[name].append(time.perf_counter_ns() - start)
    return {name: _percentiles(values) for name, values in times_ns.items()}


def _percentiles(times_ns: list[int]) -> Latency:
    p50, p99 = np.percentile(times_ns, [50, 99]) / 1e3
    return Latency(p50_us=float(p50), p99_us=float(p99))
