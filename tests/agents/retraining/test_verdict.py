"""Equals are promoted as rarely as promised, better ones are promoted, worse ones are not."""

import math

import numpy as np
import pytest

from agents.retraining.verdict import Paired, decide, judge, on_ticks
from hftgym import EnvParams
from hftgym.evaluation import compare, evaluate
from hftgym.policies import FixedSpreadPolicy, LinearSkewPolicy, Policy, RandomPolicy

# An arithmetic price is symmetric: what is done on the bid is worth as much as the same done on the ask.
MARKET = EnvParams(price_model="arithmetic", horizon=40, window=12)
BLOCK = 100


class Constant(Policy):
    """Quotes the same two offsets for ever."""

    def __init__(self, bid, ask):
        self.action = np.array([bid, ask], dtype=np.float32)

    def actions(self, observations):
        return np.tile(self.action, (len(observations), 1))


def test_equals_are_promoted_at_the_stated_rate():
    # Mirror images of each other: equal in the mean by symmetry, different in every episode.
    players = {"champion": Constant(-0.2, 0.3), "challenger": Constant(0.3, -0.2)}
    table = evaluate(players, episodes=60_000, seed=2**40, params=MARKET)
    j = {name: table.filter(table["policy"] == name)["price_free"].to_numpy() for name in players}
    blocks = (j["challenger"] - j["champion"]).reshape(-1, BLOCK)
    for level in (0.05, 0.01):
        promoted = np.mean([decide(Paired.of(block), None, level)[0] for block in blocks])
        error = math.sqrt(level * (1 - level) / len(blocks))
        assert promoted <= level + 4 * error
        if level == 0.05:  # and the test is not deaf
            assert promoted >= level - 4 * error


@pytest.mark.parametrize("seed", range(5))
def test_the_better_one_is_promoted_and_the_worse_one_is_not(seed):
    good, bad = LinearSkewPolicy(params=MARKET), FixedSpreadPolicy(4.5, params=MARKET)
    common = {"env_id": "MarketMaking-v0", "params": MARKET, "episodes": 200, "seed": 1_000 * seed, "level": 0.01}
    upward, downward = judge(bad, good, **common), judge(good, bad, **common)
    assert upward.better
    assert not downward.better
    assert upward.episodes.z == pytest.approx(-downward.episodes.z)
    assert upward.challenger == downward.champion
    assert upward.challenger.j_share > upward.champion.j_share


def test_the_champion_itself_is_never_promoted():
    same = LinearSkewPolicy(params=MARKET)
    verdict = judge(same, same, env_id="MarketMaking-v0", params=MARKET, episodes=100, seed=0, level=0.49)
    assert not verdict.better
    assert "the same in every episode" in verdict.reason


def test_noise_of_the_price_is_left_out_only_where_it_is_noise():
    where = {"env_id": "MarketMaking-v0", "episodes": 100, "seed": 0, "level": 0.01}
    pair = FixedSpreadPolicy(1.0, params=MARKET), FixedSpreadPolicy(2.0, params=MARKET)
    assert judge(*pair, params=MARKET, **where).figure == "price_free"
    pulled = EnvParams(price_model="arithmetic", mean_reversion=0.02, horizon=40, window=12)
    verdict = judge(*pair, params=pulled, **where)
    assert verdict.figure == "j"
    assert verdict.champion.j_share is None


def test_paired_is_what_compare_says():
    players = {"a": FixedSpreadPolicy(1.0, params=MARKET), "b": RandomPolicy(seed=1)}
    table = evaluate(players, episodes=50, params=MARKET)
    row = compare(table, "a", figures=["j"]).row(0, named=True)
    j = [table.filter(table["policy"] == name)["j"].to_numpy() for name in players]
    found = Paired.of(j[1] - j[0])
    for key in ("difference", "se", "low", "high", "z"):
        assert getattr(found, key) == pytest.approx(row[key])


def paired(z):
    return Paired(n=100, difference=z, se=1.0, low=z - 2, high=z + 2, z=z)


@pytest.mark.parametrize(
    ("z", "ticks", "better"),
    [(2.4, None, True), (2.33, None, False), (math.nan, None, False), (5, -2.4, False), (5, -2.3, True), (1, 9, False)],
)
def test_episodes_decide_and_ticks_may_veto(z, ticks, better):
    assert decide(paired(z), None if ticks is None else paired(ticks), 0.01)[0] is better


def test_ticks_see_harm(tape):
    recorded, params = tape(60.0), EnvParams(tick_s=0.1, volatility=2e-4, spread=4e-4)
    quiet, paying = Constant(1.0, 1.0), Constant(-1.0, -1.0)
    assert on_ticks(quiet, quiet, recorded, params=params).z is None
    assert on_ticks(quiet, paying, recorded, params=params).z < -5
    with pytest.raises(ValueError, match=r"held-out ticks must be at least 200 of 0\.1 s, got 150"):
        on_ticks(quiet, quiet, tape(15.0), params=params)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"episodes": 99}, "episodes must be at least 100"),
        ({"level": 0.5}, "level must be at least 1e-15 and below 0.5, got 0.5"),
        ({"level": 0.0}, "level must be at least 1e-15 and below 0.5, got 0.0"),
    ],
)
def test_a_test_that_means_nothing_is_refused(changes, message):
    same = FixedSpreadPolicy()
    where = {"env_id": "MarketMaking-v0", "params": MARKET, "episodes": 100, "seed": 0, "level": 0.01} | changes
    with pytest.raises(ValueError, match=message):
        judge(same, same, **where)
