"""Train a PPO agent through RLlib, on this machine or on a Ray cluster, into runs/<name>.

python scripts/train_rllib.py --name cj                               (MarketMakingCJ-v0, to 0.99 of the optimum)

python scripts/train_rllib.py --name two --workers 2                  (two more processes step the environments)

python scripts/train_rllib.py --name far --workers 64 --num-envs 8192 --address 10.0.0.5:6379   (on a Ray cluster)

python scripts/train_rllib.py --name mm --config agents/configs/ppo.toml   (any PPO recipe of scripts/train.py)

python scripts/train_rllib.py --name alpha --env MarketMakingAlpha-v0      (an id, with its market)

python scripts/train_rllib.py --name cj --resume   (after Ctrl-C or a crash: from the last checkpoint, on new episodes)

python scripts/export.py runs/cj      (model.zip is an agent of Stable-Baselines3, like those of scripts/train.py)

On one machine scripts/train.py learns more per second, and repeats itself bit for bit. This is for what one machine
cannot do: environments in many processes, learners on many GPUs.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import gymnasium as gym
import tyro
from gymnasium.error import Error as GymError

from agents.curve import truth_of
from agents.curve_plot import draw_curves
from agents.ppo import DEFAULT_CONFIG, PPOConfig, RunError, TrainingInterrupted
from agents.ppo_config import RLlibConfig
from agents.seeds import curves_of
from hftgym import EnvParams
from hftgym.presets import named_market
from scripts.ray_cluster import connected

_DEFAULT = DEFAULT_CONFIG.with_name("cj_rllib.toml")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Which run, and where.

    Attributes:
        name: The run's folder is <runs>/<name>; it gets config.toml, command.txt, checkpoints/, curve.csv, curve.png,
            model.zip.
        runs: Folder of all runs.
        config: TOML file with the defaults of everything below, of RLlibPPO or PPO; a resumed run brings its own.
        env: An id of hftgym, with its market, in place of the configuration's.
        market: A market in place of the configuration's: a preset, or a .json or .toml file of EnvParams.
        workers: Processes that step environments, in place of the configuration's env_runners.
        address: host:port of a Ray cluster's head; by default this machine alone, listening on 127.0.0.1.
        resume: Continue the run of this name (and start it if there is none).
        overwrite: Replace the run of this name.
    """

    name: str = "rllib"
    runs: Path = Path("runs")
    config: Path = _DEFAULT
    env: str = ""
    market: str = ""
    workers: int | None = None
    address: str | None = None
    resume: bool = False
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """All that can be said on the command line."""

    launch: Annotated[Launch, tyro.conf.arg(name="")]
    ppo: Annotated[RLlibConfig, tyro.conf.arg(name="")]


def main() -> int:
    # The file of the defaults comes first: help and errors speak of its values.
    plain = [word for word in sys.argv[1:] if word not in ("-h", "--help")]
    launch, _ = tyro.cli(Launch, args=plain, return_unknown_args=True)
    if launch.name != Path(launch.name).name or launch.name in ("", ".", ".."):
        print(f"error: --name must be the name of a folder in --runs, got {launch.name!r}", file=sys.stderr)
        return 1
    folder = launch.runs / launch.name
    try:
        default = Arguments(launch=launch, ppo=defaults(launch, folder))
        arguments = tyro.cli(Arguments, default=default, description=__doc__)
        trained = _train(arguments.ppo, folder, launch)
    except KeyboardInterrupt as stop:
        print(stop if isinstance(stop, TrainingInterrupted) else "interrupted; see --resume", file=sys.stderr)
        return 130
    except (RunError, RuntimeError, ImportError, ValueError, TypeError, OSError, GymError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"trained: {trained}\nnext: python scripts/export.py {trained.parent}")
    return 0


def defaults(launch: Launch, folder: Path) -> RLlibConfig:
    """Return the configuration that the command line changes: the run's own, or the file's with what `launch` asks for.

    Raises:
        ValueError: A file is no configuration of PPO, or there is no such id or market.
    """
    own = folder / "config.toml"
    values = PPOConfig.from_toml(own if launch.resume and own.exists() else launch.config).to_dict()
    if values["algo"] not in (PPOConfig.algo, RLlibConfig.algo):
        raise ValueError(f"{launch.config} is of {values['algo']}, which RLlib's PPO cannot train")
    config = RLlibConfig.from_dict(values | {"algo": RLlibConfig.algo})
    if launch.env:
        params = EnvParams.from_dict(gym.spec(f"hftgym:{launch.env}").kwargs.get("params", {}))
        reward = config.training_reward if params.is_martingale else "raw"
        config = replace(config, env_id=launch.env, params=params, training_reward=reward)
    if launch.market:
        config = replace(config, params=named_market(launch.market))
    return config if launch.workers is None else replace(config, env_runners=launch.workers)


def _train(config: RLlibConfig, folder: Path, launch: Launch) -> Path:
    """Train, draw the curve, and return the path of the model."""
    with connected(launch.address, cpus=config.env_runners + config.learners):
        # Not before: Ray reads its environment when it is imported.
        try:
            from agents.rllib.train import train
        except ImportError as error:
            wanted = "make test-rllib makes an environment for it, .venv-rllib"
            raise ImportError(f"RLlib is not installed here ({error}): {wanted}") from error
        trained = train(config, folder, resume=launch.resume, overwrite=launch.overwrite)
    curves, truth = curves_of({config.seed: trained}), truth_of(config)
    if curves and truth is not None:
        title = f"{config.algo} on {config.env_id}"
        print(f"curve: {draw_curves(folder / 'curve.png', curves, truth, title=title)}")
    return trained


if __name__ == "__main__":
    sys.exit(main())
