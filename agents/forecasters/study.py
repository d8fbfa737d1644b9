"""Forecasters on the same series: trained and scored walk-forward, over several seeds, as a table.

The standard error of an accuracy is that of the means of blocks of 100 ticks, because hits come in clusters where the
market can be predicted; where nothing can, it equals the binomial one.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from agents.forecasters.models import Forecaster
from agents.forecasters.splits import Split, check_splits, walk_forward

# Standard errors around 50 % in which an accuracy shows nothing: several forecasters are looked at, not one.
SURE = 4.0
_BLOCK = 100
_LEAST_BLOCKS = 20
_SURE_PROBA = 1e-6
_TIMED_CALLS = 300
# Log-loss of a filter that always says 1/2, less rounding.
_KNOWS_NOTHING = math.log(2.0) - 1e-9


class Series(Protocol):
    """What can be forecast: `feeds.Feed` or `bars.Bars`."""

    @property
    def name(self) -> str:
        """For tables."""
        ...

    @property
    def embargo(self) -> int:
        """Ticks between training and test."""
        ...

    @property
    def labels(self) -> NDArray[np.int8]:
        """(P, T): +1, -1, or 0 for ticks that are neither trained nor scored on."""
        ...

    def references(self) -> dict[str, NDArray[np.float64]]:
        """P(up) (P T,) of what needs no training; rules that say a direction and no probability give 0 or 1."""
        ...

    def examples(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(X, y) of ticks with a label."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """What came out.

    Attributes:
        runs: One row per forecaster, seed and fold: forecaster, seed, fold, trained, ticks, accuracy, error (of the
            accuracy), log_loss (null for a rule), train_cpu_s and inference_us (null for what is not trained).
        series: What the first seed was trained on.
        fitted: The forecasters of the first seed and fold, by name.
        moving: Share of the ticks that have a label.
        fresh_data: Whether every seed has data of its own.
    """

    runs: pl.DataFrame
    series: Series
    fitted: Mapping[str, Forecaster]
    moving: float
    fresh_data: bool


def study(
    series: Callable[[int], Series],
    makers: Mapping[str, Callable[[int], Forecaster]],
    *,
    seeds: int = 1,
    folds: int = 1,
    fresh_data: bool = True,
    on_part: Callable[[str], None] = lambda name: None,
) -> Study:
    """Train and score every forecaster.

    Args:
        series: Seed -> series; called once if not `fresh_data`.
        makers: Name -> seed -> untrained forecaster.
        seeds: How many, at least 1.
        folds: Tests that the later half of the ticks is cut into; each is trained on everything before it.
        fresh_data: Whether `series` gives new data for every seed.
        on_part: Told the name of every part before it begins.

    Raises:
        ValueError: An argument is outside its range, or the series is too short.
        LookAheadError: A split would let a forecaster see its test.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    rows: list[dict[str, object]] = []
    fitted: dict[str, Forecaster] = {}
    first, moving = series(0), []
    for seed in range(seeds):
        one = series(seed) if seed and fresh_data else first
        moving.append(float((one.labels != 0).mean()))
        splits = walk_forward(one.labels.size, folds=folds, embargo=one.embargo)
        check_splits(splits, embargo=one.embargo)
        for fold, split in enumerate(splits):
            where = {"seed": seed, "fold": fold}
            trained = _trained_on(one, split, makers, where, rows, on_part)
            fitted = fitted or trained
    share = float(np.mean(moving))
    return Study(runs=pl.DataFrame(rows), series=first, fitted=fitted, moving=share, fresh_data=fresh_data)


def _trained_on(
    series: Series,
    split: Split,
    makers: Mapping[str, Callable[[int], Forecaster]],
    where: dict[str, int],
    rows: list[dict[str, object]],
    on_part: Callable[[str], None],
) -> dict[str, Forecaster]:
    """Train and score on one split; append the rows and return the forecasters."""
    train, test = (ticks[series.labels.ravel()[ticks] != 0] for ticks in (split.train, split.test))
    if not (train.size and test.size):
        raise ValueError(f"{series.name}: {train.size} ticks to train on and {test.size} to test on have a label")
    X, y = series.examples(train)
    X_test, y_test = series.examples(test)
    for name, proba in series.references().items():
        rows.append({"forecaster": name, **where, "trained": 0, **score(proba[test], y_test), **_UNTRAINED})
    fitted: dict[str, Forecaster] = {}
    for name, make in makers.items():
        on_part(name)
        forecaster = make(where["seed"])
        began = time.process_time()
        forecaster.fit(X, y)
        cost = {"train_cpu_s": time.process_time() - began, "inference_us": _inference_us(forecaster, X_test)}
        rows.append({"forecaster": name, **where, "trained": len(y), **score(forecaster.proba(X_test), y_test), **cost})
        fitted[name] = forecaster
    return fitted


_UNTRAINED: dict[str, float | None] = {"train_cpu_s": None, "inference_us": None}


def score(proba: NDArray[np.float64], y: NDArray[np.float32]) -> dict[str, float | int | None]:
    """Return ticks, accuracy, its standard error and log-loss of P(up) (n,) against what came, y (n,)."""
    hits = (proba >= 0.5) == (y > 0.5)
    hard = np.isin(proba, (0.0, 1.0)).all()
    p = np.clip(proba, _SURE_PROBA, 1.0 - _SURE_PROBA)
    loss = None if hard else float(-np.mean(np.where(y > 0.5, np.log(p), np.log1p(-p))))
    return {"ticks": len(y), "accuracy": float(hits.mean()), "error": clustered_error(hits), "log_loss": loss}


def clustered_error(hits: NDArray[np.bool_]) -> float:
    """Return the standard error of the mean of hits (n,) in the order of time, from the means of blocks."""
    block = max(1, min(_BLOCK, len(hits) // _LEAST_BLOCKS))
    means = hits[: len(hits) // block * block].reshape(-1, block).mean(axis=1)
    return float(means.std(ddof=1) / math.sqrt(len(means))) if len(means) > 1 else math.nan


def _inference_us(forecaster: Forecaster, X: NDArray[np.float32]) -> float:
    """Return the median time of one forecast in microseconds."""
    times = []
    for i in range(_TIMED_CALLS):
        row = X[i % len(X)][None]
        began = time.perf_counter_ns()
        forecaster.proba(row)
        times.append(time.perf_counter_ns() - began)
    return float(np.median(times)) / 1e3


def summary(result: Study) -> pl.DataFrame:
    """Return one row per forecaster, pooled over seeds and folds.

    Seeds with data of their own make the error smaller; seeds on the same data do not, folds do in both cases.

    Returns:
        forecaster, trained, ticks, accuracy, error, sigmas ((accuracy - 1/2) / error), log_loss, edge (the share of the
        Bayes filter's accuracy above 1/2, null where that is unknown or nothing), train_cpu_s, inference_us.
    """
    ticks = pl.col("ticks")
    weighted = [(pl.col(x) * ticks).sum() / ticks.sum() for x in ("accuracy", "log_loss")]
    squares = (pl.col("error") * ticks).pow(2)
    # On the same data the seeds' errors are one error: its mean square per fold.
    total = squares.sum() if result.fresh_data else squares.sum() * pl.col("seed").n_unique()
    table = result.runs.group_by("forecaster", maintain_order=True).agg(
        pl.col("trained").max(),
        (ticks.sum() if result.fresh_data else ticks.sum() // pl.col("seed").n_unique()).alias("tested"),
        weighted[0],
        (total.sqrt() / ticks.sum()).alias("error"),
        pl.when(pl.col("log_loss").null_count() == 0).then(weighted[1]).alias("log_loss"),
        pl.col("train_cpu_s", "inference_us").median(),
    )
    bayes = table.filter((pl.col("forecaster") == "Bayes filter") & (pl.col("log_loss") < _KNOWS_NOTHING))
    best = float(bayes["accuracy"][0]) - 0.5 if bayes.height else None
    edge = pl.lit(None, pl.Float64) if best is None else (pl.col("accuracy") - 0.5) / best
    return table.rename({"tested": "ticks"}).with_columns(
        ((pl.col("accuracy") - 0.5) / pl.col("error")).alias("sigmas"), edge.alias("edge")
    )


def verdict(table: pl.DataFrame) -> str:
    """Return what a summary shows, in plain sentences."""
    trained = table.filter(pl.col("train_cpu_s").is_not_null() & (pl.col("forecaster") != "constant"))
    seen = trained.filter(pl.col("sigmas") > SURE).sort("accuracy", descending=True)
    if seen.is_empty():
        smallest = 100 * SURE * float(trained["error"].min())  # pyright: ignore[reportArgumentType]
        within = (trained["sigmas"].abs() <= SURE).all()
        found = f"every forecaster is within {SURE:g} standard errors of 50 %"
        found = found if within else f"no forecaster is more than {SURE:g} standard errors above 50 %"
        return (
            f"Nothing to see: {found}. (An advantage of less than {smallest:.1f} points could not be seen in "
            f"{trained['ticks'].max():,} ticks.)"
        )
    best = seen.row(0, named=True)
    text = f"The direction can be forecast: {best['forecaster']} is right in {100 * best['accuracy']:.2f} % of ticks, "
    text += f"{best['sigmas']:.0f} standard errors above 50 %."
    linear = trained.filter(pl.col("forecaster") == "linear")
    if linear.is_empty():
        return text
    behind = best["accuracy"] - linear["accuracy"][0]
    return f"{text} The linear model is " + (f"{100 * behind:.2f} points behind." if behind else "the best.")
