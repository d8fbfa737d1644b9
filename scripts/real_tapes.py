"""Write docs/real_tapes.md: rules, and agents trained in simulation, on recorded ticks with the venues' fees.

Like this:

python scripts/real_tapes.py --folder FOLDER  (a minute; the page and its pictures go to docs/)

The captures are not part of the project: the folder is looked for in $HFTGYM_DATA and in shared/data beside the
repository.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

sys.path.insert(0, str(Path(__file__).parents[1]))

from hftgym import plots, plots_backtest, report, tables_backtest
from hftgym.backtest.metrics import Metrics
from scripts import backtest_grid, backtest_parts
from scripts.backtest import Arguments as Backtest
from scripts.backtest_parts import Market, Played
from scripts.demo_parts import tape_folders

ROOT = Path(__file__).parents[1]
RULES = ("z-score", "avellaneda-stoikov", "fixed-spread")
UNTRAINED = "agents/pretrained/default.onnx"  # trained, but in the default market


@dataclass(frozen=True, kw_only=True)
class Capture:
    """A recording and how it is played.

    Attributes:
        file: Its name.
        unit: Coins in one unit: small beside what is shown at the best prices.
        trained: The agent that was trained in a market like the first half; empty if there is none.
        symbol: The market, where the file holds several.
        about: What is to be known of it.
    """

    file: str
    unit: float
    trained: str = ""
    symbol: str | None = None
    about: str = ""

    @property
    def name(self) -> str:
        """What its pictures are called."""
        return "_".join(self.file.split("_")[:2])

    def words(self, policies: Sequence[str], *more: str) -> str:
        """Return the command that plays it."""
        symbol = ("--symbol", self.symbol) if self.symbol else ()
        words = ("python scripts/backtest.py", self.file, *policies, f"--unit {self.unit:g}", *symbol, *more)
        return f"`{' '.join(words)}`"


CAPTURES = (
    Capture(
        file="binance_usdm_btcusdt_20240808.gz",
        unit=0.01,
        trained="agents/pretrained/btcusdt_usdm.onnx",
        about="A maker's fee is 250 half-spreads here, and what is quoted within them cannot earn it back.",
    ),
    Capture(
        file="binance_spot_btcusdt_20240808.gz",
        unit=0.01,
        trained="agents/pretrained/btcusdt_spot.onnx",
        about="A maker's fee is 12,000 half-spreads here. `btcusdt_spot` was filled once: what it gained is what one "
        "unit happened to gain until the end.",
    ),
    Capture(
        file="coinbase_exchange_ws_20210417.txt.gz",
        unit=100.0,
        symbol="SKL-USD",
        about="Half a minute of a small coin. It is enough to see that everything runs, and for nothing else: a "
        "stretch of the intervals is 1.5 s, 52 trades are too few to measure order flow on (rules take that of the "
        "default market), and there is no second half to judge an agent on. The fees are those of 2024, the recording "
        "is of 2021.",
    ),
)
_ABOUT = (
    "What takes (the z-score rule) pays for every trade; what quotes near the price is filled most readily when the "
    "price is about to run through it, which the markouts show: adverse selection.\n\n"
    "The rules have the settings that the exact recursion finds best in a simulated market like the tape. `default` "
    "was trained in the default market and is put on the tape as it is. All of these quote at most five half-spreads "
    "from the mid, which on the Binance tapes, with spreads of one step, is far less than the standard deviation of "
    "one tick's move and far less than a fee.\n\n"
    "`btcusdt_usdm` and `btcusdt_spot` were trained with the venue's fees in markets calibrated on the first half of "
    "each tape, and may quote beyond the fees; on these tapes everybody is judged on the second half. They learned "
    "that there is nothing to earn: in their simulated market they quote so far away that no order ever reaches them "
    "(`agents/pretrained/btcusdt_usdm.md`). Recorded prices jump, which simulated ones do not, and the second halves "
    "are 2.3 times as volatile as the first ones, so that here they are filled now and then; what came of it is within "
    "the noise. They are ahead of the rules because they hardly trade, and not because they trade well: against these "
    "fees, not trading is the right answer, and no way to make money."
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
    found = [(one, folder / one.file) for one in CAPTURES for folder in folders if (folder / one.file).is_file()]
    if not found:
        names = ", ".join(one.file for one in CAPTURES)
        print(f"error: none of {names} is in {', '.join(map(str, folders))}", file=sys.stderr)
        return 1
    metrics: list[Metrics] = []
    sections = [section for one, path in found for section in sections_of(one, path, arguments.out, metrics)]
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
    gains, losses, before, still = (
        sum(map(test, metrics))
        for test in (
            lambda m: m.pnl.low > 0,
            lambda m: m.pnl.high < 0,
            lambda m: m.before_fees.high < 0,
            lambda m: m.fills == 0,
        )
    )
    return (
        f"Of {len(metrics)} results (policies times tapes), {gains} are gains and {losses} are losses beyond the noise "
        f"of their tape; {before} of them are losses even before fees, and {still} never traded."
    )


def sections_of(one: Capture, path: Path, out: Path, results: list[Metrics]) -> list[report.Section]:
    """Play everything on one tape, write its pictures, add to the results, and return its part of the page."""
    untrained = (*RULES, UNTRAINED)
    judged = (*untrained, one.trained) if one.trained else untrained
    market, played = _played(path, one, judged, split=0.5 if one.trained else 1.0)
    results.extend(metrics for _, metrics in played.values())
    command = one.words(judged, *(["--split 0.5"] if one.trained else []))
    text = (
        f"{market.description}. {one.about}",
        command,
        _verdicts(played),
        backtest_parts.tables(played),
    )
    picture = plots.save(backtest_parts.comparison(played, market), out / f"{one.name}_comparison.png").name
    sections = [report.Section(heading=market.title, text="\n\n".join(text), picture=picture)]
    if not one.trained:
        return [*sections, _rule(one, market, played, out)]
    market, played = _played(path, one, untrained, split=1.0)
    about = "On the whole tape, with settings, volatility and spread that are measured on itself:"
    text = "\n\n".join((one.words(untrained), about, _verdicts(played)))
    return [*sections, _rule(one, market, played, out, text=text), _grid(one, market, out)]


def _played(path: Path, one: Capture, policies: Sequence[str], *, split: float) -> tuple[Market, Played]:
    files = tuple(str(ROOT / name) if name.endswith(".onnx") else name for name in policies)
    arguments = Backtest(tape=path, policies=files, unit=one.unit, symbol=one.symbol, split=split)
    market = backtest_parts.load(arguments)
    return market, backtest_parts.play(market, arguments)


def _verdicts(played: Played) -> str:
    return backtest_parts.verdicts({name: metrics for name, (_, metrics) in played.items()})


def _rule(one: Capture, market: Market, played: Played, out: Path, *, text: str = "") -> report.Section:
    figure = plots_backtest.backtest(*played["z-score"], name="z-score", caption=backtest_parts.caption(market))
    picture = plots.save(figure, out / f"{one.name}_zscore.png").name
    return report.Section(heading=f"The z-score rule on all of {one.file}", text=text, picture=picture)


def _grid(one: Capture, market: Market, out: Path) -> report.Section:
    table = backtest_grid.play_grid(market)
    picture = plots.save(backtest_grid.picture(table, market), out / f"{one.name}_grid.png").name
    text = f"{one.words((), '--grid')}\n\n{backtest_grid.luck(table)}"
    return report.Section(heading=f"Other settings of the z-score rule on {one.file}", text=text, picture=picture)


if __name__ == "__main__":
    sys.exit(main())
