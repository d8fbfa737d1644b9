"""Retrain weekly, by one command that may be repeated, killed and forgotten.

python scripts/retrain.py run --folder runs/btc --market market.toml   (train, compare, promote or keep)

python scripts/retrain.py run --folder runs/btc --tape capture.gz --dry-run   (only say what would be done)

python scripts/retrain.py status --folder runs/btc   (the history as a table)

python scripts/retrain.py rollback --folder runs/btc   (the champion before the present one, byte for byte)

python scripts/retrain.py demo   (the market changes: the old champion fails, the retrained one recovers)

A live process opens FOLDER/champion.onnx, at any moment. Exit codes: 0 done (the last line says promoted or kept), 1
error (the champion is untouched), 2 misuse, 3 nothing to do (this week is done, or another process is at work), 130
interrupted. What cron and systemd need is in docs/retraining.md.
"""

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import tyro
from gymnasium.error import Error as GymError

from agents.retraining.folder import BusyError, ChampionFolder
from agents.retraining.record import Period
from agents.retraining.restore import roll_back
from agents.retraining.table import print_history

DONE, ERROR, NOTHING_TO_DO, INTERRUPTED = 0, 1, 3, 130


@dataclass(frozen=True, kw_only=True)
class Run:
    """Train a challenger and promote it if it is better than the champion. Once per period; the rest does nothing.

    Attributes:
        folder: Where the champion and its history are.
        market: A preset of hftgym.PRESETS, or a .json or .toml file of EnvParams; the configuration's market if empty.
        tape: Recorded ticks: price, spread and volatility are measured on their first 70 % (the order flow stays the
            market's), the last 30 % have a veto in the comparison.
        config: TOML file: how to train.
        episodes: Held-out episodes of the comparison.
        level: Probability of promoting a challenger that is no better (per comparison: 0.01 is once in two years of
            weeks).
        period: How often a training is due, counted in UTC.
        warm_start: Start from the champion's weights instead of random ones.
        force: Train although it has been done in this period.
        dry_run: Say what would be done, and change nothing.
    """

    folder: Path = Path("runs/champion")
    market: str = ""
    tape: Path | None = None
    config: Path = Path(__file__).parents[1] / "agents" / "configs" / "ppo.toml"
    episodes: int = 4_000
    level: float = 0.01
    period: Period = "week"
    warm_start: bool = False
    force: bool = False
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class Status:
    """Show the history.

    Attributes:
        folder: Where the champion and its history are.
    """

    folder: Path = Path("runs/champion")


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """Put an earlier champion back, byte for byte.

    Attributes:
        folder: Where the champion and its history are.
        to: Number of its entry in the history; by default the champion before the present one.
    """

    folder: Path = Path("runs/champion")
    to: int | None = None


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Show a change of regime: the champion of one market in another one, and its retrained successor.

    Attributes:
        out: Folder of the report, the picture and the champion.
        timesteps: Training budget of each agent, in environment steps; the configuration's if None.
    """

    out: Path = Path("runs/regime_change")
    timesteps: int | None = None


Command = (
    Annotated[Run, tyro.conf.subcommand("run")]
    | Annotated[Status, tyro.conf.subcommand("status")]
    | Annotated[Rollback, tyro.conf.subcommand("rollback")]
    | Annotated[Demo, tyro.conf.subcommand("demo")]
)


def main() -> int:
    command = tyro.cli(Command, description=__doc__)  # pyright: ignore[reportArgumentType, reportCallIssue]
    try:
        if isinstance(command, Demo):
            from scripts.retrain_demo import demonstrate

            return demonstrate(out=command.out, timesteps=command.timesteps)
        folder = ChampionFolder(command.folder)
        if isinstance(command, Status):
            return print_history(folder)
        say = logger(folder)
        return guarded(
            lambda: run(command, folder, say) if isinstance(command, Run) else back(command, folder, say), say
        )
    except KeyboardInterrupt as stop:
        # Inside a training it says so, after a checkpoint.
        print("interrupted" + ("; the next run goes on from here" if str(stop) else ""), file=sys.stderr)
        return INTERRUPTED


def guarded(work: Callable[[], int], say: Callable[[str], None]) -> int:
    """Return what the work returns, or the exit code of its error after saying it."""
    try:
        return work()
    except BusyError as error:
        say(f"nothing done: {error}")
        return NOTHING_TO_DO
    # RuntimeError: of training and export; Gymnasium's errors have no base but Exception.
    except (RuntimeError, ValueError, TypeError, OSError, ArithmeticError, GymError) as error:
        say(f"error: {error}")
        return ERROR


def run(command: Run, folder: ChampionFolder, say: Callable[[str], None]) -> int:
    # These bring torch along, which status and rollback do not wait for.
    from agents.ppo_config import PPOConfig
    from agents.retraining.market import load_market
    from agents.retraining.recipe import Recipe
    from agents.retraining.run import planned, retrain

    config = PPOConfig.from_toml(command.config)
    recipe = Recipe(
        config=config,
        market=load_market(command.market, tape=command.tape, base=config.params),
        episodes=command.episodes,
        level=command.level,
        period=command.period,
        warm_start=command.warm_start,
        force=command.force,
    )
    now = datetime.now(UTC)
    if command.dry_run:
        due, lines = planned(folder, recipe, now=now)
        print(*lines, sep="\n")
        return DONE if due else NOTHING_TO_DO
    record = retrain(folder, recipe, now=now, command=typed(), say=say, progress=sys.stderr.isatty())
    if record is None:
        say(f"nothing to do: this {command.period} is done (--force trains again)")
        return NOTHING_TO_DO
    say(f"{record.action}: {record.reason}; the champion is entry {record.champion}, {folder.champion}")
    return DONE


def back(command: Rollback, folder: ChampionFolder, say: Callable[[str], None]) -> int:
    roll_back(folder, to=command.to, now=datetime.now(UTC), command=typed(), say=say)
    return DONE


def typed() -> str:
    """Return the command line, to be kept."""
    return shlex.join(["python", *sys.argv])


def logger(folder: ChampionFolder) -> Callable[[str], None]:
    """Return what writes a line to the output (errors to the error output) and, where it can, to retrain.log."""

    def say(text: str) -> None:
        print(text, file=sys.stderr if text.startswith("error") else sys.stdout, flush=True)
        try:
            with (folder.path / "retrain.log").open("a", encoding="utf-8") as log:
                log.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}\n")
        except OSError:  # no folder yet, or a full disk: what was printed says more
            pass

    return say


if __name__ == "__main__":
    sys.exit(main())
