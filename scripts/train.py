"""Train a PPO or RecurrentPPO agent on the native batch of markets, into runs/<name>.

python scripts/train.py --name first

python scripts/train.py --name wide --params.spread 0.001 --seed 3

python scripts/train.py --name lstm --config agents/configs/alpha_lstm.toml   (the file names the algorithm)

python scripts/train.py --name cj --config agents/configs/cj.toml --seeds 0 1 2 3 4   (into runs/cj/seed_0 and so on)

python scripts/train.py --name btc --market runs/calibration/params.json   (calibrated by scripts/calibrate.py)

python scripts/train.py --name first --resume   (after Ctrl-C or a crash: continues exactly where it was)

tensorboard --logdir runs   (rollout/ep_rew_mean, mm/fraction, mm/pnl, mm/inventory_abs, ...)
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Generic, TypeVar

import tyro
from gymnasium.error import Error as GymError
from rich.console import Console

from agents.curve import truth_of
from agents.curve_plot import draw_curves
from agents.ppo import DEFAULT_CONFIG, PPOConfig, RunError, TrainingInterrupted, train
from agents.seeds import curves_of, print_seeds, train_seeds
from hftgym.presets import named_market


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Which run.

    Attributes:
        name: The run's folder is <runs>/<name>; it gets config.toml, command.txt, tb/, checkpoints/, curve.csv,
            curve.png, model.zip.
        runs: Folder of all runs.
        config: TOML file with the defaults of everything below; a resumed run brings its own.
        market: A market in place of the configuration's: a preset, or a .json or .toml file of EnvParams
            (scripts/calibrate.py writes one).
        seeds: Train once under each of these, into <runs>/<name>/seed_<k>; a table and curve.png compare them.
        resume: Continue the run of this name (and start it if there is none).
        overwrite: Replace the run of this name.
    """

    name: str = "ppo"
    runs: Path = Path("runs")
    config: Path = DEFAULT_CONFIG
    market: str = ""
    seeds: tuple[int, ...] = ()
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
    folder = launch.runs / launch.name
    own = (folder / f"seed_{launch.seeds[0]}" if launch.seeds else folder) / "config.toml"
    try:
        defaults = recipe(own if launch.resume and own.exists() else launch.config, launch.market)
        everything = Arguments[type(defaults)]
        arguments = tyro.cli(everything, default=Arguments(launch=launch, ppo=defaults), description=__doc__)
        trained = _train(arguments.ppo, folder, launch)
    except KeyboardInterrupt as stop:
        print(stop if isinstance(stop, TrainingInterrupted) else "interrupted; see --resume", file=sys.stderr)
        return 130
    except (RunError, ValueError, TypeError, OSError, GymError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"trained: {trained}\nnext: python scripts/export.py {trained.parent}")
    return 0


def recipe(config: Path, market: str) -> PPOConfig:
    """Return the configuration in a file, with another market if one is named."""
    found = PPOConfig.from_toml(config)
    return replace(found, params=named_market(market)) if market else found


def _train(config: PPOConfig, folder: Path, launch: Launch) -> Path:
    """Train once or under every seed, draw the curves, and return the path of the first model."""
    resume, overwrite = launch.resume, launch.overwrite
    if launch.seeds:
        models = train_seeds(config, folder, launch.seeds, resume=resume, overwrite=overwrite)
    else:
        models = {config.seed: train(config, folder, resume=resume, overwrite=overwrite)}
    curves = curves_of(models)
    truth = truth_of(config)
    if curves and truth is not None:
        if launch.seeds:
            print_seeds(curves, console=Console())
        title = f"{config.algo} on {config.env_id}"
        print(f"curves: {draw_curves(folder / 'curve.png', curves, truth, title=title)}")
    return next(iter(models.values()))


if __name__ == "__main__":
    sys.exit(main())
