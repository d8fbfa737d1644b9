"""Compare policies on the same episodes: a table with confidence intervals, CSV files, one picture.

Like this:

python scripts/evaluate.py  (every rule but the closed forms)

python scripts/evaluate.py z-score avellaneda-stoikov runs/demo/model.onnx --episodes 5000

python scripts/evaluate.py linear-skew optimal --params.volatility 0.001 --params.maker-fee-bps -0.5

Policies: random, fixed-spread, z-score, avellaneda-stoikov, linear-skew, optimal, and by name glft and
cartea-jaimungal (each at its best in the market that
is played, where the exact recursion knows it), or the path of an exported agent (.onnx).
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import tyro
from rich.console import Console

from hftgym import PRESETS, EnvParams, plots
from hftgym.evaluation import compare, play, print_table, summarize, tabulate
from hftgym.policies import OnnxPolicy
from hftgym.presets import named_market
from hftgym.rollout import Rollout
from hftgym.roster import OPTIMAL, policies, rules

_PATHS = 1_000  # episodes whose paths the picture is drawn from


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to compare.

    Attributes:
        policies: Names of rules, and .onnx files; every rule but the closed forms if none is given.
        episodes: Episodes per policy; episode i has the seed `seed` + i for every policy.
        seed: Seed of the first episode.
        out: Where results.csv (one row per policy), differences.csv (paired, against the first policy), episodes.csv
            (one row per policy and episode) and comparison.png are written.
        market: Name of a market in hftgym.PRESETS, or a .json or .toml file of EnvParams (scripts/calibrate.py writes
            one); by default that of the agents given, or the default one.
        params: Changes to the default market, instead of `market`.
    """

    policies: tyro.conf.Positional[tuple[str, ...]] = ()
    episodes: int = 1_000
    seed: int = 0
    out: Path = Path("runs/evaluation")
    market: str | None = None
    params: EnvParams = field(default_factory=EnvParams)


def main() -> int:
    try:
        run(tyro.cli(Arguments, description=__doc__))
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return 130
    except (ValueError, TypeError, ArithmeticError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def chosen_market(arguments: Arguments) -> EnvParams:
    """Return the market to play: the one asked for, or the one that the agents were trained in."""
    files = [name for name in arguments.policies if name.lower().endswith(".onnx") and Path(name).is_file()]
    trained = [OnnxPolicy(name).manifest["params"] for name in files]
    if arguments.market is not None:
        return named_market(arguments.market)
    if arguments.params != EnvParams() or not trained:
        return arguments.params
    if any(params != trained[0] for params in trained):
        raise ValueError("the agents were trained in different markets: choose one by --market or --params")
    return EnvParams.from_dict(trained[0])


def played(arguments: Arguments, params: EnvParams, *, paths: int = 0) -> dict[str, Rollout]:
    """Play the policies in a market, and keep the paths of the first `paths` episodes."""
    players = policies(arguments.policies, params=params) if arguments.policies else rules(params=params)
    plots.policy_colors(list(players))  # too many to draw: say so before playing
    return play(players, episodes=arguments.episodes, seed=arguments.seed, params=params, paths=paths)


def summary_of(table: pl.DataFrame, params: EnvParams) -> pl.DataFrame:
    """Return one row per policy, with the optimum's luck taken from the others' where it was played."""
    return summarize(table, params=params, optimal=OPTIMAL if OPTIMAL in table["policy"] else None)


def run(arguments: Arguments) -> None:
    params, out = chosen_market(arguments), arguments.out
    changed = {name: value for name, value in params.to_dict().items() if value != EnvParams().to_dict()[name]}
    Console().print(f"market: {changed or 'the default one'}", style="dim")
    rollouts = played(arguments, params, paths=min(arguments.episodes, _PATHS))
    table = tabulate(rollouts)
    summary = summary_of(table, params)
    print_table(summary)
    out.mkdir(parents=True, exist_ok=True)
    summary.write_csv(out / "results.csv")
    compare(table, baseline=next(iter(rollouts))).write_csv(out / "differences.csv")
    table.write_csv(out / "episodes.csv")
    names = [name for name, preset in PRESETS.items() if preset == params] or ["of its own"]
    paths = {name: one.paths for name, one in rollouts.items()}
    figure = plots.comparison(table, paths, tick_s=params.tick_s, env_id=f"market {names[0]}")
    plots.save(figure, out / "comparison.png")
    Console().print(f"\nwritten: {out}/{{comparison.png, results.csv, differences.csv, episodes.csv}}", style="dim")


if __name__ == "__main__":
    sys.exit(main())
