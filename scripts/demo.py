"""Train an agent, export it, and compare it with the rules of the trade: everything in one run, offline.

The results go to runs/demo: report.md (read this first), comparison.png, episode.png, results.csv, episodes.parquet,
model.onnx (the agent: onnxruntime and numpy are all that it needs), and tape.png where recorded ticks are at hand.

Like this:

make demo

make demo TAPE=capture.gz  (a raw Binance WebSocket capture, plain or gzip)

python scripts/demo.py --seed 3 --episodes 10000 --out runs/third
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.demo_parts import DemoError
from scripts.demo_steps import run


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to run.

    Attributes:
        tape: Recorded ticks to replay at the end. If none is given, $HFTGYM_DATA and a data folder next to the
            repository are searched.
        out: Folder of the results; it is replaced when the new ones are complete, and not before.
        seed: Seed of the training. The comparison is played on other seeds.
        timesteps: Environment steps of the training; what agents/configs/ppo.toml says if not given.
        episodes: Episodes per policy in the comparison, at least 2.
        quick: Tiny budgets: shows that everything runs, and nothing else.
    """

    tape: Path | None = None
    out: Path = Path("runs/demo")
    seed: int = 0
    timesteps: int | None = None
    episodes: int = 2_000
    quick: bool = False


def main() -> int:
    console = Console(highlight=False)
    arguments = tyro.cli(Arguments, description=__doc__)
    try:
        run(
            console,
            tape_path=arguments.tape,
            out=arguments.out,
            seed=arguments.seed,
            timesteps=arguments.timesteps,
            episodes=arguments.episodes,
            quick=arguments.quick,
        )
    except DemoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(f"\n{stop}" if str(stop) else "\ninterrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
