"""Training, parity and decision time of the learned agent, as figures."""

import dataclasses
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from agents.export import export
from agents.ppo import DEFAULT_CONFIG, PPOConfig, build_model, make_env, train
from agents.quantize import candidate
from hftgym.live import LatencyMonitor
from scripts.benchmarks.decision import (
    ACT,
    COMPILED_ACT,
    COMPILED_PREDICT,
    PREDICT,
    SOURCE,
    decision_latency,
    speedup,
)
from scripts.benchmarks.figure import Figure
from scripts.benchmarks.learning import ppo_fraction
from scripts.benchmarks.recipes import recipe_figures

CPU_SECONDS = 15.0


def decision_figures() -> Iterator[Figure]:
    """Yield parity, times of a decision and int8 of three agents: small and large without a memory, and an LSTM.

    The first two are trained for a moment, so that the error of int8 means something; the LSTM's weights are random.
    """
    plain, recurrent = PPOConfig.from_toml(), PPOConfig.from_toml(DEFAULT_CONFIG.with_name("alpha_lstm.toml"))
    agents = {
        "MLP 32-32": dataclasses.replace(plain, total_timesteps=500_000),
        "MLP 64-64": dataclasses.replace(plain, total_timesteps=500_000, net_arch=(64, 64)),
        "LSTM 64": dataclasses.replace(recurrent, lstm_size=64),  # pyright: ignore[reportCallIssue] (RecurrentConfig)
    }
    for name, config in agents.items():
        with tempfile.TemporaryDirectory() as folder:
            zip_file, file = Path(folder) / "model.zip", Path(folder) / "model.onnx"
            if memory := name.startswith("LSTM"):
                build_model(config, make_env(config)).save(zip_file)
            else:
                zip_file = train(config, Path(folder) / "run", progress=False)
            parity = export(zip_file, file)["parity"]
            yield _figure(f"{name}: parity with SB3", parity["max_abs"], "largest difference", 1e-5)
            yield from _times(name, decision_latency(zip_file, file), memory=memory)
            size, small = file.stat().st_size, candidate(file, episodes=2)
        note = f"{size:,} to {len(small.data):,} bytes, the manifest included in both"
        yield Figure(name=f"{name}: int8", value=size / len(small.data), unit="x smaller", bar=2.8, note=note)
        if not memory:
            yield _figure(f"{name}: int8, error of an action", small.found.action, "largest difference", 0.01)
    yield _figure("import of OnnxPolicy in a fresh process", _import_seconds(), "CPU s", 0.5, "median of 5")


def _times(name: str, times: Mapping[str, LatencyMonitor], *, memory: bool) -> Iterator[Figure]:
    """Yield the times of a decision, and how many times faster it is than Stable-Baselines3's."""
    predict, compiled = (25.0, 3.0) if memory else (12.0, 1.0)
    rows = [(PREDICT, 50.0, predict), (PREDICT, 99.0, None if memory else 20.0), (ACT, 50.0, None if memory else 8.0)]
    if COMPILED_ACT in times:
        rows += [(COMPILED_ACT, 50.0, compiled), (COMPILED_PREDICT, 50.0, 3.0 if memory else None)]
    for job, percent, bar in rows:
        yield _figure(f"{name}: {job} p{percent:g}", times[job].percentile(percent) / 1e3, "us", bar)
    note = f"SB3's predict takes {times[SOURCE].percentile(50) / 1e3:.0f} us; there is no normaliser to add to it"
    for job, bar in ((PREDICT, 15.0), (ACT, 15.0), (COMPILED_PREDICT, None), (COMPILED_ACT, 100.0)):
        if job in times:
            value = speedup(times, job)
            yield Figure(name=f"{name}: {job}, against SB3, p50", value=value, unit="x as fast", bar=bar, note=note)
            note = ""


def _figure(name: str, value: float, unit: str, bar: float | None, note: str = "") -> Figure:
    return Figure(name=name, value=value, unit=unit, bar=bar, lower_is_better=True, note=note)


def _import_seconds() -> float:
    code = (
        "import time; t = time.perf_counter(); from hftgym.policies import OnnxPolicy; print(time.perf_counter() - t)"
    )
    command = [sys.executable, "-c", code]
    return statistics.median(float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(5))


def learning_figures() -> Iterator[Figure]:
    """Yield how far PPO gets in 15 CPU seconds, for two seeds, and what the published recipes come to."""
    for seed in (0, 1):
        run = ppo_fraction(cpu_seconds=CPU_SECONDS, seed=seed)
        yield Figure(
            name=f"PPO after {CPU_SECONDS:g} CPU s, seed {seed}",
            value=run.fraction,
            unit="of the gap",
            bar=0.9,
            note=f"+-{2 * run.standard_error:.3f}; {run.steps_per_cpu_s / 1e3:.0f} k steps per CPU s; "
            "best constant quote 0, exact optimum 1",
        )
    yield from recipe_figures()
