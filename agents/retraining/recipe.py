"""What a retraining does, when it is due, and which seeds it uses."""

import dataclasses
from dataclasses import dataclass
from datetime import datetime

from agents.ppo import PPOConfig, check_deployable
from agents.retraining.market import Market
from agents.retraining.record import Period, Record
from agents.retraining.verdict import FEWEST_EPISODES, check_ticks, threshold_of

# Training uses seeds below 2^32 + 2^20; these are far above, and every entry of a folder has its own.
FIRST_HELD_OUT = 2**40
MOST_EPISODES = 2**24
# Rewards that teach to foresee prices where that can be done.
_SEES_PRICES = ("raw", "innovation_free")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a retraining does.

    Attributes:
        config: How to train. Its seed is that of the first run; its market is replaced by `market`.
        market: Where to train and to compare.
        episodes: Held-out episodes of the comparison, 100 to 2^24.
        level: Probability of promoting a challenger that is no better, 1e-15 to below 0.5.
        period: How often a training is due: once per ISO week or per day, in UTC.
        warm_start: Start from the champion's weights, with the exploration of a fresh agent.
        force: Train although it has been done in this period.

    Raises:
        ValueError: A value is outside its range, the configuration learns from a reward that is wrong in the market,
            its agents could not be deployed, or there are too few held-out ticks.
    """

    config: PPOConfig
    market: Market
    episodes: int = 4_000
    level: float = 0.01
    period: Period = "week"
    warm_start: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        """Check what a training of minutes would otherwise be wasted on."""
        threshold_of(self.level, FEWEST_EPISODES)
        if not FEWEST_EPISODES <= self.episodes <= MOST_EPISODES:
            raise ValueError(f"episodes must be from {FEWEST_EPISODES} to {MOST_EPISODES:,}, got {self.episodes}")
        if self.config.training_reward not in _SEES_PRICES and not self.market.params.is_martingale:
            raise ValueError(
                f"training_reward must be 'raw' or 'innovation_free' in the configuration: prices can be predicted in "
                f"{self.market.source}, got {self.config.training_reward!r}"
            )
        check_deployable(self.market.params)
        if self.market.held_out is not None:
            check_ticks(self.market.held_out, tick_s=self.market.params.tick_s, name="held-out")

    def config_of(self, number: int) -> PPOConfig:
        """Return the configuration of the run that makes entry `number`: its market, and seeds of its own."""
        seed = (self.config.seed + (number - 1) * self.config.num_envs) % 2**32
        return dataclasses.replace(self.config, params=self.market.params, seed=seed)


def period_of(now: datetime, period: Period) -> str:
    """Return the name of the period that a UTC time lies in: "2026-W47" or "2026-11-21"."""
    if period == "day":
        return now.date().isoformat()
    year, week, _ = now.isocalendar()
    return f"{year}-W{week:02d}"


def done_in(period: str, records: list[Record]) -> Record | None:
    """Return the newest entry that settles a period, if there is one."""
    return next((record for record in reversed(records) if record.period == period), None)


def held_out_seed(number: int) -> int:
    """Return the first seed of the comparison that entry `number` records: of no training, and of no other entry."""
    return FIRST_HELD_OUT + number * MOST_EPISODES
