"""`train` through RLlib into a run folder: interrupt or kill at any moment, resume from the last checkpoint."""

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import torch
from ray.rllib.algorithms.ppo import PPO
from rich.console import Console

from agents.callbacks import StopRequest
from agents.curve import Curve
from agents.ppo import TrainingInterrupted, check_deployable, check_same_recipe, one_thread, record
from agents.ppo_config import RLlibConfig
from agents.rllib.algorithm import build_algorithm
from agents.rllib.checkpoint import Progress, load_newest, save_checkpoint
from agents.rllib.handover import agent_bytes, stable_agent, weights_of
from agents.run_folder import RunError, RunFolder, write_atomic
from agents.schedules import Weights

_LINE_EVERY_S = 5.0


def train(
    config: RLlibConfig,
    run_dir: Path | str,
    *,
    resume: bool = False,
    overwrite: bool = False,
    console: Console | None = None,
) -> Path:
    """Train an agent on the Ray cluster that this process is connected to, and return the path of its `model.zip`.

    The file is an agent of Stable-Baselines3: `agents.export` and everything else take it as they take any other.

    Args:
        config: What to train.
        run_dir: The run's folder: config.toml, command.txt, checkpoints/, curve.csv, model.zip.
        resume: Continue the run in the folder from its last checkpoint; start one if there is none. A finished run is
            left as it is.
        overwrite: Replace the run in the folder.
        console: Where progress is shown; None is standard error.

    Raises:
        TrainingInterrupted: Ctrl-C; a checkpoint and model.zip have been written.
        ValueError: The agent could not be exported.
        RunError: No cluster, the folder holds another run, files cannot be written or read, the cluster has too few
            CPUs or GPUs, or the weights became infinite.
    """
    check_deployable(config.params)
    if not ray.is_initialized():
        raise RunError("connect to a Ray cluster before training through RLlib: ray.init(address=...)")
    _check_resources(config)
    folder = RunFolder(Path(run_dir))
    with one_thread(), _started(config, folder, resume=resume and not overwrite, overwrite=overwrite) as run:
        if not (run.timesteps >= config.total_timesteps and folder.model.exists()):
            _Training(config, folder, run, console or Console(file=sys.stderr)).go()
    return folder.model


@contextmanager
def _started(config: RLlibConfig, folder: RunFolder, *, resume: bool, overwrite: bool) -> Iterator[Progress]:
    """Start or continue the run of a folder; its processes end with the block."""
    continuing = resume and folder.config.exists()
    if continuing:
        check_same_recipe(config, folder)
    run = (load_newest(config, folder) if continuing else None) or Progress(algorithm=build_algorithm(config))
    try:
        # Built before the folder is touched: a recipe that cannot be built replaces nothing.
        if not continuing:
            folder.create(overwrite=overwrite)
        record(config, folder)
        yield run
    finally:
        run.algorithm.stop()


class _Training:
    """The loop over RLlib's iterations."""

    def __init__(self, config: RLlibConfig, folder: RunFolder, run: Progress, console: Console) -> None:
        self._config, self._folder, self._run, self._console = config, folder, run, console
        self._agent = stable_agent(config)
        self._curve = Curve(config, folder.curve, clock=lambda: cpu_seconds(run.algorithm))
        self._saved_at = self._first = run.timesteps
        self._began_s = self._line_s = time.perf_counter()

    def go(self) -> None:
        """Train to the end of the budget, or until Ctrl-C."""
        run, stop = self._run, StopRequest()
        self._curve.begin(run.timesteps)
        with stop.from_ctrl_c():
            while run.timesteps < self._config.total_timesteps and not stop.made:
                self._iterate()
        self._save()
        write_atomic(self._folder.model, agent_bytes(self._agent, self._config, self._deployed(), run.timesteps))
        if stop.made:
            raise TrainingInterrupted(self._folder.model, run.timesteps)
        self._agent.policy.load_state_dict(self._deployed())
        self._curve.finish(self._agent, run.timesteps)
        self._say()

    def _iterate(self) -> None:
        """Run one rollout and its update, and what is due after them."""
        run, config = self._run, self._config
        result = run.algorithm.train()
        run.timesteps = int(result["env_runners"]["num_env_steps_sampled_lifetime"])
        weights = weights_of(run.algorithm)
        if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
            raise RunError(
                f"training diverged before step {run.timesteps:,}: a weight is not finite; "
                "lower learning_rate or max_grad_norm"
            )
        if config.averaging:
            run.average.take(weights, run.timesteps, config.averaging)
        if self._curve.due(run.timesteps):
            self._agent.policy.load_state_dict(self._deployed())
            self._curve.add(self._agent, run.timesteps)
        if run.timesteps - self._saved_at >= config.checkpoint_every:
            self._save()
        if time.perf_counter() - self._line_s >= _LINE_EVERY_S:
            self._say()

    def _deployed(self) -> Weights:
        """Return the weights as they are to be used."""
        return self._run.average.weights or weights_of(self._run.algorithm)

    def _save(self) -> None:
        save_checkpoint(self._run, self._folder, keep=self._config.keep_checkpoints)
        self._saved_at = self._run.timesteps

    def _say(self) -> None:
        """Print a line of progress."""
        self._line_s = time.perf_counter()
        done, total = self._run.timesteps, self._config.total_timesteps
        rate = (done - self._first) / max(self._line_s - self._began_s, 1e-9)
        worth = f", J/J* {self._curve.points[-1].share:.4f}" if self._curve.points else ""
        left = math.ceil(max(total - done, 0) / max(rate, 1e-9))
        self._console.print(
            f"{done:,} of {total:,} steps, {rate / 1e3:,.0f}k steps/s, {left} s left{worth}",
            highlight=False,
            soft_wrap=True,
        )


def cpu_seconds(algorithm: PPO) -> float:
    """Return the CPU seconds of the training process, the environment runners and the learners so far."""
    runners: Any = algorithm.env_runner_group
    learners: Any = algorithm.learner_group
    seconds = [time.process_time()]
    seconds += runners.foreach_env_runner(lambda _: time.process_time(), local_env_runner=False)
    if learners.is_remote:
        seconds += [result.get() for result in learners.foreach_learner(lambda _: time.process_time())]
    return sum(seconds)


def _check_resources(config: RLlibConfig) -> None:
    """Raise unless the cluster can hold all processes of a run: Ray would wait for ever.

    Raises:
        RunError: It cannot; the message says what is missing.
    """
    there = ray.cluster_resources()
    # RLlib gives a learner with a GPU no CPU of its own.
    cpus = config.env_runners + (0 if config.gpus_per_learner else config.learners)
    needed = {"CPU": cpus, "GPU": config.learners * config.gpus_per_learner}
    for name, amount in needed.items():
        if amount > there.get(name, 0.0):
            raise RunError(
                f"{config.env_runners} env_runners and {config.learners} learners need {amount:g} {name}, the cluster "
                f"has {there.get(name, 0.0):g}"
            )
