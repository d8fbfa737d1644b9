"""Bars: what a minute is made of, and that no feature knows the next one."""

import dataclasses

import numpy as np
import pytest

from agents.forecasters.bars import BARS, NAMES, Bars, bar_features, simulated_bars, tape_bars
from agents.forecasters.catalogue import makers_of
from agents.forecasters.study import SURE, study, summary
from hftgym.tape import Quotes, Tape, TapeReport, Trades
from hftgym.tape.report import Findings

SERIES = ("open", "high", "low", "close", "volume")


@pytest.fixture(scope="module")
def walk():
    return simulated_bars(paths=3, bars=120, trending=False)


def test_a_bar_holds_its_prices(walk):
    assert (walk.low <= np.minimum(walk.open, walk.close)).all()
    assert (walk.high >= np.maximum(walk.open, walk.close)).all()
    assert np.array_equal(walk.open[:, 1:], walk.close[:, :-1])  # simulated time has no gaps
    assert (walk.volume > 0).all()


def test_labels_are_the_next_close(walk):
    labels = walk.labels
    assert (labels[:, : BARS - 1] == 0).all()
    assert (labels[:, -1] == 0).all()
    assert np.array_equal(labels[:, 60], np.sign(walk.close[:, 61] - walk.close[:, 60]))


def test_the_future_changes_no_feature(walk):
    now = 80
    rows = np.arange(BARS - 1, now + 1)
    changed = {name: getattr(walk, name).copy() for name in SERIES}
    for values in changed.values():
        values[:, now + 1 :] *= 1.5
    other = dataclasses.replace(walk, **changed)
    assert np.array_equal(walk.examples(rows)[0], other.examples(rows)[0])
    assert np.array_equal(walk.labels[:, :now], other.labels[:, :now])
    later = np.arange(now + 1, 100)
    assert not np.array_equal(walk.examples(later)[0], other.examples(later)[0])


def test_features_have_no_scale_and_are_finite(walk):
    rows = np.flatnonzero(walk.labels.ravel())
    X, y = walk.examples(rows)
    assert X.shape == (len(rows), len(NAMES))
    assert X.dtype == np.float32
    assert np.isfinite(X).all()
    dearer = Bars(name="", volume=walk.volume * 7, **{name: getattr(walk, name) * 600 for name in SERIES[:4]})
    np.testing.assert_allclose(dearer.examples(rows)[0], X, rtol=1e-3, atol=1e-4)
    assert np.array_equal(dearer.examples(rows)[1], y)


def test_a_market_that_stands_still_has_features():
    still = [np.full((2, BARS), 100.0)] * 4
    assert np.isfinite(bar_features(*still, np.zeros((2, BARS)))).all()


def test_features_known_by_hand():
    close = np.arange(100.0, 100.0 + BARS)[None]
    features = dict(zip(NAMES, bar_features(close - 1, close, close - 1, close, np.ones_like(close))[0], strict=True))
    assert features["rsi_14"] == 1.0  # it only rose
    assert features["stochastic_14"] == 1.0
    assert features["body"] == features["range"] == 1.0
    assert features["upper_shadow"] == features["lower_shadow"] == 0.0
    assert features["volume"] == pytest.approx(np.log(2))
    assert features["return_1"] > 0 < features["macd"]


def made_tape(minutes, price):
    """Ten trades a minute, of one unit."""
    count = 10 * minutes
    times = (10**18 + np.arange(count) * 6 * 10**9).astype(np.int64)
    prices = np.asarray(price(np.arange(count)), dtype=np.float64)
    ones = np.ones(count)
    quotes = Quotes(exchange_ns=times, local_ns=times, bid=prices - 0.5, bid_size=ones, ask=prices + 0.5, ask_size=ones)
    side = np.ones(count, dtype=np.int8)
    trades = Trades(exchange_ns=times, local_ns=times, price=prices, size=ones, taker_side=side)
    none = Findings(count=0, first=())
    report = TapeReport(
        path=None, lines=0, quotes=count, trades=count, ignored={}, bad_lines=none, crossed_quotes=none,
        backwards=none, gaps=none,
    )  # fmt: skip
    return Tape(venue="made", symbol="BTCUSDT", quotes=quotes, trades=trades, report=report)


def test_bars_of_a_tape():
    bars = tape_bars(made_tape(70, lambda i: 100.0 + i % 10))
    assert bars.close.shape == (1, 69)
    assert (bars.open == 100).all()
    assert (bars.high == 109).all()
    assert (bars.low == 100).all()
    assert (bars.close == 109).all()
    assert (bars.volume == 10).all()
    assert (bars.labels == 0).all()  # the close never changes


def test_a_tape_of_few_minutes_is_refused():
    with pytest.raises(ValueError, match=r"a window needs 52 bars of 60 s, and the tape holds 19; record more"):
        tape_bars(made_tape(20, lambda i: 100.0 + i))


@pytest.mark.slow
@pytest.mark.parametrize("trending", [True, False])
def test_a_trend_is_seen_in_bars_and_a_random_walk_shows_nothing(trending):
    makers = makers_of([], "ohlcv")
    table = summary(study(lambda seed: simulated_bars(paths=40, seed=1_000 * seed, trending=trending), makers))
    sigmas = dict(zip(table["forecaster"], table["sigmas"], strict=True))
    for name in ("linear", "trees"):
        assert sigmas[name] > 10 if trending else abs(sigmas[name]) < SURE
