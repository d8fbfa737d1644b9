"""One recipe under several seeds: train them one after the other, and say what they came to together."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from agents.curve import Point, read_curve
from agents.ppo import train
from agents.ppo_config import PPOConfig
from agents.run_folder import RunFolder
from hftgym.tables import terminal_table


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, smallest and largest of a figure over the seeds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of some numbers; what never happened (inf) counts as later than everything."""
        return cls(statistics.median(values), min(values), max(values))


def train_seeds(
    config: PPOConfig,
    folder: Path,
    seeds: Sequence[int],
    *,
    resume: bool = False,
    overwrite: bool = False,
    console: Console | None = None,
) -> dict[int, Path]:
    """Train a recipe under every seed, into folder/seed_<k>, and return seed -> path of its model.

    Args:
        config: The recipe; its own seed does not matter.
        folder: Of all of them.
        seeds: Which, each once.
        resume: Leave finished runs as they are and continue the others.
        overwrite: Replace the runs that there are.
        console: Where progress is shown; None is standard error.

    Raises:
        ValueError: A seed is given twice, or is outside its range.
        TrainingInterrupted: Ctrl-C; `resume` goes on with the seed that was interrupted.
        RunError: As `train`.
    """
    if len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must differ from each other, got {list(seeds)}")
    recipes = {seed: dataclasses.replace(config, seed=seed) for seed in seeds}
    return {
        seed: train(recipe, folder / f"seed_{seed}", resume=resume, overwrite=overwrite, console=console)
        for seed, recipe in recipes.items()
    }


def curves_of(models: Mapping[int, Path]) -> dict[str, list[Point]]:
    """Return the learning curves of trained models, by the name of the seed; those of two points and more."""
    found = {f"seed {seed}": read_curve(RunFolder(model.parent).curve) for seed, model in models.items()}
    return {name: points for name, points in found.items() if len(points) > 1}


def seconds_to(points: Sequence[Point], share: float) -> float:
    """Return the CPU seconds after which J / J* stays at `share` or above, inf if it does not."""
    reached = math.inf
    for point in reversed(points):
        if point.share < share:
            break
        reached = point.cpu_s
    return reached


def spreads(curves: Mapping[str, Sequence[Point]]) -> dict[str, Spread]:
    """Return what the seeds came to: J / J*, fraction of the gap, CPU seconds, and CPU seconds to 99 % of J*."""
    last = [points[-1] for points in curves.values()]
    return {
        "J / J*": Spread.of([point.share for point in last]),
        "fraction of the gap": Spread.of([point.fraction for point in last]),
        "CPU seconds": Spread.of([point.cpu_s for point in last]),
        "CPU seconds to 99 % of J*": Spread.of([seconds_to(points, 0.99) for points in curves.values()]),
    }


def print_seeds(curves: Mapping[str, Sequence[Point]], *, console: Console) -> None:
    """Print one row per figure: median and range over the seeds."""
    digits = {"J / J*": 4, "fraction of the gap": 4}
    rows = [
        [name, *(f"{value:.{digits.get(name, 1)}f}" for value in (spread.median, spread.low, spread.high))]
        for name, spread in spreads(curves).items()
    ]
    console.print(terminal_table([f"{len(curves)} seeds", "median", "lowest", "highest"], rows))
