"""The z-score rule over a grid of windows, entries and limits: a heat map, a table, and how much of it is luck."""

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

import hftgym
from hftgym import plots, plots_backtest
from hftgym.backtest import zscore_grid
from hftgym.files import written_together
from hftgym.progress import slow_bar
from scripts.backtest_parts import Market

WINDOWS = (10, 20, 50, 100, 200, 500, 1_000)
ENTRIES = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
_TWO_SIDED_95 = 1.96
_BY_LUCK = 0.025  # of 95 % intervals around nothing lie above 0


def write_grid(market: Market, out: Path, console: Console) -> None:
    """Play the rule over the grid, say what the best setting is worth, and write grid.png and grid.csv."""
    table = play_grid(market)
    console.print(Text(luck(table)))
    with written_together(out) as work:
        table.write_csv(work / "grid.csv")
        plots.save(picture(table, market), work / "grid.png")
    console.print(Text(f"\nwritten: {out}/{{grid.png, grid.csv}}", style="dim"))


def play_grid(market: Market) -> pl.DataFrame:
    """Return the figures of the z-score rule for every window, entry and limit: one row per setting.

    Raises:
        ValueError: There are fewer prices than the shortest window.
    """
    windows = [window for window in WINDOWS if window < len(market.prices)]
    if not windows:
        raise ValueError(f"a grid needs more than {WINDOWS[0]} prices, got {len(market.prices)}")
    params = market.params
    with slow_bar(1) as bar:
        found = zscore_grid(
            market.prices,
            windows=windows,
            entries=ENTRIES,
            limits=sorted({1, params.inventory_limit}),
            spread=params.spread,
            initial_cash=params.initial_cash,
            sizing="unit",
            taker_fee_bps=params.taker_fee_bps,
            on_progress=bar.part("grid"),
        )
    columns = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    return pl.DataFrame(columns).with_columns((pl.col("pnl") + pl.col("fees")).alias("before_fees"))


def picture(table: pl.DataFrame, market: Market) -> Figure:
    """Return the heat maps of a grid."""
    how = "orders of one unit at once, half a spread from the mid"
    return plots_backtest.grid(
        _maps(table),
        rows=table["window"].unique().sort().to_list(),
        columns=ENTRIES,
        title=f"z-score rule on {market.title}",
        caption=f"{market.conditions}   ·   {how}   ·   hftgym {hftgym.__version__}",
    )


def _maps(table: pl.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Return PnL before and after fees over (windows, entries) for every limit; NaN where nothing was traded."""
    shown = table.with_columns(pl.when(pl.col("trades") > 0).then(pl.col("pnl", "before_fees")))
    return {
        f"limit {limit}, {name}": part[column].to_numpy().reshape(-1, len(ENTRIES))
        for (limit,), part in shown.group_by("inventory_limit", maintain_order=True)
        for name, column in (("before fees", "before_fees"), ("after fees", "pnl"))
    }


def luck(table: pl.DataFrame) -> str:
    """Return what the best setting of a grid is worth, and how many would look as good without any edge."""
    traded = table.filter(pl.col("trades") > 0)
    if not len(traded):
        return f"None of {len(table)} settings ever traded."
    best = traded.sort("pnl", descending=True).row(0, named=True)
    above = int((traded["sharpe"] > _TWO_SIDED_95 * traded["sharpe_se"]).sum())
    setting = f"window {best['window']}, entry {best['entry']:g}, limit {best['inventory_limit']}"
    count = len(traded)
    return (
        f"The best of {count} settings that traded: {setting}: PnL {best['pnl']:+,.2f} after fees, Sharpe per tick "
        f"{best['sharpe']:+.3f} ± {best['sharpe_se']:.3f} (s.e.). {above} of {count} are above zero by 1.96 standard "
        f"errors; by luck alone about {_BY_LUCK * count:.0f} would be. The best of many is partly the luckiest: choose "
        "on one tape, judge on another."
    )
