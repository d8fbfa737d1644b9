"""The learning curve of a run: the exact worth of the greedy policy as training goes on, in `curve.csv`."""

import csv
import functools
import io
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback

from agents.ppo_config import PPOConfig
from agents.run_folder import RunError, write_atomic
from agents.schedules import averaged
from hftgym import EnvParams
from hftgym.evaluation import Exact, exact
from hftgym.exact_value import PricePaths, paths_for

# Paths that no training environment and no evaluation sees.
_FIRST_SEED = 2**34
_TICKS_DURING, _TICKS_AT_END = 2_000, 32_000


@dataclass(frozen=True, slots=True)
class Point:
    """One evaluation.

    Attributes:
        timesteps: Environment steps done.
        cpu_s: CPU seconds of training so far, evaluations not counted.
        j: J of the greedy policy, quote currency per episode.
        j_error: Its standard error.
        share: J / J*.
        fraction: (J - J_const) / (J* - J_const).
    """

    timesteps: int
    cpu_s: float
    j: float
    j_error: float
    share: float
    fraction: float


def read_curve(path: Path) -> list[Point]:
    """Return the points of a curve.csv, none if there is no file.

    Raises:
        RunError: The file is not a curve.
    """
    if not path.exists():
        return []
    try:
        rows = list(csv.reader(path.read_text().splitlines()))
        assert rows[0] == [field.name for field in fields(Point)]
        return [Point(int(steps), *map(float, rest)) for steps, *rest in rows[1:]]
    except (AssertionError, ValueError, TypeError, IndexError) as error:
        raise RunError(f"{path} is not a learning curve: delete it, the run goes on without its past") from error


def write_curve(path: Path, points: list[Point]) -> None:
    """Write a curve.csv, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Point))
    writer.writerows([point.timesteps, *(f"{value:.6g}" for value in astuple(point)[1:])] for point in points)
    write_atomic(path, text.getvalue().encode())


class CurveCallback(BaseCallback):
    """Evaluate the greedy policy every so often, log `mm/j` and `mm/fraction`, and keep curve.csv.

    Args:
        config: The run's.
        path: Of curve.csv; a resumed run goes on with what it holds up to where the run is.
        on_point: Told every point of the curve, those of before a resume once more; an exception ends the training.

    Attributes:
        truth: What is known of the market; None where the optimum is not known, and nothing is evaluated then.
        points: The curve so far.
        training_s: CPU seconds of training so far.
    """

    def __init__(self, config: PPOConfig, path: Path, *, on_point: Callable[[Point], None] | None = None) -> None:
        super().__init__()
        self._config, self._path, self._on_point = config, path, on_point
        self.truth = truth_of(config)
        self.points: list[Point] = []
        self._paths: PricePaths | None = None
        self._next = 0
        self._before_s = self._began_s = self._away_s = 0.0

    @property
    def training_s(self) -> float:
        """CPU seconds of training so far, evaluations not counted."""
        return self._before_s + time.process_time() - self._began_s - self._away_s

    def _on_training_start(self) -> None:
        self.points = [point for point in read_curve(self._path) if point.timesteps <= self.num_timesteps]
        self._before_s = self.points[-1].cpu_s if self.points else 0.0
        self._next = (self.points[-1].timesteps if self.points else 0) + self._config.evaluate_every
        self._paths = self._drawn(_TICKS_DURING) if self.truth else None
        self._began_s = time.process_time()
        self._tell(self.points)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self._next and self.num_timesteps < self._config.total_timesteps:
            self._evaluate()

    def finish(self) -> None:
        """Evaluate once more, on more paths; after the last update."""
        began = time.process_time()
        self._paths = self._drawn(_TICKS_AT_END) if self.truth else None
        self._away_s += time.process_time() - began
        self.points = [point for point in self.points if point.timesteps < self.model.num_timesteps]
        self._evaluate()

    def _drawn(self, ticks: int) -> PricePaths | None:
        return paths_for(self._config.params, ticks=ticks, env_id=self._config.env_id, seed=_FIRST_SEED)

    def _evaluate(self) -> None:
        seconds, began = self.training_s, time.process_time()
        self._next = self.model.num_timesteps + self._config.evaluate_every
        if self._paths is not None and self.truth is not None:
            with averaged(self.model) as model:  # pyright: ignore[reportArgumentType]
                j, error = self._paths.value(model)
            optimum, constant = self.truth
            fraction = (j - constant) / (optimum - constant) if optimum > constant else float("nan")
            self.points.append(Point(self.model.num_timesteps, seconds, j, error, j / optimum, fraction))
            self.logger.record("mm/j", j)
            self.logger.record("mm/fraction", fraction)
            write_curve(self._path, self.points)
            self._tell(self.points[-1:])
        self._away_s += time.process_time() - began

    def _tell(self, points: list[Point]) -> None:
        if self._on_point is not None:
            for point in points:
                self._on_point(point)


def truth_of(config: PPOConfig) -> Exact | None:
    """Return what a policy without memory can be held against, None if nothing is known."""
    if config.algo != "PPO" or config.return_weights or not config.params.is_martingale:
        return None
    return _exact(config.params)


@functools.cache
def _exact(params: EnvParams) -> Exact | None:
    return exact(params)
