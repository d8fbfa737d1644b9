"""Scores, and what is said of them: nothing on a random walk, nearly everything on a hidden regime."""

import math

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from agents.forecasters.catalogue import ON_MOVES, makers_of, series_of
from agents.forecasters.feeds import simulated_feed
from agents.forecasters.report import accuracy_picture, print_study, print_trading
from agents.forecasters.study import SURE, clustered_error, score, study, summary, verdict
from agents.forecasters.trading import BASELINE, trade

QUICK = ("constant", "linear", "trees")


@pytest.fixture(scope="module")
def null():
    return study(lambda seed: simulated_feed("gbm", paths=24, seed=10_000), makers_of(ON_MOVES, "gbm"))


@pytest.fixture(scope="module")
def regime():
    return study(lambda seed: simulated_feed("regime", paths=60, seed=50_000), makers_of(QUICK, "regime"))


def row(table, name):
    return table.filter(pl.col("forecaster") == name).row(0, named=True)


def test_every_forecaster_shows_nothing_on_a_random_walk(null):
    table = summary(null)
    assert set(table["forecaster"]) == {*ON_MOVES, "Bayes filter", "z-score"}
    binomial = 0.5 / np.sqrt(table["ticks"].to_numpy())
    assert (table["ticks"] == 12_000).all()
    assert (np.abs(table["accuracy"].to_numpy() - 0.5) < SURE * binomial).all()
    losses = table["log_loss"].drop_nulls().to_numpy()
    assert ((losses > math.log(2) - 1e-4) & (losses < math.log(2) + 0.01)).all()
    assert table["edge"].null_count() == table.height
    assert verdict(table).startswith("Nothing to see: every forecaster is within 4 standard errors of 50 %.")


def test_a_regime_is_forecast_almost_as_well_as_by_the_one_who_knows_it(regime):
    table = summary(regime)
    bayes = row(table, "Bayes filter")
    assert abs(bayes["accuracy"] - 0.6447) < 4 * bayes["error"]  # other code: 64.47 %
    for name in ("linear", "trees"):
        found = row(table, name)
        assert bayes["accuracy"] - 0.012 < found["accuracy"] < bayes["accuracy"] + 0.004
        assert found["log_loss"] > bayes["log_loss"]
        assert found["edge"] == pytest.approx((found["accuracy"] - 0.5) / (bayes["accuracy"] - 0.5))
    assert row(table, "z-score")["accuracy"] < 0.45  # it bets on a return, and the regime is a trend
    assert verdict(table).startswith("The direction can be forecast: ")
    assert "The linear model is" in verdict(table)


def test_on_the_same_seed_everything_is_the_same_again(regime):
    again = study(lambda seed: simulated_feed("regime", paths=60, seed=50_000), makers_of(QUICK, "regime"))
    untimed = pl.exclude("train_cpu_s", "inference_us")
    assert again.runs.select(untimed).equals(regime.runs.select(untimed))


def test_score_is_accuracy_and_log_loss():
    proba, y = np.array([0.8, 0.6, 0.3, 0.1]), np.array([1, 0, 0, 0], dtype=np.float32)
    found = score(proba, y)
    assert found["accuracy"] == 0.75
    assert found["log_loss"] == pytest.approx(-(np.log(0.8) + np.log(0.4) + np.log(0.7) + np.log(0.9)) / 4)
    assert score(np.array([1.0, 0.0]), y[:2])["log_loss"] is None


def test_the_error_is_binomial_on_coins_and_larger_where_hits_come_in_clusters(generator):
    coins = generator.random(200_000) < 0.5
    assert clustered_error(coins) == pytest.approx(0.5 / math.sqrt(200_000), rel=0.1)
    clusters = np.repeat(generator.random(20_000) < 0.5, 10)
    assert clustered_error(clusters) == pytest.approx(0.5 / math.sqrt(20_000), rel=0.1)


def test_seeds_on_the_same_data_do_not_shrink_the_error():
    feed = simulated_feed("gbm", paths=10, seed=9)
    once, thrice = (
        summary(study(lambda seed: feed, makers_of(["constant"], "gbm"), seeds=seeds, folds=2, fresh_data=False))
        for seeds in (1, 3)
    )
    assert thrice["error"].to_list() == pytest.approx(once["error"].to_list())
    assert thrice["ticks"].to_list() == once["ticks"].to_list()


def test_traded_on_equal_seeds(regime):
    feed = simulated_feed("regime", paths=2, seed=0)
    table = trade(regime.fitted, feed, entry=0.55, episodes=30)
    assert table["policy"].to_list() == [BASELINE, "linear", "trees"]
    assert (table.filter(pl.col("policy") != BASELINE)["pnl"] > 0).all()
    assert table["pnl"][0] < 0
    difference = table["pnl"] - table["pnl"][0]
    assert table["gain"].to_list()[1:] == pytest.approx(difference.to_list()[1:])
    console = Console(record=True, width=120)
    print_trading(table, console=console)
    assert "against the z-score" in console.export_text()


def test_what_is_shown(null, tmp_path):
    table = summary(null)
    console = Console(record=True, width=120)
    print_study(table, moving=1.0, console=console)
    text = console.export_text()
    assert all(name in text for name in (*ON_MOVES, "given that the price moves"))
    figure = accuracy_picture(table, title="nothing", caption="one seed")
    figure.savefig(tmp_path / "accuracy.png")
    assert (tmp_path / "accuracy.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("feed", "settings", "message"),
    [
        ("nothing", {}, "--feed must be one of gbm"),
        ("tape", {}, "--tape FILE"),
        ("gbm", {"tape": "capture.gz"}, "--tape FILE"),
        ("gbm", {"paths": 1}, "--paths must be at least 2"),
    ],
)
def test_what_cannot_be_forecast_is_refused(feed, settings, message):
    with pytest.raises(ValueError, match=message):
        series_of(feed, **{"paths": 10, **settings})


def test_forecasters_by_name():
    assert list(makers_of(["lstm", "Linear"], "gbm")) == ["LSTM", "linear"]
    with pytest.raises(ValueError, match="--forecasters must be among constant, linear, trees for --feed ohlcv"):
        makers_of(["lstm"], "ohlcv")
    with pytest.raises(ValueError, match="seeds must be at least 1"):
        study(lambda seed: simulated_feed("gbm", paths=2), {}, seeds=0)
