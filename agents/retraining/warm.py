"""A training that starts from the weights of an earlier agent."""

import shutil
from pathlib import Path

import torch

from agents.checkpoint import save_checkpoint
from agents.ppo import PPOConfig, build_model, make_env, one_thread
from agents.run_folder import RunFolder, write_atomic


def prepare_warm(config: PPOConfig, training: RunFolder, source: Path) -> str:
    """Make a run's folder whose step 0 has the weights of another agent, and return what was done, in words.

    The exploration starts as wide as a fresh agent's (an old one's has collapsed, and would learn nothing new), the
    optimiser afresh. Without usable weights nothing is prepared: the training then starts from random ones.

    Args:
        config: Of the training to come.
        training: Its folder, without a run so far.
        source: The Stable-Baselines3 file of the other agent.

    Raises:
        RunError: The folder cannot be written.
    """
    if not source.is_file():
        return f"no warm start: there is no {source}"
    with one_thread():
        model = build_model(config, make_env(config))
        try:
            weights = type(model).load(source, device="cpu").policy.state_dict()
            model.policy.load_state_dict(weights)
        except Exception as error:  # a damaged pickle can raise anything, other layers a RuntimeError
            return f"no warm start: the weights in {source} do not fit ({type(error).__name__})"
        model.policy.log_std.data.fill_(config.log_std_init)
        if not all(bool(torch.isfinite(part).all()) for part in model.policy.parameters()):
            return f"no warm start: a weight in {source} is not finite"
        shutil.rmtree(training.path, ignore_errors=True)
        training.create(overwrite=False)
        save_checkpoint(model, training, keep=config.keep_checkpoints)
    # Last: a folder with a configuration counts as begun.
    write_atomic(training.config, config.to_toml().encode())
    return f"warm start from {source}"
