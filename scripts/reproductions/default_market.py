"""The default market: what the best policies are worth there, exactly and simulated."""

from collections.abc import Iterator

import numpy as np

from hftgym import EnvParams
from hftgym.policies import CarteaJaimungalPolicy, GLFTPolicy, OptimalPolicy, ZScorePolicy
from hftgym.policies.avellaneda_stoikov import best_risk_aversion
from hftgym.policies.recursion import best_constant, best_linear_skew, quotes_of, value_of
from hftgym.progress import slow_bar
from hftgym.rollout import Figures, rollout
from scripts.reproductions.figures import SURE, Row, Section, Target, rounded
from scripts.reproductions.simulation import mean_and_error, std_and_error

_OTHER = "other code"
MARKET = EnvParams()


def sections(paths: int, seed: int) -> Iterator[Section]:
    """Yield the exact values, and what simulated episodes come to."""
    yield _exact()
    yield _simulated(max(paths // 10, 2), seed)


def _exact() -> Section:
    values = {
        "optimum": (OptimalPolicy(MARKET).optimum, 29.799),
        "best linear skew": (best_linear_skew(MARKET)[2], 29.794),
        "closed-form quotes (Cartea–Jaimungal)": (_worth(CarteaJaimungalPolicy(MARKET)), None),
        "GLFT": (_worth(GLFTPolicy(MARKET)), None),
        "A–S, best gamma, with time term": (best_risk_aversion(MARKET)[1], None),
        "A–S, best gamma, without time term": (best_risk_aversion(MARKET, time_term=False)[1], None),
        "best constant quote": (best_constant(MARKET)[1], 23.632),
    }
    rows = [
        Row(quantity=name, ours=ours, targets={} if theirs is None else {_OTHER: rounded(theirs)})
        for name, (ours, theirs) in values.items()
    ]
    return Section(title="Default market: exact J", rows=rows)


def _worth(policy: CarteaJaimungalPolicy | GLFTPolicy) -> float:
    return value_of(MARKET, *quotes_of(policy, MARKET))


def _simulated(episodes: int, seed: int) -> Section:
    players = {"optimum": OptimalPolicy(MARKET), "z-score rule": ZScorePolicy()}
    with slow_bar(len(players)) as bar:
        played: dict[str, Figures] = {
            name: rollout(policy, episodes=episodes, seed=seed, params=MARKET, on_tick=bar.part(name)).figures
            for name, policy in players.items()
        }
    best, taker = played["optimum"], played["z-score rule"]
    measured = [
        ("optimum: J", mean_and_error(best.j), OptimalPolicy(MARKET).optimum, 3),
        ("optimum: profit", mean_and_error(best.pnl), 30.5, 1),
        ("optimum: std of profit", std_and_error(best.pnl), 12.2, 1),
        ("optimum: RMS inventory", _rms(best), 1.9, 1),
        ("z-score rule: profit less price moves", mean_and_error(taker.pnl - taker.inventory_pnl), -5.53, 2),
        ("z-score rule: J", mean_and_error(taker.j), -18.5, 1),
        ("z-score rule: RMS inventory", _rms(taker), 8.0, 1),
    ]
    rows = [
        Row(
            quantity=name,
            ours=value,
            error=error,
            targets={
                "exact" if digits == 3 else _OTHER: Target(
                    value=theirs, band=SURE * error + 0.5 * 10.0**-digits, digits=digits
                )
            },
        )
        for name, (value, error), theirs, digits in measured
    ]
    return Section(title=f"Default market: {episodes:,} simulated episodes", rows=rows)


def _rms(figures: Figures) -> tuple[float, float]:
    """Return the root mean square inventory over all ticks, and its standard error."""
    mean, error = mean_and_error(np.square(figures.inventory_rms))
    return mean**0.5, error / (2 * mean**0.5)
