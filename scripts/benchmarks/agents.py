"""Training, parity and decision time of the learned agent, as figures."""

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

from agents.export import export
from agents.ppo import PPOConfig, train
from scripts.benchmarks.decision import decision_latency
from scripts.benchmarks.figure import Figure
from scripts.benchmarks.learning import ppo_fraction
from scripts.benchmarks.recipes import recipe_figures

CPU_SECONDS = 15.0


def decision_figures() -> Iterator[Figure]:
    """Yield the exported agent's parity and its time of one decision against Stable-Baselines3's."""
    with tempfile.TemporaryDirectory() as folder:
        # Neither depends on what the agent has learned.
        config = dataclasses.replace(PPOConfig.from_toml(), total_timesteps=200_000)
        model = train(config, Path(folder) / "run", progress=False)
        manifest = export(model, Path(folder) / "model.onnx")
        times = decision_latency(model, Path(folder) / "model.onnx")
    yield Figure(
        name="parity of ONNX and SB3, 10,000 observations",
        value=manifest["parity"]["max_abs"],
        unit="largest difference",
        bar=1e-5,
        lower_is_better=True,
    )
    note = f"predict {times.onnx_predict.p50_us:.1f} us (p99 {times.onnx_predict.p99_us:.1f}), "
    note += f"act {times.onnx_act.p50_us:.1f} ({times.onnx_act.p99_us:.1f}), SB3 {times.sb3.p50_us:.0f}"
    yield Figure(name="one decision, ONNX against SB3, p50", value=times.speedup, unit="x as fast", bar=10.0, note=note)


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
