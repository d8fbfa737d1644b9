"""How much of what a memory is worth on `MarketMakingAlpha-v0` an agent gets in a given CPU time."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from agents.ppo import DEFAULT_CONFIG, PPOConfig, one_thread
from agents.return_memory import playable
from hftgym import PRESETS
from hftgym.policies import OptimalPolicy
from hftgym.policies.recursion import solve, unseen
from hftgym.rollout import Predicts, rollout
from scripts.benchmarks.figure import Figure
from scripts.benchmarks.learning import FIRST_SEED, trained_for

ENV_ID, MARKET = "MarketMakingAlpha-v0", PRESETS["alpha"]
SEEDS = (0, 1, 2)
# recipe in agents/configs -> (CPU seconds, bar)
RECIPES = {"alpha_ppo": (60.0, 0.85), "alpha_lstm": (220.0, 0.80)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """What a policy is worth where returns predict returns.

    Attributes:
        share: (J - J_blind) / (J* - J_blind): 0 is the exact optimum of policies that ignore returns, 1 the exact one
            over the belief in the hidden regime.
        standard_error: Of `share`, from the episodes it was measured on.
        value: J, expected reward per episode in quote currency.
    """

    share: float
    standard_error: float
    value: float


def share_of(policy: Predicts, *, episodes: int = 20_000) -> Share:
    """Measure a policy against the belief optimum on the same random numbers."""
    best, blind = OptimalPolicy(MARKET), solve(unseen(MARKET)).optimum
    mine, theirs = (
        rollout(played, ENV_ID, episodes=episodes, seed=FIRST_SEED, params=MARKET).figures.j
        for played in (policy, best)
    )
    behind, gap = theirs - mine, best.optimum - blind
    return Share(
        share=1.0 - float(behind.mean()) / gap,
        standard_error=float(behind.std(ddof=1) / np.sqrt(episodes)) / gap,
        value=best.optimum - float(behind.mean()),
    )


def alpha_figures() -> Iterator[Figure]:
    """Yield the share of the belief optimum's gain for both recipes and every seed."""
    for name, (cpu_seconds, bar) in RECIPES.items():
        for seed in SEEDS:
            yield alpha_figure(name, cpu_seconds=cpu_seconds, seed=seed, bar=bar)


def alpha_figure(name: str, *, cpu_seconds: float, seed: int, bar: float) -> Figure:
    """Train a recipe of `agents/configs` for some CPU seconds and measure it."""
    config = dataclasses.replace(PPOConfig.from_toml(DEFAULT_CONFIG.with_name(f"{name}.toml")), seed=seed)
    model, cpu_s, _ = trained_for(config, cpu_seconds)
    with one_thread():
        found = share_of(playable(model))
    return Figure(
        name=f"{config.algo} on {ENV_ID} after {cpu_seconds:g} CPU s, seed {seed}",
        value=found.share,
        unit="of the belief optimum's gain",
        bar=bar,
        note=f"+-{2 * found.standard_error:.3f}; J {found.value:.2f}; "
        f"{model.num_timesteps / cpu_s / 1e3:.0f} k steps per CPU s; blind optimum 0, belief optimum 1",
    )
