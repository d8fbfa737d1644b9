"""One table of features: the same for a series and for one window, on any order of sums."""

import math

import numpy as np
import pytest

from agents.forecasters.features import EWMA_WEIGHTS, NAMES, SPANS, features, rolling_table
from hftgym.observation import CLIP_SD, N_FEATURES
from hftgym.policies.signal import WINDOW, extended, on_grid

TABLE = rolling_table()


def test_whole_series_equals_one_tick_at_a_time(moves_with_windows):
    moves, windows = moves_with_windows
    whole = features(windows.reshape(-1, WINDOW), TABLE).reshape(*moves.shape, -1)
    memory = np.zeros((len(moves), WINDOW), dtype=np.float32)
    for t in range(moves.shape[1]):
        observations = np.zeros((len(moves), N_FEATURES), dtype=np.float32)
        observations[:, 4] = moves[:, t]
        memory = extended(memory, observations)
        for path in range(len(moves)):
            assert np.array_equal(features(memory[path][None], TABLE)[0], whole[path, t])


def test_sums_are_exact_in_any_order(generator):
    windows = on_grid(generator.uniform(-1, 1, size=(500, WINDOW)))
    windows[0], windows[1] = 1.0, -1.0  # the largest sums there are
    order = generator.permutation(WINDOW)
    exact = windows.astype(np.float64) @ TABLE
    shuffled = windows.astype(np.float64)[:, order] @ TABLE[order]
    one_by_one = np.zeros_like(exact)
    for i in order:
        one_by_one += windows[:, i, None].astype(np.float64) * TABLE[i]
    assert np.array_equal(exact, shuffled)
    assert np.array_equal(exact, one_by_one)
    fraction = [math.fsum(float(w) * float(f) for w, f in zip(windows[2], column, strict=True)) for column in TABLE.T]
    assert np.array_equal(exact[2], fraction)


def test_features_are_what_they_are_called(generator):
    window = on_grid(generator.uniform(-1, 1, size=(1, WINDOW)))
    moves = CLIP_SD * window[0].astype(np.float64)
    got = dict(zip(NAMES, features(window, TABLE)[0], strict=True))
    for span in SPANS:
        assert got[f"sum_{span}"] == pytest.approx(moves[-span:].sum() / math.sqrt(span), abs=1e-5)
    for weight in EWMA_WEIGHTS:
        decay = (1 - weight) ** np.arange(WINDOW)
        expected = (moves[::-1] * decay).sum() / math.sqrt((decay**2).sum())
        assert got[f"ewma_{weight:g}"] == pytest.approx(expected, abs=1e-5)


def test_unit_variance_on_independent_moves():
    assert (TABLE / CLIP_SD**1).shape == (WINDOW, len(NAMES))
    np.testing.assert_allclose(((TABLE / CLIP_SD) ** 2).sum(axis=0), 1.0, atol=1e-6)


@pytest.mark.parametrize("wrong", [np.full((2, WINDOW), 1e-7), np.full((2, WINDOW), 1.5), np.zeros((2, 49))])
def test_moves_off_the_grid_are_refused(wrong):
    with pytest.raises(ValueError, match="windows must"):
        features(wrong.astype(np.float32), TABLE)
