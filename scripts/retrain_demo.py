"""A change of regime, played through with `agents.retraining`: the old champion, what it loses, the retrained one."""

import dataclasses
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import polars as pl
from rich.console import Console

import hftgym
from agents.ppo import PPOConfig
from agents.retraining.folder import ChampionFolder
from agents.retraining.market import Market
from agents.retraining.recipe import Recipe
from agents.retraining.record import Record
from agents.retraining.run import retrain
from hftgym import EnvParams, plots
from hftgym.evaluation import evaluate, summarize
from hftgym.policies import OnnxPolicy, OptimalPolicy
from hftgym.rollout import Predicts
from hftgym.tables import number, terminal_table
from scripts.retrain_picture import Bar, draw

OLD, NEW, OPTIMAL = "old champion", "retrained", "optimal"
BEFORE = EnvParams()
# What a nervous market looks like: it moves more, the spread is wider (orders reach no further in currency, so half as
# far in half-spreads), and fewer takers come.
AFTER = dataclasses.replace(
    BEFORE, volatility=3 * BEFORE.volatility, spread=2 * BEFORE.spread, fill_decay=1.0, arrival_intensity=0.5
)
ALONE: Mapping[str, EnvParams] = MappingProxyType(
    {
        "volatility × 3": dataclasses.replace(BEFORE, volatility=AFTER.volatility),
        "spread × 2": dataclasses.replace(BEFORE, spread=AFTER.spread),
        "takers × 0.5": dataclasses.replace(BEFORE, arrival_intensity=AFTER.arrival_intensity),
        "reach of the flow × 0.5": dataclasses.replace(BEFORE, fill_decay=AFTER.fill_decay),
        "inventory charge × 9": dataclasses.replace(BEFORE, inventory_penalty=9 * BEFORE.inventory_penalty),
    }
)
_EPISODES = 2_000
# Of no training, and of none of the comparisons that decide (agents.retraining.recipe).
_FIRST_SEED = 2**50
_MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Share:
    """What an agent gets of a market.

    Attributes:
        j_optimal: J* of the market, exact.
        j: Its J, price-free and with the optimum's luck taken off.
        share: J / J*; se: its standard error.
        gap: Share of the way from the best constant quote to the optimum; gap_se: its standard error.
        constant: J / J* of the best constant quote, exact.
    """

    j_optimal: float
    j: float
    share: float
    se: float
    gap: float
    gap_se: float
    constant: float


def demonstrate(*, out: Path, timesteps: int | None = None, console: Console | None = None) -> int:
    """Play the change of regime through, print its tables, write regime_change.png, and return 0.

    Args:
        out: Folder of the picture and the champion; an earlier demonstration in it is replaced.
        timesteps: Training budget of each agent; the configuration's if None.
        console: Where to print; None is the standard output.

    Raises:
        RunError, ValueError, OSError: As `retrain`.
    """
    console, began = console or Console(highlight=False, width=100), time.perf_counter()
    folder = ChampionFolder(out / "champion")
    if folder.path.exists():
        shutil.rmtree(folder.path)
    config = PPOConfig.from_toml()
    config = dataclasses.replace(config, total_timesteps=timesteps or config.total_timesteps)
    console.print("[bold]Week 1[/]: market A, the default one")
    _week(folder, config, BEFORE, week=0, console=console)
    old = OnnxPolicy(folder.champion)
    console.print("\n[bold]What changes, one thing at a time[/]: the champion of market A in other markets")
    alone = {name: shares({OLD: old}, params)[OLD] for name, params in ALONE.items()}
    _print(alone, console)
    console.print(_SCALE_FREE, style="dim")
    console.print("\n[bold]Week 2[/]: market B: volatility × 3, spread × 2, reach of the flow × 0.5, takers × 0.5")
    record = _week(folder, config, AFTER, week=1, console=console)
    new = OnnxPolicy(folder.entry(2) / "model.onnx")
    both = {name: shares({OLD: old, NEW: new}, params) for name, params in (("A", BEFORE), ("B", AFTER))}
    _print({f"{agent} in market {market}": found[agent] for market, found in both.items() for agent in found}, console)
    _print_test(record, console)
    out.mkdir(parents=True, exist_ok=True)
    picture = plots.save(draw(_bars(both), alone, caption=_caption(config)), out / "regime_change.png")
    console.print(f"\n{time.perf_counter() - began:.0f} s in all; {picture} shows it", soft_wrap=True)
    return 0


_SCALE_FREE = (
    "The first two cost nothing: observations and quotes are in units of the market's own volatility and spread, so "
    "the agent sees and does what it always did. What it knows by heart is the order flow and the price of inventory."
)


def shares(policies: Mapping[str, Predicts], params: EnvParams) -> dict[str, Share]:
    """Return what every policy gets of a market that the exact recursion covers, on the same 2,000 episodes."""
    table = evaluate({**policies, OPTIMAL: OptimalPolicy(params)}, episodes=_EPISODES, seed=_FIRST_SEED, params=params)
    summary = summarize(table, params=params, optimal=OPTIMAL).filter(pl.col("policy") != OPTIMAL)
    found = {}
    for row in summary.iter_rows(named=True):
        optimum, constant = row["j_optimal"], row["j_constant"]
        found[row["policy"]] = Share(
            j_optimal=optimum,
            j=row["j_share"] * optimum,
            share=row["j_share"],
            se=row["gap_closed_se"] * (optimum - constant) / optimum,
            gap=row["gap_closed"],
            gap_se=row["gap_closed_se"],
            constant=constant / optimum,
        )
    return found


def _week(folder: ChampionFolder, config: PPOConfig, params: EnvParams, *, week: int, console: Console) -> Record:
    """Do what a timer does in a week, and return its record."""

    def say(text: str) -> None:
        console.print(f"  {text}", style="dim", soft_wrap=True, markup=False)

    name = "B" if week else "A"
    recipe = Recipe(config=config, market=Market(params=params, source=f"market {name}"))
    now = _MONDAY + timedelta(weeks=week)
    record = retrain(folder, recipe, now=now, command="demo", say=say, progress=sys.stderr.isatty())
    assert record is not None  # every week of the demonstration is due
    say(f"{record.action}: {record.reason} ({record.seconds:.0f} s)")
    return record


def _print(rows: Mapping[str, Share], console: Console) -> None:
    cells = [
        [
            name,
            number(row.j_optimal),
            number(row.constant * row.j_optimal),
            f"{number(row.j)} ±{number(row.se * row.j_optimal)}",
            f"{row.share:.4f} ±{row.se:.4f}".replace("-", "\N{MINUS SIGN}"),
            f"{number(100 * row.gap, 1)} ±{100 * row.gap_se:.1f} %",
        ]
        for name, row in rows.items()
    ]
    heads = ["", "J*", "constant", "J", "J / J*", "gap closed"]
    console.print(terminal_table(heads, cells, gap=2))


def _print_test(record: Record, console: Console) -> None:
    test = (record.comparison or {})["episodes"]
    console.print(
        f"± is one standard error over {_EPISODES:,} episodes, paired with the optimum; J* and the best constant are "
        "exact. "
        f"Retrained less old in B, paired on {test['n']:,} other episodes: {number(test['difference'])} "
        f"±{number(test['se'])}, z = {number(test['z'], 0)}. One training seed per market; simulated profits are not "
        "profits.",
        style="dim",
    )


def _bars(both: Mapping[str, Mapping[str, Share]]) -> list[Bar]:
    titles = {"A": "market A, before", "B": "market B, after"}
    return [
        Bar(group=titles[market], agent=agent, share=share.share, se=share.se, constant=share.constant)
        for market, found in both.items()
        for agent, share in found.items()
    ]


def _caption(config: PPOConfig) -> str:
    return (
        f"PPO, {config.total_timesteps:,} steps per agent, one seed each   ·   {_EPISODES:,} episodes, "
        f"bars ± 2 standard errors   ·   hftgym {hftgym.__version__}   ·   simulated profits are not profits"
    )
