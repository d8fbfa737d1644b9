"""The learning curve of a run: the exact worth of the greedy policy as training goes on, in `curve.csv`."""

import csv
import functools
import io
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback

from agents.ppo_config import PPOConfig, RecurrentConfig
from agents.run_folder import RunError, write_atomic
from agents.schedules import averaged
from hftgym import EnvParams
from hftgym.evaluation import Exact, exact
from hftgym.exact_value import PricePaths, paths_for
from hftgym.rollout import Predicts

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


class Curve:
    """The learning curve of a run under way; it grows in curve.csv.

    Args:
        config: The run's.
        path: Of curve.csv; a resumed run goes on with what it holds up to where the run is.
        clock: Returns the CPU seconds of everything that trains.
        on_point: Told every point of the curve, those of before a resume once more; an exception ends the training.

    Attributes:
        truth: What is known of the market; None where the optimum is not known, and nothing is evaluated then.
        points: The curve so far.
    """

    def __init__(
        self,
        config: PPOConfig,
        path: Path,
        *,
        clock: Callable[[], float] = time.process_time,
        on_point: Callable[[Point], None] | None = None,
    ) -> None:
        self._config, self._path, self._clock, self._on_point = config, path, clock, on_point
        self.truth = truth_of(config)
        self.points: list[Point] = []
        self._paths: PricePaths | None = None
        self._next = 0
        self._before_s = self._began_s = self._away_s = 0.0

    @property
    def training_s(self) -> float:
        """CPU seconds of training so far, evaluations not counted."""
        return self._before_s + self._clock() - self._began_s - self._away_s

    def begin(self, timesteps: int) -> None:
        """Go on from `timesteps`; training starts now."""
        self.points = [point for point in read_curve(self._path) if point.timesteps <= timesteps]
        self._before_s = self.points[-1].cpu_s if self.points else 0.0
        self._next = (self.points[-1].timesteps if self.points else 0) + self._config.evaluate_every
        self._paths = self._drawn(_TICKS_DURING) if self.truth else None
        self._began_s = self._clock()
        self._tell(self.points)

    def due(self, timesteps: int) -> bool:
        """Return whether it is time for the next point, and not yet for the last one."""
        return self._next <= timesteps < self._config.total_timesteps

    def finish(self, policy: Predicts, timesteps: int) -> Point | None:
        """Add the last point, on more paths, and return it."""
        began = self._clock()
        self._paths = self._drawn(_TICKS_AT_END) if self.truth else None
        self._away_s += self._clock() - began
        self.points = [point for point in self.points if point.timesteps < timesteps]
        return self.add(policy, timesteps)

    def add(self, policy: Predicts, timesteps: int) -> Point | None:
        """Evaluate a policy, add the point and return it; None where the optimum is not known."""
        seconds, began = self.training_s, self._clock()
        self._next = timesteps + self._config.evaluate_every
        if self._paths is None or self.truth is None:
            return None
        j, error = self._paths.value(policy)
        optimum, constant = self.truth
        fraction = (j - constant) / (optimum - constant) if optimum > constant else float("nan")
        self.points.append(Point(timesteps, seconds, j, error, j / optimum, fraction))
        write_curve(self._path, self.points)
        self._away_s += self._clock() - began
        self._tell(self.points[-1:])
        return self.points[-1]

    def _tell(self, points: list[Point]) -> None:
        if self._on_point is not None:
            for point in points:
                self._on_point(point)

    def _drawn(self, ticks: int) -> PricePaths | None:
        return paths_for(self._config.params, ticks=ticks, env_id=self._config.env_id, seed=_FIRST_SEED)


class CurveCallback(BaseCallback):
    """Keep a run's curve while SB3 trains, of its average weights if it has any; log `mm/j` and `mm/fraction`."""

    def __init__(self, curve: Curve) -> None:
        super().__init__()
        self._curve = curve

    def _on_training_start(self) -> None:
        self._curve.begin(self.num_timesteps)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self._curve.due(self.num_timesteps):
            self._evaluate(self._curve.add)

    def finish(self) -> None:
        """Evaluate once more, on more paths; after the last update."""
        self._evaluate(self._curve.finish)

    def _evaluate(self, evaluate: Callable[[Predicts, int], Point | None]) -> None:
        with averaged(self.model) as model:  # pyright: ignore[reportArgumentType]
            point = evaluate(model, self.model.num_timesteps)
        if point is not None:
            self.logger.record("mm/j", point.j)
            self.logger.record("mm/fraction", point.fraction)


def truth_of(config: PPOConfig) -> Exact | None:
    """Return what a policy without memory can be held against, None if nothing is known."""
    if isinstance(config, RecurrentConfig) or config.return_weights or not config.params.is_martingale:
        return None
    return _exact(config.params)


@functools.cache
def _exact(params: EnvParams) -> Exact | None:
    return exact(params)
