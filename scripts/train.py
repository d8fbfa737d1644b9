"""Train a PPO or RecurrentPPO agent on the native batch of markets, into runs/<name>.

python scripts/train.py --name first

python scripts/train.py --name wide --params.spread 0.001 --seed 3

python scripts/train.py --name lstm --config agents/configs/alpha_lstm.toml   (the file names the algorithm)

python scripts/train.py --name first --resume   (after Ctrl-C or a crash: continues exactly where it was)

tensorboard --logdir runs   (rollout/ep_rew_mean, mm/pnl, mm/inventory_abs, ...)
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, TypeVar

import tyro
from gymnasium.error import Error as GymError

from agents.ppo import DEFAULT_CONFIG, PPOConfig, RunError, TrainingInterrupted, train


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Which run.

    Attributes:
        name: The run's folder is <runs>/<name>; it gets config.toml, command.txt, tb/, checkpoints/, model.zip.
        runs: Folder of all runs.
        config: TOML file with the defaults of everything below; a resumed run brings its own.
        resume: Continue the run of this name (and start it if there is none).
        overwrite: Replace the run of this name.
    """

    name: str = "ppo"
    runs: Path = Path("runs")
    config: Path = DEFAULT_CONFIG
    resume: bool = False
    overwrite: bool = False


Config = TypeVar("Config", bound=PPOConfig)


@dataclass(frozen=True, kw_only=True)
class Arguments(Generic[Config]):
    """All that can be said on the command line, whatever the class of the configuration."""

    launch: Annotated[Launch, tyro.conf.arg(name="")]
    ppo: Annotated[Config, tyro.conf.arg(name="")]


def main() -> int:
    # The file of the defaults comes first: help and errors speak of its values.
    plain = [word for word in sys.argv[1:] if word not in ("-h", "--help")]
    launch, _ = tyro.cli(Launch, args=plain, return_unknown_args=True)
    if launch.name != Path(launch.name).name or launch.name in ("", ".", ".."):
        print(f"error: --name must be the name of a folder in --runs, got {launch.name!r}", file=sys.stderr)
        return 1
    folder, own = launch.runs / launch.name, launch.runs / launch.name / "config.toml"
    try:
        defaults = PPOConfig.from_toml(own if launch.resume and own.exists() else launch.config)
        everything = Arguments[type(defaults)]
        arguments = tyro.cli(everything, default=Arguments(launch=launch, ppo=defaults), description=__doc__)
        model = train(arguments.ppo, folder, resume=launch.resume, overwrite=launch.overwrite)
    except KeyboardInterrupt as stop:
        print(stop if isinstance(stop, TrainingInterrupted) else "interrupted; see --resume", file=sys.stderr)
        return 130
    except (RunError, ValueError, TypeError, OSError, GymError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"trained: {model}\nnext: python scripts/export.py {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
