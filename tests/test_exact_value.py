"""The value on price paths is that of the recursion, and that of played episodes."""

import numpy as np
import pytest

from hftgym import PRESETS, EnvParams
from hftgym.exact_value import PricePaths, paths_for
from hftgym.observation import FEATURE_NAMES
from hftgym.policies import FixedSpreadPolicy, OptimalPolicy
from hftgym.policies.recursion import quotes_of, value_of
from hftgym.rollout import rollout

MARKET = EnvParams(horizon=60, window=12, inventory_limit=3)


class Reacts:
    """Looks at everything: quotes lean on the z-score and on the last fills, cross here and withdraw there."""

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        see = dict(zip(FEATURE_NAMES, np.moveaxis(np.asarray(observation), -1, 0), strict=True))
        lean = 0.3 * see["inventory"] + 0.8 * see["zscore"] + 0.2 * see["bid_fill"] - 0.3 * see["ask_fill"]
        bid, ask = -0.4 + lean, -0.3 - lean + 0.1 * see["time_left"]
        bid = np.where(see["momentum"] > 0.3, 1.0, bid)
        ask = np.where(see["last_return"] > 0.3, -1.0, ask)
        return np.clip(np.stack([bid, ask], axis=-1), -1, 1).astype(np.float32), state


@pytest.mark.parametrize("params", [MARKET, EnvParams(horizon=40, fill_model="linear", arrival_intensity=0.8)])
def test_what_looks_at_inventory_and_time_alone_has_the_recursion_s_value_on_every_path(params):
    paths = PricePaths.drawn(params, paths=3, seed=5)
    for policy in (OptimalPolicy(params), FixedSpreadPolicy(1.5, params=params)):
        exact = value_of(params, *quotes_of(policy, params))
        np.testing.assert_allclose(paths.values(policy), exact, rtol=0, atol=2e-6)


def test_what_looks_at_everything_has_the_value_of_played_episodes():
    value, error = PricePaths.drawn(MARKET, paths=400, seed=9).value(Reacts())
    played = rollout(Reacts(), episodes=20_000, seed=10_000, params=MARKET).figures.price_free
    both = np.hypot(error, played.std(ddof=1) / np.sqrt(played.size))
    assert abs(value - played.mean()) < 4 * both
    assert error < 0.7 * played.std(ddof=1) / np.sqrt(400)


def test_fills_of_the_last_tick_are_seen():
    class Shy(Reacts):
        def predict(self, observation, state=None, episode_start=None, deterministic=True):
            filled = np.asarray(observation)[..., FEATURE_NAMES.index("bid_fill")] > 0
            action = np.where(filled, 1.0, -0.5)
            return np.stack([action, action], axis=-1).astype(np.float32), state

    value, error = PricePaths.drawn(MARKET, paths=2).value(Shy())
    played = rollout(Shy(), episodes=20_000, seed=1, params=MARKET).figures.price_free
    assert error == pytest.approx(0.0, abs=1e-12)
    assert abs(value - played.mean()) < 4 * played.std(ddof=1) / np.sqrt(played.size)


def test_a_market_that_is_not_covered_is_refused_or_none():
    with pytest.raises(ValueError, match="trade_through"):
        PricePaths.drawn(EnvParams(trade_through=True))
    assert paths_for(PRESETS["adverse"], ticks=100, env_id="MarketMakingAdverse-v0", seed=0) is None
    with pytest.raises(ValueError, match="paths must be at least 1, got 0"):
        PricePaths.drawn(MARKET, paths=0)
    found = paths_for(MARKET, ticks=600, env_id="MarketMaking-v0", seed=0)
    assert found is not None
    assert found.observations.shape == (60, 10, 8)
