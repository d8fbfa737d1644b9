"""PPO and RecurrentPPO on the native batch: `train` into a run folder, interrupt at any moment, resume exactly."""

import dataclasses
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import LinearSchedule

from agents.callbacks import CheckpointCallback, MarketCallback, ProgressCallback, StopRequest
from agents.checkpoint import Model, load_newest, model_bytes, save_checkpoint
from agents.curve import Curve, CurveCallback, Point
from agents.ppo_config import DEFAULT_CONFIG, PPOConfig, RecurrentConfig
from agents.recurrent import LstmPolicy, lstm_arguments
from agents.run_folder import DivergedError, RunError, RunFolder, write_atomic
from agents.schedules import averaged, schedules
from agents.vec_env import NativeVecEnv
from hftgym import EnvParams

__all__ = [
    "DEFAULT_CONFIG",
    "PPOConfig",
    "RecurrentConfig",
    "RunError",
    "TrainingInterrupted",
    "build_model",
    "check_deployable",
    "make_env",
    "one_thread",
    "train",
]

# What may differ between the parts of one run: neither changes what has been learned so far.
_MAY_CHANGE = (
    *("total_timesteps", "checkpoint_every", "keep_checkpoints", "evaluate_every"),
    *("env_runners", "learners", "gpus_per_learner"),
)


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during training, after everything has been saved.

    Attributes:
        model: Path of the model so far.
        timesteps: Environment steps done.
    """

    def __init__(self, model: Path, timesteps: int) -> None:
        super().__init__(
            f"stopped after {timesteps:,} steps; the model so far is {model}, --resume continues from here"
        )
        self.model, self.timesteps = model, timesteps


def train(
    config: PPOConfig,
    run_dir: Path | str,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    console: Console | None = None,
    on_point: Callable[[Point], None] | None = None,
) -> Path:
    """Train an agent and return the path of its `model.zip`.

    A run that was interrupted or killed and then resumed ends with the weights of one that was not, bit for bit. The
    run keeps SB3's global generators (numpy's and torch's) for itself; torch's thread count is restored.

    Args:
        config: What to train.
        run_dir: The run's folder: config.toml, command.txt, tb/, checkpoints/, model.zip.
        resume: Continue the run in the folder; start one if there is none. A finished run is left as it is.
        overwrite: Replace the run in the folder.
        progress: Show a progress bar, or lines where the console is not a terminal.
        console: Where progress is shown; None is standard error.
        on_point: Told every point of the learning curve, those of before a resume once more; what it raises ends the
            training and comes out of here.

    Raises:
        TrainingInterrupted: Ctrl-C; a checkpoint and model.zip have been written.
        ValueError: The agent could not be exported.
        RunError: The folder holds another run, files cannot be written or read, or the weights became infinite
            (DivergedError).
    """
    check_deployable(config.params)
    folder = RunFolder(Path(run_dir))
    with one_thread():
        model = _resumed(config, folder) if resume and not overwrite else None
        if model is None:
            # Built before the folder is touched: a recipe that cannot be built replaces nothing.
            model = build_model(config, make_env(config))
            if overwrite or not (resume and folder.config.exists()):
                folder.create(overwrite=overwrite)
        elif model.num_timesteps >= config.total_timesteps and folder.model.exists():
            return folder.model
        record(config, folder)
        if model.num_timesteps < config.total_timesteps:
            shown = ProgressCallback(config.total_timesteps, console=console) if progress else None
            try:
                _learn(model, config, folder, shown, on_point)
            except OSError as error:  # TensorBoard's writer, for one
                raise RunError(f"cannot write into {folder.path}: {error.strerror or error}") from error
        _write_model(model, folder)
    return folder.model


def check_deployable(params: EnvParams) -> None:
    """Raise unless what is trained in a market can be exported.

    Raises:
        ValueError: The market's actions have sizes, which a policy file does not.
    """
    if params.sized_actions:
        raise ValueError("params.sized_actions must be false for training: no policy file has order sizes, got True")


def make_env(config: PPOConfig) -> NativeVecEnv:
    """Return the environments of a configuration."""
    return NativeVecEnv(
        config.env_id,
        num_envs=config.num_envs,
        params=config.params,
        seed=config.seed,
        training_reward=config.training_reward,
        stagger=config.stagger,
        normalize_reward=config.normalize_reward,
        may_cross=config.may_cross,
        return_weights=config.return_weights,
    )


def build_model(config: PPOConfig, env: NativeVecEnv, *, schedule: Callable[[float], float] | None = None) -> Model:
    """Return an untrained agent of the configuration's algorithm.

    Args:
        config: The recipe.
        env: Its environments.
        schedule: Learning rate by the share of the budget that is left (1 to 0), instead of the configuration's.
    """
    algorithm, policy, memory = _algorithm(config)
    model = algorithm(
        policy,
        env,
        learning_rate=schedule or LinearSchedule(config.learning_rate, config.final_learning_rate, 1.0),
        n_steps=config.n_steps,
        batch_size=config.batch_size,
        n_epochs=config.n_epochs,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        clip_range=config.clip_range,
        ent_coef=config.ent_coef,
        vf_coef=config.vf_coef,
        max_grad_norm=config.max_grad_norm,
        policy_kwargs={**policy_arguments(config), **memory},
        stats_window_size=config.num_envs,
        seed=config.seed,
        device="cpu",
    )
    if config.normalize_reward:
        start_at_zero(model.policy)
    # An attribute of SB3's model travels inside its file: the export finds the market there.
    model.hftgym_config = config.to_dict()  # pyright: ignore[reportAttributeAccessIssue]
    return model


def policy_arguments(config: PPOConfig) -> dict[str, Any]:
    """Return the arguments of SB3's policy that do not depend on the algorithm."""
    return {
        "net_arch": list(config.net_arch),
        "activation_fn": torch.nn.Tanh,
        "log_std_init": config.log_std_init,
    }


def start_at_zero(policy: Any) -> None:
    """Let the value function of an untrained policy be zero.

    Normalised rewards have the mean zero, and so has the value function: SB3's random start is far from it.
    """
    torch.nn.init.zeros_(policy.value_net.weight)


def _algorithm(config: PPOConfig) -> tuple[type[Any], Any, dict[str, Any]]:
    """Return SB3's algorithm, its policy, and the policy's arguments that only this one has."""
    if isinstance(config, RecurrentConfig):
        return RecurrentPPO, LstmPolicy, lstm_arguments(config)
    return PPO, "MlpPolicy", {}


def _learn(
    model: Model,
    config: PPOConfig,
    folder: RunFolder,
    progress: ProgressCallback | None,
    on_point: Callable[[Point], None] | None,
) -> None:
    """Train to the end of the budget, or until Ctrl-C."""
    env = model.get_env()
    assert isinstance(env, NativeVecEnv)
    stop = StopRequest()

    def save() -> None:
        save_checkpoint(model, folder, keep=config.keep_checkpoints)
        if stop.made:
            _write_model(model, folder)

    checkpoints = CheckpointCallback(save, every=config.checkpoint_every, stop=stop)
    curve = Curve(config, folder.curve, on_point=on_point)
    shown = CurveCallback(curve)
    if progress is not None:
        progress.curve = curve
    # The schedules come first: a checkpoint holds the average up to itself, and a curve's point is of that average.
    before = schedules(config, lambda: model.num_timesteps / config.total_timesteps)
    callbacks = CallbackList([*before, checkpoints, shown, MarketCallback(env), *([progress] if progress else [])])
    model.set_logger(configure(str(folder.tensorboard), ["tensorboard"]))
    # SB3 adds what has been done already.
    left = config.total_timesteps - model.num_timesteps
    try:
        with stop.from_ctrl_c():
            model.learn(left, callback=callbacks, reset_num_timesteps=False)
            if not checkpoints.stopped:
                shown.finish()
            # SB3 writes the figures of an update with the next rollout, which the last one does not have.
            model.logger.dump(model.num_timesteps)
    except ValueError as error:
        raise _explained(error, model) from error
    finally:
        if progress is not None:
            progress.close()
        model.logger.close()
    if checkpoints.stopped:
        raise TrainingInterrupted(folder.model, checkpoints.saved_at)
    save()


def _write_model(model: Model, folder: RunFolder) -> None:
    """Write model.zip: the agent as it is to be used, with its average weights if the recipe averages."""
    with averaged(model):
        write_atomic(folder.model, model_bytes(model))


def _resumed(config: PPOConfig, folder: RunFolder) -> Model | None:
    """Return the model to continue, or None if there is nothing to continue from."""
    if not folder.config.exists():
        return None
    check_same_recipe(config, folder)
    model = load_newest(folder)
    if model is not None:
        model.hftgym_config = config.to_dict()  # pyright: ignore[reportAttributeAccessIssue]
    return model


def check_same_recipe(config: PPOConfig, folder: RunFolder) -> None:
    """Raise RunError unless a run that was started in the folder can go on with this configuration."""
    before = PPOConfig.from_toml(folder.config)
    for name in ("algo", *(field.name for field in dataclasses.fields(before))):
        old, new = getattr(before, name), getattr(config, name, None)
        if old != new and name not in _MAY_CHANGE:
            raise RunError(
                f"{folder.path} was started with {name} = {old!r}, so it cannot be resumed with {new!r}: "
                "choose another name, or --overwrite"
            )


def record(config: PPOConfig, folder: RunFolder) -> None:
    """Write down what runs, for whoever finds the folder later."""
    write_atomic(folder.config, config.to_toml().encode())
    before = folder.command.read_bytes() if folder.command.exists() else b""
    write_atomic(folder.command, before + f"{shlex.join(sys.orig_argv)}\n".encode())


def _explained(error: ValueError, model: Model) -> Exception:
    """Return an error that says what happened if the weights are not finite any more, and `error` otherwise."""
    if all(bool(torch.isfinite(weights).all()) for weights in model.policy.parameters()):
        return error
    return DivergedError(
        f"training diverged before step {model.num_timesteps:,}: a weight is not finite; "
        "lower learning_rate or max_grad_norm"
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread: for nets of this size more only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
