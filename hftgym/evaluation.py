"""Policies on equal seeds: a tidy table of episodes, its summary, and paired differences.

>>> from hftgym.evaluation import compare, evaluate, summarize
>>> from hftgym.policies import FixedSpreadPolicy, ZScorePolicy
>>> table = evaluate({"z-score": ZScorePolicy(), "fixed": FixedSpreadPolicy()}, episodes=100)
>>> summarize(table)["policy", "j_mean", "j_low", "j_high"].columns
['policy', 'j_mean', 'j_low', 'j_high']
>>> compare(table, baseline="z-score")["policy"].unique().to_list()
['fixed']
"""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

import polars as pl

from hftgym.params import EnvParams, as_params
from hftgym.progress import slow_bar
from hftgym.rollout import FIGURES, Predicts, Rollout, rollout
from hftgym.tables import print_table

__all__ = ["Exact", "compare", "criterion", "evaluate", "exact", "play", "print_table", "summarize", "tabulate"]

# Standard errors that no sample of the right market is away from its mean.
_CONTRADICTION = 8.0


class Exact(NamedTuple):
    """What is known of a market without playing it, in quote currency per episode."""

    optimum: float  # J* of the best policy that does not look at the price
    constant: float  # J of the best symmetric quote that never changes


def evaluate(
    policies: Mapping[str, Predicts],
    env_id: str = "MarketMaking-v0",
    *,
    episodes: int = 1_000,
    seed: int = 0,
    params: EnvParams | None = None,
) -> pl.DataFrame:
    """Play every policy on the same episodes and return one row per policy and episode.

    Args:
        policies: Name -> anything with Stable-Baselines3's `predict`.
        env_id: A registered market.
        episodes: Episodes per policy, at least 2; episode i has the seed `seed + i` for every policy.
        seed: Seed of the first episode.
        params: The market; None takes the id's own.

    Returns:
        The columns policy, seed and those of `hftgym.rollout.Figures` (float64, quote currency or units).

    Raises:
        ValueError: An argument is outside its range, or a policy misbehaves; the message names it.
        TypeError: A policy has no `predict`.
    """
    return tabulate(play(policies, env_id, episodes=episodes, seed=seed, params=params))


def play(
    policies: Mapping[str, Predicts],
    env_id: str = "MarketMaking-v0",
    *,
    episodes: int = 1_000,
    seed: int = 0,
    params: EnvParams | None = None,
    paths: int = 0,
) -> dict[str, Rollout]:
    """Like `evaluate`, but return the rollouts, with the paths of the first `paths` episodes, as plots need them."""
    if isinstance(episodes, bool) or not isinstance(episodes, int) or episodes < 2:
        raise ValueError(f"episodes must be an integer of at least 2 (a spread needs two), got {episodes!r}")
    if not isinstance(policies, Mapping) or not policies:
        raise ValueError(f"policies must be a mapping of at least one name to a policy, got {policies!r}")
    for name, policy in policies.items():
        if not callable(getattr(policy, "predict", None)):
            raise TypeError(f"policy {name!r} must have a method predict(observation, ...), got {policy!r}")
    played: dict[str, Rollout] = {}
    with slow_bar(len(policies)) as bar:
        for name, policy in policies.items():
            played[name] = rollout(
                policy,
                env_id,
                episodes=episodes,
                seed=seed,
                params=params,
                paths=paths,
                name=name,
                on_tick=bar.part(name),
            )
    return played


def tabulate(played: Mapping[str, Rollout]) -> pl.DataFrame:
    """Return one row per policy and episode, as `evaluate` does."""
    frames = [
        pl.DataFrame(
            {
                "policy": pl.repeat(name, len(one.seeds), eager=True),
                "seed": one.seeds,
                **{figure: getattr(one.figures, figure) for figure in FIGURES},
            }
        )
        for name, one in played.items()
    ]
    return pl.concat(frames)


def summarize(table: pl.DataFrame, *, params: EnvParams | None = None, optimal: str | None = None) -> pl.DataFrame:
    """Return one row per policy: every figure's mean, standard error, 95 % interval and standard deviation.

    With `params`, where the exact recursion covers the market, also J / J* and how much of the gap between the best
    constant quote and the optimum a policy closes: (J - J_const) / (J* - J_const), from the price-free J where the
    price is a martingale and from J where it is not. That needs the episodes to start at tick 0 without inventory, as
    `evaluate` plays them.

    Args:
        table: From `evaluate`.
        params: The market that the table comes from.
        optimal: Name of the policy in the table that is the exact optimum (`OptimalPolicy`), if it was played. Its J
            is known, so that its luck can be taken from the others' (a control variate): the interval of the gap
            becomes several times narrower.

    Returns:
        The columns policy, episodes, `{figure}_{mean,se,low,high,std}` for every figure, j_optimal, j_constant,
        j_share (J / J*, from the same J as the gap) and gap_closed with _se, _low and _high, null where the truth is
        not known or there is nothing to earn or to close, and unknown_because, which says why it is not known.

    Raises:
        ValueError: The table is not one of `evaluate`'s, a policy has fewer than 2 episodes, or there is no policy
            of the name `optimal`.
    """
    _check(table)
    truth = None if params is None else exact(params)
    table = _with_luck_removed(table.with_columns(pl.col(criterion(params)).alias("value")), optimal, truth)
    moments = [
        moment.alias(f"{figure}_{name}")
        for figure in (*FIGURES, "value")
        for name, moment in (("mean", pl.col(figure).mean()), ("std", pl.col(figure).std()))
    ]
    summary = table.group_by("policy", maintain_order=True).agg(pl.len().cast(pl.Int64).alias("episodes"), *moments)
    for figure in (*FIGURES, "value"):
        summary = _with_interval(summary, figure)
    unknown = None if truth is not None else why_unknown(params)
    summary = summary.with_columns(pl.lit(unknown, dtype=pl.String).alias("unknown_because"))
    return _with_gap(summary, truth).select(
        "policy",
        "episodes",
        *(f"{figure}_{name}" for figure in FIGURES for name in ("mean", "se", "low", "high", "std")),
        *("j_optimal", "j_constant", "j_share", "gap_closed", "gap_closed_se", "gap_closed_low", "gap_closed_high"),
        "unknown_because",
    )


def compare(
    table: pl.DataFrame, baseline: str, *, figures: Sequence[str] = ("j", "price_free", "pnl", "inventory_rms")
) -> pl.DataFrame:
    """Return the paired differences policy - baseline, episode by episode on equal seeds.

    Args:
        table: From `evaluate`.
        baseline: The policy that the others are compared with.
        figures: Which figures to compare.

    Returns:
        One row per other policy and figure: policy, baseline, figure, episodes, difference (mean), se, low and high
        (95 %), std, and z = difference / se (null where all differences are equal).

    Raises:
        ValueError: The baseline or a figure is not in the table, or a policy was not played on the baseline's seeds.
    """
    _check(table)
    names = table["policy"].unique(maintain_order=True).to_list()
    if baseline not in names:
        raise ValueError(f"baseline must be one of {', '.join(names)}, got {baseline!r}")
    if wrong := [figure for figure in figures if figure not in FIGURES]:
        raise ValueError(f"figures must be among {', '.join(FIGURES)}, got {wrong[0]!r}")
    if not table.height == table.n_unique(["policy", "seed"]) == table.n_unique("seed") * len(names):
        raise ValueError("every policy must have been played on the same seeds, once each")
    reference = table.filter(pl.col("policy") == baseline).select("seed", *figures)
    others = table.filter(pl.col("policy") != baseline)
    pairs = others.join(reference, on="seed", how="inner", suffix="_baseline", maintain_order="left")
    rows = [
        pairs.group_by("policy", maintain_order=True).agg(
            pl.lit(baseline).alias("baseline"),
            pl.lit(figure).alias("figure"),
            pl.len().cast(pl.Int64).alias("episodes"),
            (pl.col(figure) - pl.col(f"{figure}_baseline")).mean().alias("difference_mean"),
            (pl.col(figure) - pl.col(f"{figure}_baseline")).std().alias("difference_std"),
        )
        for figure in figures
    ]
    differences = _with_interval(pl.concat(rows), "difference").rename(
        {"difference_mean": "difference", **{f"difference_{x}": x for x in ("se", "low", "high", "std")}}
    )
    order = {name: place for place, name in enumerate(names)}
    return (
        differences.with_columns(pl.when(pl.col("se") > 0).then(pl.col("difference") / pl.col("se")).alias("z"))
        .sort(pl.col("policy").replace_strict(order, return_dtype=pl.Int64), maintain_order=True)
        .select("policy", "baseline", "figure", "episodes", "difference", "se", "low", "high", "std", "z")
    )


def criterion(params: EnvParams | None) -> str:
    """Return the figure of an episode whose mean is J with the least noise: "price_free" on a martingale, else "j"."""
    clean = params is None or (params.is_martingale and params.reward == "pnl")
    return "price_free" if clean else "j"


def exact(params: EnvParams | None = None) -> Exact | None:
    """Return the exact J* and the exact J of the best constant quote, or None where the recursion does not apply."""
    from hftgym.policies import OptimalPolicy, recursion  # compiles the recursion: only for those who ask

    market = as_params(params)
    try:
        # Showing no quote is a constant quote too.
        constant = max(0.0, recursion.best_constant(recursion.unseen(market))[1])
        return Exact(OptimalPolicy(market).optimum, constant)
    except ValueError:  # it says so of every market that it does not cover
        return None


def why_unknown(params: EnvParams | None) -> str:
    """Return the sentence that says why `exact` knows nothing of a market; None is a market that was not given."""
    from hftgym.policies import OptimalPolicy

    if params is None:
        return "no market was given"
    try:
        OptimalPolicy(params)
    except ValueError as error:
        return str(error)
    return "no quote that never changes can be valued in it"


def quantile(freedom: int, probability: float = 0.975) -> float:
    """Return a quantile of Student's t distribution, to 0.2 % (Hill's expansion; exact for 1 and 2 degrees)."""
    if freedom == 1:
        return math.tan(math.pi * (probability - 0.5))
    if freedom == 2:
        return (2 * probability - 1) * math.sqrt(2 / (4 * probability * (1 - probability)))
    z, n = NormalDist().inv_cdf(probability), freedom
    return z + (
        (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * n**4)
    )


def _check(table: pl.DataFrame) -> None:
    """Raise unless this is a table of episodes with at least two per policy."""
    missing = [name for name in ("policy", "seed", *FIGURES) if name not in table.columns]
    if missing:
        raise ValueError(f"table must have the columns of evaluate(); it lacks {', '.join(missing)}")
    counts = table.group_by("policy").len().filter(pl.col("len") < 2)
    if table.is_empty() or counts.height:
        raise ValueError("table must have at least 2 episodes of every policy")


def _with_interval(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Add standard error and 95 % interval to the columns {name}_mean and {name}_std, from `episodes`."""
    half = pl.Series("half", [quantile(count - 1) for count in frame["episodes"].to_list()], dtype=pl.Float64)
    mean, error = pl.col(f"{name}_mean"), pl.col(f"{name}_std") / pl.col("episodes").sqrt()
    return frame.with_columns(
        error.alias(f"{name}_se"),
        (mean - half * error).alias(f"{name}_low"),
        (mean + half * error).alias(f"{name}_high"),
    )


def _with_luck_removed(table: pl.DataFrame, optimal: str | None, truth: Exact | None) -> pl.DataFrame:
    """Take from the column `value` what the optimum had above its known mean on the same seed."""
    if optimal is None or truth is None:
        return table
    luck = (pl.col("value") - truth.optimum).alias("luck")
    lucks = table.filter(pl.col("policy") == optimal).select("seed", luck)
    joined = table.join(lucks, on="seed", how="left", maintain_order="left")
    if joined.height != table.height or joined["luck"].null_count():
        raise ValueError(f"optimal must be a policy that was played once on every seed of the table, got {optimal!r}")
    _check_truth(lucks["luck"], truth)
    return joined.with_columns((pl.col("value") - pl.col("luck")).alias("value"))


def _check_truth(luck: pl.Series, truth: Exact) -> None:
    """Raise if what the optimum earned contradicts what it is known to earn on average."""
    values = luck.to_numpy()
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(values.size)
    if error > 0 and abs(mean) > _CONTRADICTION * error:
        raise ValueError(
            f"the optimum's J must be {truth.optimum:.3f} on average in this market, got {truth.optimum + mean:.3f} "
            f"with a standard error of {error:.2g}: the table or the policy is of another market"
        )


def _with_gap(summary: pl.DataFrame, truth: Exact | None) -> pl.DataFrame:
    """Add what is known exactly, and the share of the gap between constant quote and optimum that is closed."""
    optimum, constant = truth if truth is not None else (None, None)
    summary = summary.with_columns(
        pl.lit(optimum, dtype=pl.Float64).alias("j_optimal"), pl.lit(constant, dtype=pl.Float64).alias("j_constant")
    )
    gap = pl.col("j_optimal") - pl.col("j_constant")
    gap = pl.when(gap > 0).then(gap)  # where a constant quote is the optimum there is no gap to close
    return summary.with_columns(
        pl.when(pl.col("j_optimal") > 0).then(pl.col("value_mean") / pl.col("j_optimal")).alias("j_share"),
        (pl.col("value_se") / gap).alias("gap_closed_se"),
        *(
            ((pl.col(f"value_{moment}") - pl.col("j_constant")) / gap).alias(f"gap_closed{suffix}")
            for suffix, moment in (("", "mean"), ("_low", "low"), ("_high", "high"))
        ),
    )
