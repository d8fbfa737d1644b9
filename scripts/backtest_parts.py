"""What the backtest command does: load a market, play policies over it, write what came out."""

import dataclasses
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

import hftgym
from hftgym import VENUE_FEES_BPS, EnvParams, plots, plots_backtest, report, roster, tables_backtest
from hftgym.backtest import REASONS, Fills, backtest, backtest_zscore
from hftgym.backtest.metrics import Metrics, difference, measure
from hftgym.backtest.record import Record, record_of_backtest, record_of_zscore
from hftgym.backtest.statistics import Interval
from hftgym.files import written_together
from hftgym.progress import slow_bar
from hftgym.tables import markdown, terminal_table
from hftgym.tape import Tape, TapeFile, calibrate, read_tape
from hftgym.tape.measure import quotes_at, tick_times
from hftgym.tape.reading import open_or_read

if TYPE_CHECKING:
    from scripts.backtest import Arguments

_SIDE_BY_SIDE = 4  # policies in one table
DEFAULT = ("z-score", "avellaneda-stoikov", "fixed-spread")
ENTRY = 1.5  # that of `ZScorePolicy`
BASELINES = ("z-score", "Avellaneda-Stoikov")  # that every other policy is paired with

CAVEATS = (
    "A few minutes or days of one market are one draw. An interval that excludes zero says that the result is more "
    "than the noise of this tape; it says nothing about another day, and the best of many policies or settings is "
    "partly the luckiest. The rules have the settings that are best in a simulated market like the tape they are "
    "judged on, unless it was measured on an earlier part alone (--split).",
    "Own orders move nothing: what they take is still there, nobody cancels or undercuts because of them, and the more "
    "units, the less this is true.",
    "The queue is a guess from best prices and trades: orders that leave it are taken to come from behind.",
    "Fees are list prices of the lowest tier without discounts.",
)


@dataclass(frozen=True, kw_only=True)
class Market:
    """What is played: a tape, or prices alone, and the parameters that policies see.

    Attributes:
        tape: The recording; None if there are prices alone.
        prices: float64 (n,), one per tick.
        params: Measured on it, with fees.
        latency_s: Seconds from a decision to the market.
        description: In one paragraph.
        part: Which part of the tape it is; empty if it is all of it.
    """

    tape: Tape | TapeFile | None
    prices: NDArray[np.float64]
    params: EnvParams
    latency_s: float
    description: str
    part: str = ""

    @property
    def conditions(self) -> str:
        """What the result hangs on, for captions."""
        return f"one tick: {self.params.tick_s:g} s   ·   {_fees_text(self.params)}"

    @property
    def title(self) -> str:
        """Where, what and how long."""
        seconds = len(self.prices) * self.params.tick_s
        length = f"{seconds / 60:,.3g} min" if seconds >= 60 else f"{seconds:.3g} s"
        venue = f"{self.tape.venue} " if self.tape is not None else ""
        return f"{venue}{self.params.symbol}, {self.part and 'the last '}{length}"


Played = dict[str, tuple[Record, Metrics]]


def load(arguments: "Arguments") -> Market:
    """Read the tape or the prices, and measure what policies need to know.

    Raises:
        ValueError: An argument does not fit the file.
    """
    if arguments.prices is not None:
        return _load_prices(arguments, arguments.prices)
    # A part of a tape is cut out in memory.
    read = open_or_read if arguments.split == 1 else read_tape
    tape = read(arguments.tape, symbol=arguments.symbol).in_units_of(arguments.unit)
    measured, tape = tape.split(arguments.split) if isinstance(tape, Tape) and arguments.split != 1 else (tape, tape)
    base = with_fees(arguments.params, arguments.fees, tape.venue)
    params = calibrate(measured, tick_s=arguments.tick_s, base=base)
    times = tick_times(tape, params.tick_s)
    params = dataclasses.replace(params, horizon=len(times) - 1)
    bid, ask = quotes_at(tape, times)
    part = "" if arguments.split == 1 else f"the last {1 - arguments.split:.0%} of the tape, measured on what is before"
    return Market(
        tape=tape,
        prices=(bid + ask) / 2,
        params=params,
        latency_s=arguments.latency_s,
        part=part,
        description=f"{tape}; decisions every {params.tick_s:g} s, {arguments.latency_s:g} s to the market, "
        f"{_fees_text(params)}{part and f'; {part}'}",
    )


def _load_prices(arguments: "Arguments", column: str) -> Market:
    prices = read_prices(arguments.tape, column)
    base = with_fees(arguments.params, "params" if arguments.fees == "venue" else arguments.fees, "")
    params = dataclasses.replace(base, symbol=arguments.tape.stem, tick_s=arguments.tick_s)
    text = f"{len(prices):,} prices of {arguments.tape.name}, spread {params.spread:g}, {_fees_text(params)}"
    return Market(tape=None, prices=prices, params=params, latency_s=0.0, description=text)


def read_prices(path: Path, column: str) -> NDArray[np.float64]:
    """Return a column of a CSV or parquet table; an empty cell is NaN.

    Raises:
        ValueError: It is no such table, there is no such column, or a cell is no number.
        FileNotFoundError: There is no such file.
    """
    try:
        # All cells as text: the first rows say nothing about the others.
        table = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{path}: not a table with named columns: {str(error).splitlines()[0]}") from error
    if column not in table.columns:
        raise ValueError(f"--prices must be a column of {path}: {', '.join(table.columns)}; got {column!r}")
    found = table[column]
    if found.dtype == pl.String:
        found = found.str.strip_chars()
        found = found.set(found == "", None)
    prices = found.cast(pl.Float64, strict=False)
    bad = (found.is_not_null() & prices.is_null()).arg_true()
    if len(bad):
        raise ValueError(f"{path}: {column!r} must hold numbers, got {found[bad[0]]!r} in row {bad[0] + 1:,}")
    return prices.to_numpy().astype(np.float64)


def with_fees(params: EnvParams, fees: str, venue: str) -> EnvParams:
    """Return parameters with the fees that --fees asks for; a venue that is not known keeps those of the parameters.

    Raises:
        ValueError: There is no such venue.
    """
    if fees not in ("venue", "params", *VENUE_FEES_BPS):
        raise ValueError(f"--fees must be venue, params or one of {', '.join(VENUE_FEES_BPS)}, got {fees!r}")
    rates = VENUE_FEES_BPS.get(venue if fees == "venue" else fees)
    if rates is None:
        return params
    return dataclasses.replace(params, maker_fee_bps=rates[0], taker_fee_bps=rates[1])


def play(market: Market, arguments: "Arguments") -> Played:
    """Play every policy over the market.

    Raises:
        ValueError: A policy is not known, or cannot be played on prices alone.
    """
    tape, params = market.tape, market.params
    if tape is None:
        if any(roster.rule_name(name) != "z-score" for name in arguments.policies):
            raise ValueError("with --prices there is nothing but z-score to play, alone or with --grid")
        return {"z-score": zscore(market, window=params.window, entry=ENTRY, limit=params.inventory_limit)}
    players = roster.policies(arguments.policies or DEFAULT, params=params)
    plots.policy_colors(list(players))  # too many to draw: say so before playing
    played: Played = {}
    with slow_bar(len(players)) as bar:
        for name, policy in players.items():
            watched = _Watched(policy, bar.part(name), params.horizon)
            own = roster.market_for(policy, params)
            record = record_of_backtest(backtest(watched, tape, own, latency_s=market.latency_s))
            played[name] = record, measure(record)
    return played


def zscore(market: Market, *, window: int, entry: float, limit: int) -> tuple[Record, Metrics]:
    """Play the z-score rule, one unit an order, on the prices of a market: at once, at half the spread from the mid."""
    params = market.params
    result = backtest_zscore(
        market.prices,
        spread=params.spread,
        window=window,
        entry=entry,
        inventory_limit=limit,
        initial_cash=params.initial_cash,
        sizing="unit",
        taker_fee_bps=params.taker_fee_bps,
    )
    record = record_of_zscore(result, tick_s=params.tick_s, symbol=params.symbol)
    return record, measure(record)


class _Watched:
    """A policy that tells how far it has come."""

    def __init__(self, policy: Any, tell: Callable[[float], None], ticks: int) -> None:
        self._policy, self._tell, self._ticks, self._done = policy, tell, ticks, 0

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        self._done += 1
        if self._done % 256 == 0:
            self._tell(self._done / self._ticks)
        return self._policy.predict(*args, **kwargs)


def write_results(played: Played, market: Market, out: Path, console: Console) -> None:
    """Print the table and the verdicts, and write them with every fill and the pictures."""
    metrics = {name: one for name, (_, one) in played.items()}
    less = paired(played)
    for names in _groups(list(metrics)):
        console.print(terminal_table(*tables_backtest.cells({name: metrics[name] for name in names}, less), gap=1))
    console.print(Text(tables_backtest.LEGEND, style="dim"), "")
    for name, one in metrics.items():
        console.print(Text(f"{name}: {tables_backtest.verdict(one)}"))
    with written_together(out) as work:
        result_table(played).write_csv(work / "results.csv")
        for name, (record, _) in played.items():
            fill_table(record.fills).write_csv(work / f"fills_{slug(name)}.csv")
        _draw(played, market, work)
        _report(played, market, work)
    console.print(
        Text(f"\nwritten: {out}/{{report.md, comparison.png, results.csv, one .png and fills_ each}}", style="dim")
    )


def _draw(played: Played, market: Market, out: Path) -> None:
    for name, (record, metrics) in played.items():
        figure = plots_backtest.backtest(record, metrics, name=name, caption=caption(market))
        plots.save(figure, out / f"{slug(name)}.png")
    plots.save(comparison(played, market), out / "comparison.png")


def comparison(played: Played, market: Market) -> Figure:
    """Return the picture of all policies on one market."""
    records = {name: record for name, (record, _) in played.items()}
    metrics = {name: one for name, (_, one) in played.items()}
    return plots_backtest.compared(records, metrics, title=market.title, caption=caption(market))


def caption(market: Market) -> str:
    """Return what a picture's result hangs on."""
    late = f"{market.latency_s:g} s to the market   ·   own orders move nothing   ·   hftgym {hftgym.__version__}"
    return f"{market.conditions}   ·   {late}"


def verdicts(metrics: dict[str, Metrics]) -> str:
    """Return one sentence per policy, as a Markdown list."""
    return "\n".join(f"- {name}: {tables_backtest.verdict(one)}" for name, one in metrics.items())


def paired(played: Played) -> dict[str, dict[str, Interval]]:
    """Return the PnL of every policy less that of each baseline: baseline -> policy -> difference."""
    found = {
        baseline: {
            name: difference(record, played[baseline][0]) for name, (record, _) in played.items() if name != baseline
        }
        for baseline in BASELINES
        if baseline in played
    }
    return {baseline: less for baseline, less in found.items() if less}


def result_table(played: Played) -> pl.DataFrame:
    """Return the figures of every policy with the paired differences: one row per policy, nulls for the baseline."""
    less = paired(played)
    rows = []
    for name, (_, metrics) in played.items():
        row: dict[str, Any] = {"policy": name, **metrics.row()}
        for baseline, found in less.items():
            one, prefix = found.get(name), f"less_{slug(baseline)}"
            values = (one.value, one.low, one.high) if one is not None else (None, None, None)
            row |= dict(zip((prefix, f"{prefix}_low", f"{prefix}_high"), values, strict=True))
        rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def tables(played: Played) -> str:
    """Return the figures and the paired differences as one Markdown table."""
    return markdown(*tables_backtest.cells({name: one for name, (_, one) in played.items()}, paired(played)))


def _report(played: Played, market: Market, out: Path) -> None:
    metrics = {name: one for name, (_, one) in played.items()}
    sections = [
        report.Section(heading="Verdict", text=verdicts(metrics), picture="comparison.png"),
        report.Section(heading="Figures", text=f"{tables(played)}\n\n{tables_backtest.LEGEND}"),
        *(report.Section(heading=name, picture=f"{slug(name)}.png") for name in metrics),
    ]
    facts = {
        "tape": market.description,
        "command": f"`{shlex.join(['python', *sys.argv])}`",
        "machine": report.machine(),
        "versions": report.versions(),
    }
    title = f"Backtest on {market.title}"
    report.write_report(out / "report.md", title=title, facts=facts, sections=sections, caveats=CAVEATS)


def fill_table(fills: Fills) -> pl.DataFrame:
    """Return a fill log as a table, with reasons in words."""
    columns = {field.name: getattr(fills, field.name) for field in dataclasses.fields(fills)}
    return pl.DataFrame(columns | {"reason": np.array(REASONS)[fills.reason]})


def slug(name: str) -> str:
    """Return a name as part of a file name."""
    return "".join(letter if letter.isalnum() else "_" for letter in name.lower())


def _groups(names: list[str]) -> list[list[str]]:
    return [names[i : i + _SIDE_BY_SIDE] for i in range(0, len(names), _SIDE_BY_SIDE)]


def _fees_text(params: EnvParams) -> str:
    return f"fees {params.maker_fee_bps:g} / {params.taker_fee_bps:g} bp (maker / taker)"
