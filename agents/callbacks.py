"""What happens around a training run: checkpoints, Ctrl-C, market figures for TensorBoard, progress."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from stable_baselines3.common.callbacks import BaseCallback

from agents.curve import Curve
from agents.vec_env import NativeVecEnv

_LINE_EVERY_S = 5.0


class StopRequest:
    """A wish to stop at the next safe point. The first Ctrl-C makes one, a second interrupts at once."""

    def __init__(self) -> None:
        self.made = False

    @contextmanager
    def from_ctrl_c(self) -> Iterator[None]:
        """Turn SIGINT into a request while the block runs; does nothing outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def note(_signal: int, _frame: Any) -> None:
            self.made = True
            signal.signal(signal.SIGINT, before)

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


class CheckpointCallback(BaseCallback):
    """Save between two rollouts, where weights, optimiser, environments and generators fit together.

    Args:
        save: Writes a checkpoint.
        every: Environment steps between checkpoints.
        stop: When made, a last checkpoint is saved and training ends.

    Attributes:
        saved_at: Environment steps at the last checkpoint.
        stopped: Training has ended because of `stop`.
    """

    def __init__(self, save: Callable[[], object], *, every: int, stop: StopRequest) -> None:
        super().__init__()
        self._save, self._every, self._stop = save, every, stop
        self.saved_at = 0
        self.stopped = False

    def _on_training_start(self) -> None:
        self.saved_at = self.num_timesteps

    def _on_rollout_start(self) -> None:
        if self._stop.made or self.num_timesteps - self.saved_at >= self._every:
            self._save()
            self.saved_at = self.num_timesteps
            self.stopped = self._stop.made

    def _on_step(self) -> bool:
        # SB3 can be stopped here only: one step into a rollout that is then thrown away.
        return not self.stopped


class MarketCallback(BaseCallback):
    """Log what the market paid during each rollout, under `mm/`: money per episode, fills and inventory per tick."""

    def __init__(self, env: NativeVecEnv) -> None:
        super().__init__()
        self._env = env

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        totals = self._env.take_totals()
        for name in ("pnl", "spread_capture", "inventory_pnl", "fees"):
            self.logger.record(f"mm/{name}", totals[name] * self._env.params.horizon)
        self.logger.record("mm/inventory_abs", totals["inventory_abs"])
        self.logger.record("mm/fill_rate", totals["fills"])


class ProgressCallback(BaseCallback):
    """Show steps, steps/s, time left and how good the policy is: a bar, or lines if not a terminal.

    Args:
        total: Environment steps of the whole run, those before a resume included.
        console: Where to write; None is standard error.

    Attributes:
        curve: Where the fraction of the optimum is read from; None shows the mean reward of the last episodes alone.
    """

    def __init__(self, total: int, *, console: Console | None = None) -> None:
        super().__init__()
        self.curve: Curve | None = None
        self._total = total
        self._console = console or Console(file=sys.stderr)
        self._bar: Progress | None = None
        self._task: Any = None
        self._first = 0
        self._began_s = self._line_s = 0.0

    def _on_training_start(self) -> None:
        self._first = self.num_timesteps
        self._began_s = self._line_s = time.perf_counter()
        if self._console.is_terminal:
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
            self._bar = Progress(
                TextColumn("training"), *columns, TextColumn("{task.fields[reward]}"), console=self._console
            )
            self._task = self._bar.add_task("", total=self._total, completed=self._first, rate="", reward="")
            self._bar.start()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        now = time.perf_counter()
        rate = (self.num_timesteps - self._first) / max(now - self._began_s, 1e-9)
        speed, reward = f"{rate / 1e3:,.0f}k steps/s", f"{self._reward()}{self._fraction()}"
        if self._bar is not None:
            done = min(self.num_timesteps, self._total)
            self._bar.update(self._task, completed=done, rate=speed, reward=reward)
        elif now - self._line_s >= _LINE_EVERY_S:
            self._line_s = now
            left = max(self._total - self.num_timesteps, 0) / rate
            self._console.print(
                f"{self.num_timesteps:,} of {self._total:,} steps, {speed}, {left:.0f} s left, {reward}",
                highlight=False,
                soft_wrap=True,
            )

    def close(self) -> None:
        """Leave the terminal as it was; harmless when repeated, and after an error."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _reward(self) -> str:
        episodes = self.model.ep_info_buffer or ()
        if not episodes:
            return "no episode yet"
        return f"reward {np.mean([episode['r'] for episode in episodes]):.2f}"

    def _fraction(self) -> str:
        """Return where the greedy policy is between the best constant quote (0 %) and the optimum (100 %)."""
        if self.curve is None:
            return ""
        if self.curve.truth is None:
            return ", optimum unknown"
        return f", {self.curve.points[-1].fraction:.1%} of the way to the optimum" if self.curve.points else ""
