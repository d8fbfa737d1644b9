"""Forecasters: what each can learn, that it is the same again, and what it refuses."""

import numpy as np
import pytest
import torch

from agents.forecasters.catalogue import ON_BARS, ON_MOVES
from agents.forecasters.feeds import simulated_feed
from agents.forecasters.models import Linear, Trees, rolling
from hftgym.policies.signal import WINDOW, on_grid

LEARNERS = [name for name in ON_MOVES if name != "constant"]


@pytest.fixture(scope="session")
def examples():
    """The move repeats the sign of the last one with probability 0.9."""
    generator = np.random.default_rng(0)
    sign = np.cumprod(np.where(generator.random(12_001) < 0.9, 1, -1))
    moves = on_grid(sign * np.abs(generator.normal(0, 0.2, 12_001)).clip(1e-3, 1))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(moves, (WINDOW - 1, 0)), WINDOW)[:-1]
    return np.ascontiguousarray(windows), (moves[1:] > 0).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNERS)
def test_a_pattern_in_the_window_is_learned(name, examples):
    X, y = examples
    forecaster = ON_MOVES[name](0)
    forecaster.fit(X[:9_000], y[:9_000])
    proba = forecaster.proba(X[9_100:])
    assert ((proba > 0.5) == (y[9_100:] > 0.5)).mean() > 0.82
    assert proba.shape == (len(X) - 9_100,)
    assert ((proba > 0) & (proba < 1)).all()


@pytest.mark.parametrize("name", list(ON_MOVES))
def test_the_same_seed_gives_the_same_forecaster_and_leaves_the_generators_alone(name, examples, hasty):
    X, y = examples
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 (whether it was left alone)
    one, two = hasty[name](3), hasty[name](3)
    for forecaster in (one, two):
        forecaster.fit(X[:400], y[:400])
    assert np.array_equal(one.proba(X[:200]), two.proba(X[:200]))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


@pytest.mark.parametrize("name", list(ON_MOVES))
def test_batch_equals_single(name, examples, hasty):
    X, y = examples
    forecaster = hasty[name](0)
    forecaster.fit(X[:400], y[:400])
    singles = np.concatenate([forecaster.proba(row[None]) for row in X[:60]])
    np.testing.assert_allclose(singles, forecaster.proba(X[:60]), rtol=0, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["LSTM", "Transformer"])
def test_nets_are_causal_and_small(name, examples, hasty):
    X, y = examples
    forecaster = hasty[name](0)
    forecaster.fit(X[:400], y[:400])
    net, moves = forecaster.net, torch.from_numpy(X[100:110]) * 5
    other = moves.clone()
    other[:, 30:] *= -1
    with torch.no_grad():
        assert torch.equal(net(moves)[:, :30], net(other)[:, :30])
        assert not torch.allclose(net(moves)[:, 30:], net(other)[:, 30:])
        torch.testing.assert_close(net(moves, last=True)[:, 0], net(moves)[:, -1], rtol=0, atol=1e-6)
    assert 500 < forecaster.parameters < 5_000


def test_the_linear_model_is_what_it_says(examples):
    X, y = examples
    model = rolling(Linear)
    model.fit(X, y)
    odds = model.inputs(X[:5]).astype(np.float64) @ model.weights + model.bias
    np.testing.assert_allclose(model.proba(X[:5]), 1 / (1 + np.exp(-odds)), rtol=1e-12)


def test_the_constant_counts(examples):
    X, y = examples
    constant = ON_MOVES["constant"](0)
    constant.fit(X, y)
    assert constant.proba(X[:3]) == pytest.approx([y.mean()] * 3)


@pytest.mark.parametrize("name", list(ON_MOVES))
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda X, y: (X, y[:-1]), "X must be"),
        (lambda X, y: (X.astype(np.float64), y), "float32"),
        (lambda X, y: (np.where(np.arange(len(X))[:, None] == 3, np.float32(np.nan), X), y), "finite"),
        (lambda X, y: (X, np.ones_like(y)), "both of them"),
        (lambda X, y: (X, y - 1), "zeros and ones"),
    ],
)
def test_examples_that_teach_nothing_are_refused(name, spoil, message, examples):
    X, y = spoil(examples[0][:200], examples[1][:200])
    with pytest.raises(ValueError, match=message):
        ON_MOVES[name](0).fit(X, y)


def test_trees_use_float32_features_as_they_are(generator):
    # Thresholds of the trees lie between float32 numbers, so that a float32 comparison can agree with them.
    X = generator.normal(size=(3_000, 4)).astype(np.float32)
    y = (X[:, 0] + generator.normal(size=3_000) > 0).astype(np.float32)
    trees = Trees(rounds=5)
    trees.fit(X, y)
    assert np.array_equal(trees.proba(X), trees.proba(X.astype(np.float64).astype(np.float32)))
    assert set(ON_BARS) == {"constant", "linear", "trees"}


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNERS)
def test_nothing_is_found_in_a_random_walk_of_500_000_ticks(name):
    feed = simulated_feed("gbm", paths=1_000, seed=1)
    X, y = feed.examples(np.arange(500_000 - feed.embargo))
    X_test, y_test = feed.examples(np.arange(500_000, 1_000_000))
    forecaster = ON_MOVES[name](0)
    forecaster.fit(X, y)
    accuracy = ((forecaster.proba(X_test) >= 0.5) == (y_test > 0.5)).mean()
    assert abs(accuracy - 0.5) < 4 * 0.5 / np.sqrt(len(y_test))
