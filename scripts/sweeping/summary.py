"""What a dataset says: one figure by everything that varies, with its interval over the seeds."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import polars as pl
from rich.table import Table

from hftgym.evaluation import quantile
from hftgym.tables import number, plus_minus, terminal_table
from scripts.sweeping.dataset import HASH, Results
from scripts.sweeping.kinds import KINDS

_MOST_ROWS = 40
_SEED = "seed"
_TWO_SIDED_95 = 1.96
_HASHES = re.compile(r"[0-9a-f]{64}( [0-9a-f]{64})*")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One kind of task, one figure.

    Attributes:
        kind: Of the tasks.
        metric: The column that is summarised.
        by: What it is told by: the options that vary, but for the seed; hashes of files that were changed; the policy.
        rows: Every row of the dataset of this kind.
    """

    kind: str
    metric: str
    by: tuple[str, ...]
    rows: pl.DataFrame

    @property
    def table(self) -> pl.DataFrame:
        """One row per group: `by`, tasks (with a value), mean, se, low and high (95 % over the seeds)."""
        return self.grouped(self.by)

    def grouped(self, by: Sequence[str]) -> pl.DataFrame:
        """Return the table by some of `by` alone.

        Where a group has one value, the interval is the task's own, if it has one: from `_low` and `_high` of the
        metric, or from its `_se`. Where it has several of one seed (of options that `by` leaves out), their mean is one
        value: tasks of one seed share their luck.
        """
        value = pl.col(self.metric).cast(pl.Float64).fill_nan(None)
        own = {f"own_{end}": self._own(end).filter(value.is_not_null()).first() for end in ("low", "high")}
        seed = pl.col(_SEED) if _SEED in self.rows.columns else pl.lit(0)
        seeds = self.rows.group_by(*by, seed.alias("of_seed")).agg(
            value.count().alias("tasks"), value.mean().alias("value"), **own
        )
        known = pl.col("value").is_not_null()
        aggregates = [
            pl.col("tasks").sum(),
            known.sum().alias("seeds"),
            pl.col("value").mean().alias("mean"),
            (pl.col("value").std() / known.sum().sqrt()).alias("se"),
            pl.col(*own).filter(known).first(),
        ]
        found = seeds.group_by(by).agg(aggregates) if by else seeds.select(aggregates)
        factors = [quantile(n - 1) if n > 1 and not self.overlapping else None for n in found["seeds"].to_list()]
        half = pl.col("se") * pl.Series(factors, dtype=pl.Float64)
        single = pl.col("tasks") == 1
        low, high = (
            pl.when(single).then(f"own_{end}").otherwise(pl.col("mean") + sign * half).alias(end)
            for end, sign in (("low", -1), ("high", 1))
        )
        found = found.select(*by, "tasks", "mean", "se", low, high)
        return found.sort(*by, nulls_last=True) if by else found

    @property
    def overlapping(self) -> bool:
        """Whether tasks of different seeds share draws: then they say nothing about how sure their mean is."""
        name, _ = KINDS[self.kind].seeds
        if _SEED in self.rows.columns and 0 < self.rows[_SEED].null_count() < len(self.rows):
            return True  # a seed that nobody gave may be one of the others
        if name not in self.rows.columns or _SEED not in self.rows.columns:
            return False
        seeds = sorted(self.rows[_SEED].drop_nulls().unique().to_list())
        return any(after - before < max(self.rows[name]) for before, after in pairwise(seeds))

    def _own(self, end: str) -> pl.Expr:
        """Return a task's own end of the interval: as it tells it, or from its standard error."""
        told, error = f"{self.metric.removesuffix('_mean')}_{end}", f"{self.metric}_se"
        if told in self.rows.columns:
            return pl.col(told).cast(pl.Float64)
        if error in self.rows.columns:
            return pl.col(self.metric) + (_TWO_SIDED_95 if end == "high" else -_TWO_SIDED_95) * pl.col(error)
        return pl.lit(None, dtype=pl.Float64)


def summaries(results: Results, metric: str | None = None) -> Iterator[Summary]:
    """Yield one summary per kind of task in a dataset.

    Args:
        results: The dataset.
        metric: The column to summarise; by default the one that the kind is about.

    Raises:
        ValueError: No kind has numbers in such a column.
    """
    table = results.table
    kinds = table["kind"].unique().sort().to_list() if len(table) else []
    parts = {kind: table.filter(kind=kind) for kind in kinds}
    numeric = {
        kind: [name for name, dtype in rows.schema.items() if dtype.is_numeric()] for kind, rows in parts.items()
    }
    if metric is not None and kinds and not any(metric in names for names in numeric.values()):
        known = sorted({name for names in numeric.values() for name in names})
        raise ValueError(f"metric must be one of {', '.join(known)}, got {metric!r}")
    for kind, rows in parts.items():
        chosen = metric or KINDS[kind].metric
        if chosen in numeric[kind]:
            options = [name for name in results.varied if name in rows.columns and name != _SEED]
            by = [name for name in options if rows[name].n_unique() > 1]
            # Files of one name that were changed between two sweeps.
            files = [(name, name + HASH) for name in options if name + HASH in rows.columns]
            by += [hashed for name, hashed in files if rows.select(name, hashed).n_unique() > rows[name].n_unique()]
            yield Summary(kind=kind, metric=chosen, by=(*by, *({"policy"} & set(rows.columns))), rows=rows)


def printed(summary: Summary) -> Table:
    """Return the table for a terminal: its first rows, if it is long."""
    found = summary.table
    rows = [
        [*(told(row[name]) for name in summary.by), f"{row['tasks']:,}", _with_interval(row)]
        for row in found.head(_MOST_ROWS).iter_rows(named=True)
    ]
    if len(found) > _MOST_ROWS:
        rows.append([f"... {len(found) - _MOST_ROWS:,} more", *[""] * (len(summary.by) + 1)])
    return terminal_table([*summary.by, "tasks", summary.metric], rows)


def told(value: object) -> str:
    """Return the value of an option as a cell or a label: of a path, the file's name; of a hash, its beginning."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str) and _HASHES.fullmatch(value):
        return " ".join(one[:8] for one in value.split())
    return str(value).rpartition("/")[2] if isinstance(value, str) and value.startswith("/") else str(value)


def _with_interval(row: dict[str, float | None]) -> str:
    mean, low, high = row["mean"], row["low"], row["high"]
    if mean is None or low is None or high is None:
        return number(mean, _digits(mean))
    half = (high - low) / 2
    if half >= 0.1 or half == 0:
        return plus_minus(mean, low, high)
    digits = 1 - math.floor(math.log10(half))
    return f"{number(mean, digits)} ±{number(half, digits)}"


def _digits(value: float | None) -> int | None:
    """Return how many decimals show four digits of a small number; None leaves it to `number`."""
    return 3 - math.floor(math.log10(abs(value))) if value and abs(value) < 1 else None
