"""The steps of `scripts/demo.py`, one function each, and what strings them together.

Everything is written into `<out>.partial`, which takes the place of `<out>` when it is complete.
"""

import dataclasses
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from rich.console import Console

import hftgym
from agents.export import ExportError, export
from agents.ppo import PPOConfig, RunError, train
from hftgym import plots, report
from hftgym.backtest import Backtest, backtest
from hftgym.evaluation import compare, play, print_table, summarize, tabulate
from hftgym.policies import OnnxPolicy, ZScorePolicy
from hftgym.rollout import Paths
from hftgym.roster import rules
from hftgym.tables import latency_cells, markdown, number, terminal_table
from hftgym.tape import Tape
from hftgym.tape.calibration import calibrate
from hftgym.trace import trace_backtest, trace_episode
from scripts.benchmarks.decision import ACT, COMPILED_ACT, decision_latency, speedup
from scripts.demo_parts import (
    DemoError,
    check_replaceable,
    find_tape,
    fresh_folder,
    partial,
    replace_folder,
)

AGENT = "PPO agent"
STEPS = 6
# Far from the seeds of the training (0 to a few hundred).
FIRST_SEED = 1_000_000
_DECISIONS = 5_000  # calls that one latency is measured over
_PATHS = 1_000  # episodes whose paths the picture is drawn from
_QUICK_TIMESTEPS, _QUICK_EPISODES = 32_768, 50


@dataclass
class Run:
    """What the steps hand on to each other."""

    console: Console
    config: PPOConfig
    episodes: int
    work: Path
    tape: Tape | None
    began_s: float = field(default_factory=time.perf_counter)
    step: int = 0
    names: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    sections: list[report.Section] = field(default_factory=list)

    @contextmanager
    def heading(self, title: str) -> Iterator[None]:
        """Announce a numbered step, and say how long it took."""
        self.step += 1
        began = time.perf_counter()
        self.console.print(f"\n[bold cyan]{self.step}/{STEPS}[/]  [bold]{title}[/]")
        yield
        self.say(f"{time.perf_counter() - began:.1f} s", dim=True)

    def say(self, text: str, *, dim: bool = False) -> None:
        """Print one indented line."""
        self.console.print(f"     {text}", style="dim" if dim else None, soft_wrap=True, markup=False)


def run(
    console: Console,
    *,
    tape_path: Path | None,
    out: Path,
    seed: int,
    timesteps: int | None,
    episodes: int,
    quick: bool,
) -> Path:
    """Run the whole demo and return the folder of its results.

    Raises:
        DemoError: The tape cannot be read, an argument is outside its range, or a step failed; `out` is as it was.
        KeyboardInterrupt: Ctrl-C, likewise; the message says what is left where.
    """
    if episodes < 2:
        raise DemoError(f"--episodes must be at least 2, got {episodes}")
    check_replaceable(out)
    tape, why_not = find_tape(tape_path)
    budget = timesteps or (_QUICK_TIMESTEPS if quick else PPOConfig.from_toml().total_timesteps)
    try:
        config = dataclasses.replace(PPOConfig.from_toml(), seed=seed, total_timesteps=budget)
        this = Run(
            console, config, min(episodes, _QUICK_EPISODES) if quick else episodes, fresh_folder(partial(out)), tape
        )
        console.print(f"[bold]hftgym {hftgym.__version__}[/]  the demo: train, export, compare, replay")
        model = _train(this)
        agent = _export(this, model)
        table, paths = _compare(this, agent)
        _draw(this, agent, table, paths)
        _time(this, model)
        _replay(this, agent, why_not)
        _finish(this, out)
    except KeyboardInterrupt as stop:
        untouched = f"{out} is as it was" if out.exists() else f"there is no {out} yet"
        raise KeyboardInterrupt(f"interrupted: what was done so far is in {partial(out)}; {untouched}") from stop
    except (ExportError, RunError, ValueError, ArithmeticError, OSError) as error:
        raise DemoError(f"{error} (what was done so far is in {partial(out)})") from error
    return out


def _train(this: Run) -> Path:
    config = this.config
    with this.heading(f"Train PPO: {config.total_timesteps:,} steps, {config.num_envs} markets at a time"):
        began = time.perf_counter()
        model = train(config, this.work / "training", console=this.console)
        seconds = time.perf_counter() - began
        this.say(f"{config.total_timesteps / seconds / 1e3:,.0f}k steps/s on one thread")
    net = " x ".join(map(str, config.net_arch))
    this.facts["training"] = (
        f"PPO, {net} tanh, {config.total_timesteps:,} steps in {seconds:.0f} s, seed {config.seed}, "
        f"learning from the {config.training_reward.replace('_', '-')} reward"
    )
    return model


def _export(this: Run, model: Path) -> OnnxPolicy:
    with this.heading("Export to ONNX, and hold the file to what the model does"):
        path = this.work / "model.onnx"
        parity = export(model, path)["parity"]
        text = (
            f"{path.stat().st_size / 1e3:.1f} kB; over {parity['n']:,} observations its actions differ from the "
            f"model's by at most {parity['max_abs']:.1e} ({parity['tolerance']:.0e} is allowed)"
        )
        this.say(f"model.onnx: {text}")
    this.facts["model.onnx"] = text
    return OnnxPolicy(path)


def _compare(this: Run, agent: OnnxPolicy) -> tuple[pl.DataFrame, dict[str, Paths]]:
    params, episodes = this.config.params, this.episodes
    with this.heading(f"Compare on {episodes:,} episodes, the same for all, none seen in training"):
        players = rules(params=params) | {AGENT: agent}
        played = play(
            players, this.config.env_id, episodes=episodes, seed=FIRST_SEED, params=params, paths=min(episodes, _PATHS)
        )
        table = tabulate(played)
        summary = summarize(table, params=params, optimal="optimal" if "optimal" in players else None)
        differences = _differences(table)
        print_table(summary, console=this.console)
    summary.write_csv(this.work / "results.csv")
    table.write_parquet(this.work / "episodes.parquet")
    this.names = list(players)
    this.facts["episodes"] = f"{episodes:,} per policy, seeds {FIRST_SEED:,} and up, the same for all"
    this.sections += [
        report.Section(heading="Comparison", text=report.summary_text(summary), picture="comparison.png"),
        report.Section(heading="The agent less the others", text=report.differences_text(differences)),
        report.Section(heading="One episode of the agent", picture="episode.png"),
    ]
    return table, {name: one.paths for name, one in played.items()}


def _differences(table: pl.DataFrame) -> pl.DataFrame:
    """Return the agent less every other policy, paired by episode."""
    others = [name for name in table["policy"].unique(maintain_order=True) if name != AGENT]
    pairs = {other: table.filter(pl.col("policy").is_in([AGENT, other])) for other in others}
    return pl.concat([compare(pair, other, figures=("j", "price_free")) for other, pair in pairs.items()])


def _draw(this: Run, agent: OnnxPolicy, table: pl.DataFrame, paths: dict[str, Paths]) -> None:
    params, env_id = this.config.params, this.config.env_id
    with this.heading("Draw"):
        figure = plots.comparison(table, paths, tick_s=params.tick_s, env_id=env_id)
        plots.save(figure, this.work / "comparison.png")
        trace = trace_episode(agent, params=params, seed=FIRST_SEED, env_id=env_id, name=AGENT)
        caption = f"{env_id}   ·   hftgym {hftgym.__version__}   ·   simulated profits are not profits"
        plots.save(plots.episode(trace, caption=caption), this.work / "episode.png")
        this.say("comparison.png: all policies side by side; episode.png: one episode of the agent")


def _time(this: Run, model: Path) -> None:
    with this.heading("Time one decision"):
        found = decision_latency(model, this.work / "model.onnx", calls=_DECISIONS)
        this.console.print(terminal_table(*latency_cells(found)))
        best = COMPILED_ACT if COMPILED_ACT in found else ACT
        this.say(
            f"the file decides {speedup(found, ACT):.0f} times as fast as the model it came from"
            + (f", compiled {speedup(found, best):.0f} times" if best == COMPILED_ACT else "")
        )
    this.sections.append(report.Section(heading="Time of one decision", text=report.latency_text(found)))


def _replay(this: Run, agent: OnnxPolicy, why_not: str) -> None:
    with this.heading("Replay recorded ticks"):
        if this.tape is None:
            this.say(why_not)
            this.sections.append(report.Section(heading="Recorded ticks", text=f"None: {why_not}."))
            return
        params = calibrate(this.tape)
        this.say(str(this.tape))
        results = {
            name: backtest(policy, this.tape, params) for name, policy in (("z-score", ZScorePolicy()), (AGENT, agent))
        }
        heads, rows = _replay_cells(results)
        this.console.print(terminal_table(heads, rows))
        figure = plots.recorded(
            {name: trace_backtest(result, name=name) for name, result in results.items()},
            colors=plots.policy_colors(this.names),
            title=f"{this.tape.venue} {this.tape.symbol}, {this.tape.duration_s:.0f} s as recorded",
            caption="A replay: own orders move nothing, no latency. A few minutes of one day say nothing about profit.",
        )
        plots.save(figure, this.work / "tape.png")
    text = f"`{this.tape}`, one decision every {params.tick_s:g} s.\n\n{markdown(heads, rows)}"
    this.sections.append(report.Section(heading="Recorded ticks", text=text, picture="tape.png"))


def _replay_cells(results: dict[str, Backtest]) -> tuple[list[str], list[list[str]]]:
    money = {"PnL": "pnl", "spread": "spread_capture", "inventory PnL": "inventory_pnl", "fees": "fees"}
    rows = []
    for name, result in results.items():
        total = result.summary()
        amounts = [number(total[key]) for key in money.values()]
        rows.append([name, *amounts, f"{total['bought']:g}", f"{total['sold']:g}", number(total["inventory_rms"])])
    return ["policy", *money, "bought", "sold", "RMS q"], rows


def _finish(this: Run, out: Path) -> None:
    """Write the report and put the results in their place."""
    facts = {
        "command": f"`{shlex.join(['python', *sys.argv])}`",
        "machine": report.machine(),
        "versions": report.versions(),
        "time": f"{time.perf_counter() - this.began_s:.0f} s in all",
    }
    caveats = (*report.CAVEATS, report.TAPE_CAVEAT) if this.tape is not None else report.CAVEATS
    title = "hftgym demo: what came out"
    report.write_report(
        this.work / "report.md", title=title, facts=facts | this.facts, sections=this.sections, caveats=caveats
    )
    replace_folder(this.work, out)
    this.console.print(f"\n[bold]Done[/] in {time.perf_counter() - this.began_s:.0f} s.  Read [bold]{out}/report.md[/]")
    for name, what in (
        ("comparison.png", "all policies side by side"),
        ("episode.png", "one episode of the agent"),
        *([("tape.png", "recorded ticks")] if this.tape is not None else []),
        ("results.csv", "the table; episodes.parquet has every episode"),
        ("model.onnx", "the agent: OnnxPolicy(path), numpy and onnxruntime are enough"),
        ("training/", "the run: tensorboard --logdir"),
    ):
        this.say(f"{out / name!s:<32} {what}", dim=True)
