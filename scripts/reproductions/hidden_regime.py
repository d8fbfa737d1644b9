"""`MarketMakingAlpha-v0`: what a policy that remembers returns can earn, exactly and simulated."""

from collections.abc import Iterator

from hftgym import PRESETS
from hftgym.policies import OptimalPolicy
from hftgym.policies.recursion import best_constant, solve, unseen
from hftgym.progress import slow_bar
from hftgym.rollout import rollout
from scripts.reproductions.figures import SURE, Row, Section, Target
from scripts.reproductions.simulation import mean_and_error

MARKET = PRESETS["alpha"]
_OTHER = "other code"


def sections(paths: int, seed: int) -> Iterator[Section]:
    """Yield the exact values, and what the optimum earns in simulated episodes."""
    episodes = max(paths // 5, 2)
    best = OptimalPolicy(MARKET)
    with slow_bar(1) as bar:
        figures = rollout(best, episodes=episodes, seed=seed, params=MARKET, on_tick=bar.part("optimum")).figures
    mean, error = mean_and_error(figures.j)
    rows = [
        # The other code interpolates the value linearly in the belief, which lies above a convex function.
        Row(quantity="optimum over the belief", ours=best.optimum, targets={_OTHER: Target(value=68.5, band=0.2)}),
        Row(
            quantity="best that ignores returns",
            ours=solve(unseen(MARKET)).optimum,
            targets={_OTHER: Target(value=56.4, band=0.2, digits=1)},
        ),
        Row(quantity="best constant quote", ours=best_constant(unseen(MARKET))[1]),
        Row(
            quantity=f"optimum in {episodes:,} episodes",
            ours=mean,
            error=error,
            targets={"exact": Target(value=best.optimum, band=SURE * error)},
        ),
    ]
    yield Section(title="Hidden regime: drift of 0.5 standard deviations per tick, switching 0.02", rows=rows)
