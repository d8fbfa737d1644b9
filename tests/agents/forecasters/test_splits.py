"""No look-ahead: splits that allow it are refused, and a planted future is not seen."""

import numpy as np
import pytest

from agents.forecasters.feeds import Feed
from agents.forecasters.models import Trees, rolling
from agents.forecasters.splits import LookAheadError, Split, check_splits, walk_forward
from agents.forecasters.study import score, study, summary
from hftgym.policies.signal import WINDOW

EMBARGO = WINDOW + 1


@pytest.mark.parametrize("folds", [1, 2, 5])
def test_walk_forward_tests_everything_later_once_and_shares_no_move(folds):
    splits = walk_forward(10_000, folds=folds, embargo=EMBARGO)
    check_splits(splits, embargo=EMBARGO)
    assert np.array_equal(np.concatenate([split.test for split in splits]), np.arange(5_000, 10_000))
    for split in splits:
        trained = set((split.train[:, None] + np.arange(-WINDOW + 1, 2)).ravel())  # windows and the labels' moves
        tested = set((split.test[:200, None] + np.arange(-WINDOW + 1, 2)).ravel())
        assert not trained & tested
        assert split.train[0] == 0


def test_a_broken_split_is_caught():
    ticks = np.arange(1_000)
    shuffled = np.random.default_rng(0).permutation(1_000)
    broken = {
        "shuffled": Split(np.sort(shuffled[:800]), np.sort(shuffled[800:])),
        "trained on the future": Split(ticks[500:], ticks[:400]),
        "no embargo": Split(ticks[:500], ticks[500:]),
        "one tick short": Split(ticks[: 500 - EMBARGO + 1], ticks[500:]),
    }
    for split in broken.values():
        with pytest.raises(LookAheadError, match=r"fold 0 trains on tick \d+ and tests on tick \d+: a test must come"):
            check_splits([split], embargo=EMBARGO)
    check_splits([Split(ticks[: 500 - EMBARGO], ticks[500:])], embargo=EMBARGO)


@pytest.mark.parametrize(
    ("count", "settings"),
    [(100, {"folds": 1, "embargo": 50}), (10, {"folds": 6, "embargo": 0}), (100, {"folds": 0, "embargo": 1})],
)
def test_splits_that_cannot_be_are_refused(count, settings):
    with pytest.raises(ValueError, match=r"too few|folds must be"):
        walk_forward(count, **settings)


def accuracy(feed):
    result = study(lambda seed: feed, {"trees": lambda seed: rolling(Trees, seed=seed)}, fresh_data=False)
    row = summary(result).filter(summary(result)["forecaster"] == "trees").row(0, named=True)
    return row["accuracy"], 0.5 / np.sqrt(row["ticks"])


def test_a_planted_future_is_not_seen_but_would_be(feed_of, generator):
    # The move of every tick tells the sign of itself: who looks one tick ahead is always right, who does not, never.
    moves = generator.normal(0, 0.2, size=(4, 3_001)).clip(-1, 1)
    honest = feed_of(moves)
    found, error = accuracy(honest)
    assert abs(found - 0.5) < 4 * error
    peeking = Feed(
        name="one tick ahead",
        params=honest.params,
        moves=np.concatenate([honest.moves[:, 1:], np.zeros((4, 1), np.float32)], axis=1),
        labels=honest.labels,
        zscore=honest.zscore,
    )
    found, _ = accuracy(peeking)
    assert found > 0.99


def test_a_drift_that_only_later_ticks_reveal_is_not_seen_but_a_shuffled_split_would(generator):
    # The trap of time series: in every block of 200 ticks the direction is one and known only afterwards, and an input
    # names the block. A split by lot learns the answer from the block's other ticks; walking forward, nobody can.
    block = np.repeat(np.arange(40), 200)
    X = np.column_stack([block, generator.normal(size=8_000)]).astype(np.float32)
    y = generator.permutation(np.repeat([0.0, 1.0], 20))[block].astype(np.float32)

    def right(split):
        trees = Trees()
        trees.fit(X[split.train], y[split.train])
        return score(trees.proba(X[split.test]), y[split.test])["accuracy"]

    lot = generator.permutation(8_000)
    shuffled = Split(np.sort(lot[:4_000]), np.sort(lot[4_000:]))
    assert right(shuffled) > 0.95
    with pytest.raises(LookAheadError):
        check_splits([shuffled], embargo=EMBARGO)
    forward = walk_forward(8_000, folds=1, embargo=EMBARGO)
    check_splits(forward, embargo=EMBARGO)
    assert abs(right(forward[0]) - 0.5) < 4 * 0.5 / np.sqrt(20)  # twenty blocks are twenty coins
