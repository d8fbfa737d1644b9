"""How long one decision takes: by the trained model, by its exported file, by the file compiled."""

import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agents.checkpoint import load_model
from agents.ppo import one_thread
from agents.return_memory import playable
from hftgym.live import LatencyMonitor
from hftgym.observation import N_FEATURES
from hftgym.policies import OnnxPolicy

SOURCE = "Stable-Baselines3 predict"
PREDICT, ACT = "predict", "act"
COMPILED_PREDICT, COMPILED_ACT = "compiled predict", "compiled act"

Job = Callable[[Any], Any]


def decision_latency(
    model_zip: Path | str, model_onnx: Path | str, *, calls: int = 20_000
) -> dict[str, LatencyMonitor]:
    """Time one decision by the model's `predict` and by the exported file's `predict` and `act`, on every tier.

    Args:
        model_zip: The trained model.
        model_onnx: The file exported from it.
        calls: Calls of each.

    Returns:
        Monitors by the names above; without the compiled ones where there is no compiler.
    """
    model = playable(load_model(model_zip))
    with one_thread():
        return latencies({SOURCE: predicting(model)} | policy_jobs(Path(model_onnx).read_bytes()), calls=calls)


def speedup(times: Mapping[str, LatencyMonitor], name: str) -> float:
    """Return how many times faster a decision is than the model's `predict`, at the median."""
    return times[SOURCE].percentile(50) / times[name].percentile(50)


def policy_jobs(data: bytes) -> dict[str, Job]:
    """Return what decides by a policy's file: `predict` and `act`, also compiled where that works."""
    policy = OnnxPolicy.from_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that it cannot be compiled shows in what is returned
        compiled = OnnxPolicy.from_bytes(data, backend="compiled")
    jobs = {PREDICT: predicting(policy), ACT: policy.act}
    if compiled.backend == "compiled":
        jobs |= {COMPILED_PREDICT: predicting(compiled), COMPILED_ACT: compiled.act}
    return jobs


def predicting(policy: Any) -> Job:
    """Return a function of one observation that calls `predict`, handing on the state of a policy that has one."""
    _, state = policy.predict(np.zeros(N_FEATURES, dtype=np.float32), deterministic=True)
    if state is None:
        return policy.predict if isinstance(policy, OnnxPolicy) else lambda o: policy.predict(o, deterministic=True)
    held, going_on = [state], np.zeros(1, dtype=bool)

    def decide(observation: Any) -> Any:
        action, held[0] = policy.predict(observation, held[0], going_on, deterministic=True)
        return action

    return decide


def latencies(jobs: Mapping[str, Job], *, calls: int = 20_000, rounds: int = 20) -> dict[str, LatencyMonitor]:
    """Time calls of several functions of one observation in turn, round after round: what disturbs one disturbs all.

    The timer's own 0.05 to 0.1 us are included.
    """
    rows = np.random.default_rng(0).uniform(-1, 1, size=(256, N_FEATURES)).astype(np.float32)
    observations, monitors = list(rows), {name: LatencyMonitor() for name in jobs}
    for job in jobs.values():
        for observation in observations:
            job(observation)
    for _ in range(rounds):
        for name, job in jobs.items():
            monitors[name].record_all(_durations(job, observations, calls // rounds))
    return monitors


def _durations(job: Job, observations: list[Any], calls: int) -> list[int]:
    clock, durations = time.perf_counter_ns, []
    for i in range(calls):
        observation = observations[i % 256]
        start = clock()
        job(observation)
        durations.append(clock() - start)
    return durations
