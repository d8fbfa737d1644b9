"""What the published recipes come to under five seeds each: quality, CPU seconds, time to 99 % of the optimum, rate."""

import dataclasses
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from agents.curve import Point
from agents.ppo import DEFAULT_CONFIG, PPOConfig
from agents.seeds import Spread, curves_of, spreads, train_seeds
from scripts.benchmarks.figure import Figure
from scripts.benchmarks.learning import trained_for

SEEDS = (0, 1, 2, 3, 4)
_RATE_CPU_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Bars:
    """What a recipe of agents/configs has to reach, each as a median; None is no bar."""

    fraction: float
    share: float | None = None
    cpu_s: float
    to_99_s: float | None = None


RECIPES = {
    "cj": Bars(share=0.997, fraction=0.990, cpu_s=25.0),
    "cj_fast": Bars(fraction=0.9, cpu_s=8.0, to_99_s=8.0),
    "default": Bars(fraction=0.975, cpu_s=60.0),
    "default_innovation": Bars(fraction=0.92, cpu_s=60.0),
    "default_raw": Bars(fraction=0.92, cpu_s=60.0),
}


def recipe_figures() -> Iterator[Figure]:
    """Yield the figures of every recipe, and the rate of training."""
    yield rate_figure()
    for name, bars in RECIPES.items():
        yield from figures_of(name, curves(name), bars)


def recipe(name: str) -> PPOConfig:
    """Return a configuration of agents/configs."""
    return PPOConfig.from_toml(DEFAULT_CONFIG.with_name(f"{name}.toml"))


def curves(name: str, *, seeds: tuple[int, ...] = SEEDS) -> dict[str, list[Point]]:
    """Train a recipe under some seeds and return its learning curves."""
    with tempfile.TemporaryDirectory() as folder:
        console = Console(file=sys.stderr)
        return curves_of(train_seeds(recipe(name), Path(folder), seeds, console=console))


def figures_of(name: str, curves: dict[str, list[Point]], bars: Bars) -> Iterator[Figure]:
    """Yield the figures of a recipe from the learning curves of its seeds."""
    found = spreads(curves)
    error = max(points[-1].j_error / points[-1].j * points[-1].share for points in curves.values())
    note = f"{len(curves)} seeds, {{range}}; s.e. of one J / J* {error:.4f}"
    wanted = (
        ("J / J*", "J / J*", "of J*", bars.share, False),
        ("fraction of the gap", "fraction of the gap", "of the gap", bars.fraction, False),
        ("CPU seconds", "training", "CPU s", bars.cpu_s, True),
        ("CPU seconds to 99 % of J*", "time to 99 % of J*", "CPU s", bars.to_99_s, True),
    )
    for key, label, unit, bar, lower in wanted:
        spread = found[key]
        yield Figure(
            name=f"{name}.toml: {label}, median",
            value=spread.median,
            unit=unit,
            bar=bar,
            lower_is_better=lower,
            note=note.format(range=_range(spread)),
        )


def rate_figure() -> Figure:
    """Return the environment steps per CPU second of the default recipe with 256 environments."""
    config = dataclasses.replace(recipe("default"), num_envs=256, n_steps=64)
    rates = []
    for _ in range(3):
        model, cpu_s, _ = trained_for(config, _RATE_CPU_S)
        rates.append(model.num_timesteps / cpu_s)
    return Figure(
        name="training rate, 256 environments, updates included",
        value=statistics.median(rates),
        unit="steps/CPU s",
        bar=110_000,
        note=f"3 runs of {_RATE_CPU_S:g} CPU s, {_range(Spread.of(rates))}",
    )


def _range(spread: Spread) -> str:
    return f"{spread.low:.4g} to {spread.high:.4g}"
