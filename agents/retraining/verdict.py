"""Challenger against champion: the same held-out episodes for both, one paired test, one decision.

The null hypothesis is "the challenger is not better". It is promoted if the mean of the paired differences of J lies
more than z(level) standard errors above zero, and, where there are held-out ticks, not more than z(level) below zero
there (a veto: minutes of ticks can show harm, hardly ever an advantage). An equal challenger is promoted with a
probability of at most `level` per comparison: over n weeks expect level * n such promotions, which cost nothing in the
mean, since equals change places.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl

from hftgym.backtest import backtest
from hftgym.evaluation import compare, criterion, evaluate, quantile, summarize
from hftgym.params import EnvParams
from hftgym.rollout import Predicts
from hftgym.tape import Tape
from hftgym.tape.measure import tick_times

CHAMPION, CHALLENGER = "champion", "challenger"
FEWEST_EPISODES = 100  # below, the differences' mean is not normal enough for the level to hold
_BLOCKS = 20  # parts of the held-out ticks whose sums are taken as independent
FEWEST_TICKS = 10 * _BLOCKS


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Challenger less champion, quote currency: per episode, or per block of recorded ticks.

    Attributes:
        n: How many differences.
        difference: Their mean.
        se: Its standard error.
        low: Lower end of the 95 % interval (two-sided).
        high: Upper end.
        z: difference / se, None where all differences are equal.
    """

    n: int
    difference: float
    se: float
    low: float
    high: float
    z: float | None

    @classmethod
    def of(cls, differences: np.ndarray) -> Self:
        """Return the test of differences, float64 (n,), n >= 2."""
        n, mean, se = (
            len(differences),
            float(differences.mean()),
            float(differences.std(ddof=1) / len(differences) ** 0.5),
        )
        half = quantile(n - 1) * se
        return cls(n=n, difference=mean, se=se, low=mean - half, high=mean + half, z=mean / se if se > 0 else None)


@dataclass(frozen=True, kw_only=True)
class Score:
    """What one of the two earned on the held-out episodes.

    Attributes:
        j: Mean of the compared figure (`hftgym.evaluation.criterion`) per episode, quote currency.
        j_se: Its standard error.
        j_share: J / J*, None where the optimum is not known.
        gap_closed: Share of the way from the best constant quote to the optimum, likewise.
    """

    j: float
    j_se: float
    j_share: float | None
    gap_closed: float | None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The comparison and the decision.

    Attributes:
        better: Whether the challenger is to be promoted.
        reason: Why, in one sentence.
        level: Probability of promoting an equal challenger.
        threshold: z that belongs to it.
        figure: What was compared on the episodes: J, or J without the price term where that is mere noise.
        episodes: The test on held-out episodes.
        ticks: The test on held-out ticks, or None.
        champion: Its score; challenger: likewise.
    """

    better: bool
    reason: str
    level: float
    threshold: float
    figure: str
    episodes: Paired
    ticks: Paired | None
    champion: Score
    challenger: Score

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return dataclasses.asdict(self)


def judge(
    champion: Predicts,
    challenger: Predicts,
    *,
    env_id: str,
    params: EnvParams,
    episodes: int,
    seed: int,
    level: float,
    held_out: Tape | None = None,
) -> Verdict:
    """Compare on the episodes with the seeds `seed` and up, and on recorded ticks if there are any.

    Args:
        champion: The agent in place.
        challenger: The new one.
        env_id: Their environment.
        params: The market.
        episodes: How many, at least 100.
        seed: Of the first one.
        level: Probability of promoting a challenger that is no better, 1e-15 to below 0.5.
        held_out: Ticks that nothing was measured or trained on.

    Raises:
        ValueError: An argument is outside its range.
    """
    threshold = threshold_of(level, max(episodes, FEWEST_EPISODES))
    if episodes < FEWEST_EPISODES:
        raise ValueError(f"episodes must be at least {FEWEST_EPISODES} for the level to hold, got {episodes}")
    players = {CHAMPION: champion, CHALLENGER: challenger}
    table = evaluate(players, env_id, episodes=episodes, seed=seed, params=params)
    figure = criterion(params)
    row = compare(table, CHAMPION, figures=[figure]).row(0, named=True)
    test = Paired(n=episodes, **{key: row[key] for key in ("difference", "se", "low", "high", "z")})
    ticks = None if held_out is None else on_ticks(champion, challenger, held_out, params=params)
    better, reason = decide(test, ticks, level)
    scores = _scores(table, params)
    return Verdict(
        better=better,
        reason=reason,
        level=level,
        threshold=threshold,
        figure=figure,
        episodes=test,
        ticks=ticks,
        champion=scores[CHAMPION],
        challenger=scores[CHALLENGER],
    )


def score(policy: Predicts, *, env_id: str, params: EnvParams, episodes: int, seed: int) -> Score:
    """Return what one agent earns on the episodes with the seeds `seed` and up."""
    return _scores(evaluate({CHALLENGER: policy}, env_id, episodes=episodes, seed=seed, params=params), params)[
        CHALLENGER
    ]


def threshold_of(level: float, n: int) -> float:
    """Return the z of n differences above which a challenger counts as better: a quantile of Student's t.

    Raises:
        ValueError: The level is not from 1e-15 to below 0.5.
    """
    if not 1e-15 <= level < 0.5:
        raise ValueError(f"level must be at least 1e-15 and below 0.5, got {level!r}")
    return quantile(n - 1, 1 - level)


def decide(episodes: Paired, ticks: Paired | None, level: float) -> tuple[bool, str]:
    """Return whether the challenger is better, and why."""
    threshold = threshold_of(level, episodes.n)
    if episodes.z is None:
        return False, "both did the same in every episode"
    said = f"z = {episodes.z:+.2f} on {episodes.n:,} held-out episodes, {threshold:.2f} is needed"
    if not episodes.z > threshold:  # NaN too
        return False, f"not shown to be better: {said}"
    if ticks is not None and ticks.z is not None and not ticks.z >= -threshold_of(level, ticks.n):
        return False, f"better in the simulation ({said}) but worse on the held-out ticks: z = {ticks.z:+.2f}"
    return True, f"better: {said}"


def on_ticks(champion: Predicts, challenger: Predicts, tape: Tape, *, params: EnvParams) -> Paired:
    """Return the paired test of the rewards on recorded ticks, both agents from the first to the last one.

    The rewards of neighbouring ticks hang together; those of 20 long blocks hardly do (batch means).

    Raises:
        ValueError: The tape has fewer than 200 ticks of `params.tick_s`.
    """
    count = check_ticks(tape, tick_s=params.tick_s, name="held-out")
    whole = dataclasses.replace(params, horizon=count)
    rewards = [backtest(policy, tape, whole).reward for policy in (challenger, champion)]
    difference = rewards[0] - rewards[1]
    return Paired.of(np.array([block.sum() for block in np.array_split(difference, _BLOCKS)]))


def check_ticks(tape: Tape, *, tick_s: float, name: str, fewest: int = FEWEST_TICKS) -> int:
    """Return how many ticks of `tick_s` seconds a tape has.

    Raises:
        ValueError: They are fewer than `fewest`; the message calls them by `name`.
    """
    try:
        count = len(tick_times(tape, tick_s)) - 1
    except ValueError:  # shorter than one tick
        count = 0
    if count < fewest:
        raise ValueError(f"the {name} ticks must be at least {fewest} of {tick_s:g} s, got {count}: record more")
    return count


def _scores(table: pl.DataFrame, params: EnvParams) -> dict[str, Score]:
    figure = criterion(params)
    return {
        row["policy"]: Score(
            j=row[f"{figure}_mean"], j_se=row[f"{figure}_se"], j_share=row["j_share"], gap_closed=row["gap_closed"]
        )
        for row in summarize(table, params=params).iter_rows(named=True)
    }
