"""Write docs/real_tapes.md: the z-score rule, Avellaneda-Stoikov, a fixed spread and a trained agent on recorded ticks.

Like this:

python scripts/real_tapes.py --folder FOLDER  (half a minute; the page and its pictures go to docs/)

The captures are not part of the project: the folder is looked for in $HFTGYM_DATA and in shared/data beside the
repository.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

sys.path.insert(0, str(Path(__file__).parents[1]))

from hftgym import plots, plots_backtest, report, tables_backtest
from hftgym.backtest.metrics import Metrics
from scripts import backtest_grid, backtest_parts
from scripts.backtest import Arguments as Backtest
from scripts.demo_parts import tape_folders

ROOT = Path(__file__).parents[1]
TAPES = ("binance_usdm_btcusdt_20240808.gz", "binance_spot_btcusdt_20240808.gz")
POLICIES = ("z-score", "avellaneda-stoikov", "fixed-spread", str(ROOT / "agents/pretrained/default.onnx"))
UNIT = 0.01  # coins: small beside what is shown at the best prices
_COMMAND = "python scripts/backtest.py {tape} z-score avellaneda-stoikov fixed-spread agents/pretrained/default.onnx"
_ABOUT = (
    "What takes (the z-score rule) pays for every trade; what quotes is filled most readily when the price is about to "
    "run through it, which the markouts show: adverse selection. Rules have the settings that the exact recursion "
    "finds best in a simulated market like the tape; `default` is the agent of `agents/pretrained/`, trained in the "
    "default market and put on this one as it is. All of them quote at most five half-spreads from the mid, which on "
    "these spreads of one step is far less than the standard deviation of one tick's move, and far less than the fees."
)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Where from, where to.

    Attributes:
        folder: Where the captures lie.
        out: Where the page and its pictures are written.
    """

    folder: Path | None = None
    out: Path = ROOT / "docs"


def main() -> int:
    arguments = tyro.cli(Arguments, description=__doc__)
    folders = [arguments.folder] if arguments.folder else tape_folders()
    found = [folder / tape for tape in TAPES for folder in folders if (folder / tape).is_file()]
    if not found:
        print(f"error: none of {', '.join(TAPES)} is in {', '.join(map(str, folders))}", file=sys.stderr)
        return 1
    metrics: list[Metrics] = []
    sections = [section for tape in found for section in sections_of(tape, arguments.out, metrics)]
    facts = {
        "command": "`python scripts/real_tapes.py`",
        "machine": report.machine(),
        "versions": report.versions(),
        "seeds": "none: the replay draws nothing",
    }
    sections.insert(0, report.Section(heading="In short", text=f"{in_short(metrics)} {_ABOUT}"))
    sections.append(report.Section(heading="How to read the tables", text=tables_backtest.LEGEND))
    page = arguments.out / "real_tapes.md"
    title = "Policies on recorded ticks"
    print(report.write_report(page, title=title, facts=facts, sections=sections, caveats=backtest_parts.CAVEATS))
    return 0


def in_short(metrics: list[Metrics]) -> str:
    """Return how many of the results are gains, losses, and losses before fees, by their intervals."""
    gains, losses, before = (
        sum(map(test, metrics))
        for test in (lambda m: m.pnl.low > 0, lambda m: m.pnl.high < 0, lambda m: m.before_fees.high < 0)
    )
    return (
        f"Of {len(metrics)} results (policies times tapes), {gains} are gains and {losses} are losses beyond the noise "
        f"of their tape; {before} of them are losses even before fees."
    )


def sections_of(tape: Path, out: Path, results: list[Metrics]) -> list[report.Section]:
    """Play everything on one tape, write its pictures, add to the results, and return its part of the page."""
    arguments = Backtest(tape=tape, policies=POLICIES, unit=UNIT)
    market = backtest_parts.load(arguments)
    played = backtest_parts.play(market, arguments)
    metrics = {name: one for name, (_, one) in played.items()}
    results.extend(metrics.values())
    grid = backtest_grid.play_grid(market)
    name = tape.name.partition("_btc")[0]
    pictures = {
        "comparison": backtest_parts.comparison(played, market),
        "zscore": plots_backtest.backtest(*played["z-score"], name="z-score", caption=backtest_parts.caption(market)),
        "grid": backtest_grid.picture(grid, market),
    }
    files = {what: plots.save(figure, out / f"{name}_{what}.png").name for what, figure in pictures.items()}
    command = _COMMAND.format(tape=tape.name)
    text = f"{market.description}.\n\n`{command} --unit {UNIT:g}`\n\n{backtest_parts.verdicts(metrics)}"
    return [
        report.Section(
            heading=market.title, text=f"{text}\n\n{backtest_parts.tables(metrics)}", picture=files["comparison"]
        ),
        report.Section(heading=f"The z-score rule on {tape.name}", picture=files["zscore"]),
        report.Section(
            heading=f"Other settings of the z-score rule on {tape.name}",
            text=f"`python scripts/backtest.py {tape.name} --grid --unit {UNIT:g}`\n\n{backtest_grid.luck(grid)}",
            picture=files["grid"],
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
