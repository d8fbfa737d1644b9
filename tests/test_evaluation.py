import dataclasses
import io
import math

import gymnasium as gym
import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from polars.testing import assert_frame_equal
from rich.console import Console
from scipy import stats

from hftgym import PRESETS, evaluation, progress, rollout, roster, tables
from hftgym.evaluation import compare, evaluate, exact, play, print_table, quantile, summarize, tabulate
from hftgym.params import EnvParams
from hftgym.policies import FixedSpreadPolicy, LinearSkewPolicy, OptimalPolicy, RandomPolicy, ZScorePolicy, recursion
from hftgym.rollout import FIGURES

SHORT = EnvParams(horizon=120)


class Constant:
    """Returns what it is told to."""

    def __init__(self, actions):
        self.actions = actions

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return self.actions(len(observation)), state


class Counting:
    """Keeps a count per environment in its state, as a recurrent policy keeps its memory."""

    def __init__(self):
        self.seen = []

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        count = np.zeros(len(observation)) if state is None else state[0]
        count = np.where(episode_start, 0, count) + 1
        self.seen.append((count.copy(), episode_start.copy(), deterministic))
        return np.full((len(observation), 2), 0.1, dtype=np.float32), (count,)


def played_alone(policy, seed, params):
    """The figures of one episode, from the single environment and in the plainest way."""
    env = gym.make("MarketMaking-v0", params=params)
    observation, info = env.reset(seed=seed)
    rewards, infos, ended, start = [], [info], False, info["equity"]
    while not ended:
        action, _ = policy.predict(observation)
        full_size = np.ones(env.action_space.shape[0] - 2, dtype=np.float32)
        observation, reward, ended, _, info = env.step(np.concatenate([action, full_size]))
        rewards.append(reward)
        infos.append(info)
    held = np.array([i["inventory"] for i in infos[1:]])
    column = {key: np.array([i[key] for i in infos[1:]]) for key in info}
    before = np.array([i["mid"] for i in infos[:-1]])
    return {
        "j": sum(rewards),
        "pnl": info["equity"] - start,
        "price_free": sum(rewards) - (column["inventory_pnl"].sum() if params.reward == "pnl" else 0.0),
        "spread_capture": column["spread_capture"].sum(),
        "inventory_pnl": column["inventory_pnl"].sum(),
        "fees": column["fees"].sum(),
        "penalty": params.phi * (held**2).sum() + params.terminal_penalty * params.half_spread * held[-1] ** 2,
        "inventory_rms": math.sqrt((held**2).mean()),
        "inventory_abs_max": np.abs(held).max(),
        "fills": (column["fill_bid"] > 0).sum() + (column["fill_ask"] > 0).sum(),
        "turnover": ((column["fill_bid"] + column["fill_ask"]) * before).sum(),
    }


@pytest.mark.parametrize("policy", [ZScorePolicy(), LinearSkewPolicy()], ids=["taker", "maker"])
def test_an_episode_is_that_of_the_single_environment(policy, market):
    table = evaluate({"it": policy}, episodes=3, seed=40, params=market)
    for row in table.iter_rows(named=True):
        alone = played_alone(policy, row["seed"], market)
        assert_allclose(
            [row[k] for k in FIGURES], [alone[k] for k in FIGURES], rtol=1e-9, atol=1e-9 * market.initial_cash
        )


@pytest.mark.parametrize(
    ("ask", "params", "together"),
    [
        # Crossing both sides at a dear spread burns the cash of all episodes within a few ticks.
        (-1.0, EnvParams(spread=0.4, initial_cash=300.0, taker_fee_bps=50.0, horizon=60, offset_high=4.0), True),
        # Units bought on credit: the price ruins most episodes, at different ticks, and the orders would go on trading.
        (0.3, EnvParams(initial_cash=20.0, volatility=0.05, taker_fee_bps=50.0, inventory_limit=40, horizon=60), False),
    ],
    ids=["together", "apart"],
)
def test_an_episode_that_ends_in_ruin_stops_counting(ask, params, together):
    action = np.array([-1.0, ask], dtype=np.float32)
    policy, single = Constant(lambda n: np.tile(action, (n, 1))), Constant(lambda n: action)
    played = play({"it": policy}, episodes=8, seed=7, params=params, paths=8)["it"]
    ends = [int(np.flatnonzero(np.diff(row))[-1]) for row in played.paths.pnl]
    assert (max(ends) < 10) if together else (len(set(ends)) > 3)
    for i, seed in enumerate(played.seeds.tolist()):
        alone = played_alone(single, seed, params)
        for figure in FIGURES:
            assert_allclose(getattr(played.figures, figure)[i], alone[figure], rtol=1e-9, atol=1e-9, err_msg=figure)
        assert not np.diff(played.paths.inventory[i, ends[i] + 1 :]).any()
    assert_allclose(played.paths.pnl[:, -1], played.figures.pnl, rtol=1e-6)


def test_the_parts_add_up(market):
    table = evaluate({"random": RandomPolicy(), "z": ZScorePolicy()}, episodes=20, params=market)
    close = {"rtol": 1e-9, "atol": 1e-8 * market.initial_cash}
    pnl = table["spread_capture"] + table["inventory_pnl"] - table["fees"]
    assert_allclose(table["pnl"], pnl, **close)
    if market.reward == "pnl":
        assert_allclose(table["j"], table["pnl"] - table["penalty"], **close)
    price = table["inventory_pnl"] if market.reward == "pnl" else 0.0
    assert_allclose(table["price_free"], table["j"] - price, **close)


def test_episodes_depend_on_their_seed_alone(monkeypatch):
    policy = LinearSkewPolicy()
    whole = evaluate({"it": policy}, episodes=10, seed=100, params=SHORT)
    part = evaluate({"it": policy}, episodes=4, seed=103, params=SHORT)
    assert_frame_equal(whole.filter(pl.col("seed").is_in(part["seed"].implode())), part)
    monkeypatch.setattr(rollout, "_CHUNK", 3)
    assert_frame_equal(evaluate({"it": policy}, episodes=10, seed=100, params=SHORT), whole)


def test_random_policies_are_reproducible():
    policy = RandomPolicy(seed=5)
    first = evaluate({"random": policy}, episodes=4, params=SHORT)
    assert_frame_equal(evaluate({"random": policy}, episodes=4, params=SHORT), first)
    assert_frame_equal(evaluate({"random": RandomPolicy(seed=5)}, episodes=4, params=SHORT), first)
    assert not evaluate({"random": RandomPolicy(seed=6)}, episodes=4, params=SHORT).equals(first)


def test_a_recurrent_policy_gets_its_state_back_and_is_told_of_the_start():
    policy = Counting()
    evaluate({"it": policy}, episodes=3, params=SHORT)
    assert [count[0] for count, _, _ in policy.seen] == list(range(1, SHORT.horizon + 1))
    assert policy.seen[0][1].all()
    assert not any(start.any() for _, start, _ in policy.seen[1:])
    assert all(deterministic for _, _, deterministic in policy.seen)


def test_paths_end_at_the_figures():
    played = play({"it": LinearSkewPolicy()}, episodes=6, params=SHORT, paths=4)["it"]
    assert played.paths.pnl.shape == played.paths.inventory.shape == (4, SHORT.horizon + 1)
    assert played.paths.pnl.dtype == played.paths.inventory.dtype == np.float32
    assert_allclose(played.paths.pnl[:, -1], played.figures.pnl[:4], rtol=1e-6)
    assert_allclose(np.sqrt((played.paths.inventory[:, 1:] ** 2).mean(axis=1)), played.figures.inventory_rms[:4])
    assert not played.paths.pnl[:, 0].any()


def test_the_summary_is_numpys_and_its_interval_is_students():
    table = evaluate({"a": RandomPolicy(), "b": ZScorePolicy()}, episodes=7, params=SHORT)
    summary = summarize(table)
    assert summary["policy"].to_list() == ["a", "b"]
    for row in summary.iter_rows(named=True):
        values = table.filter(pl.col("policy") == row["policy"])["pnl"].to_numpy()
        error = values.std(ddof=1) / math.sqrt(7)
        low, high = stats.t.interval(0.95, 6, values.mean(), error)
        found = [row[f"pnl_{k}"] for k in ("mean", "se", "low", "high", "std")]
        assert_allclose(found, [values.mean(), error, low, high, values.std(ddof=1)], rtol=1e-4)
    assert summary["gap_closed"].is_null().all()


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 10, 100, 999])
def test_the_quantile_is_students(freedom):
    assert_allclose(quantile(freedom), stats.t.ppf(0.975, freedom), rtol=2e-3)


@pytest.mark.parametrize("freedom", [1, 2, 19, 99, 3_999])
@pytest.mark.parametrize("probability", [0.6, 0.95, 0.99, 0.999])
def test_other_quantiles_are_students_too(freedom, probability):
    assert_allclose(quantile(freedom, probability), stats.t.ppf(probability, freedom), rtol=2e-3)


def test_differences_are_paired_and_antisymmetric():
    table = evaluate(
        {"a": LinearSkewPolicy(), "b": FixedSpreadPolicy(), "c": LinearSkewPolicy()}, episodes=9, params=SHORT
    )
    forth = compare(table, "a", figures=["j"])
    assert forth["policy"].to_list() == ["b", "c"]
    a, b = (table.filter(pl.col("policy") == name)["j"].to_numpy() for name in "ab")
    error = (b - a).std(ddof=1) / 3
    row = forth.row(0, named=True)
    assert_allclose([row["difference"], row["se"], row["z"]], [(b - a).mean(), error, (b - a).mean() / error])
    same = forth.row(1, named=True)
    assert (same["difference"], same["se"], same["z"]) == (0.0, 0.0, None)
    back = compare(table, "b", figures=["j"]).row(0, named=True)
    assert_allclose([back["difference"], back["se"]], [-row["difference"], row["se"]])


def test_pairing_needs_equal_seeds():
    one = tabulate(play({"a": LinearSkewPolicy()}, episodes=3, seed=0, params=SHORT))
    other = tabulate(play({"b": LinearSkewPolicy()}, episodes=3, seed=1, params=SHORT))
    with pytest.raises(ValueError, match="same seeds"):
        compare(pl.concat([one, other]), "a")


def test_pairing_needs_every_seed_once():
    # Some of these have as many rows, and as many pairs, as they should.
    table = evaluate({"a": LinearSkewPolicy(), "b": ZScorePolicy(), "c": ZScorePolicy()}, episodes=3, params=SHORT)
    a, b, c = table.partition_by("policy")
    assert compare(pl.concat([a, b, c]), "a").height == 8
    for wrong in ([a, b[:2], c], [a, b, b[2:], c], [a, a[2:], b, c], [a, b[:2], c, c[2:]], [a[[0, 0, 1]], b]):
        with pytest.raises(ValueError, match="same seeds, once each"):
            compare(pl.concat(wrong), "a")


def test_the_gap_is_zero_for_the_best_constant_and_one_for_the_optimum():
    params = EnvParams(horizon=200)
    table = evaluate(
        roster.rules(["fixed spread", "linear skew", "optimal"], params=params), episodes=400, params=params
    )
    plain = summarize(table, params=params)
    controlled = summarize(table, params=params, optimal="optimal")
    for summary in (plain, controlled):
        constant, skew, optimal = summary.iter_rows(named=True)
        assert abs(constant["gap_closed"]) < 4 * constant["gap_closed_se"]
        assert abs(optimal["gap_closed"] - 1) <= 4 * optimal["gap_closed_se"] + 1e-9
        assert abs(skew["gap_closed"] - 0.99) < 4 * skew["gap_closed_se"] + 0.01
    # The optimum's luck, which is known, is most of the other's.
    assert controlled["gap_closed_se"][1] < plain["gap_closed_se"][1] / 3
    truth = exact(params)
    assert truth is not None
    assert_array_equal(plain["j_optimal"], truth.optimum)


def test_the_gap_stays_unknown_where_the_truth_is(monkeypatch):
    monkeypatch.setattr(evaluation, "exact", lambda params: None)
    summary = summarize(evaluate({"a": ZScorePolicy()}, episodes=2, params=SHORT), params=SHORT)
    assert summary.select(pl.col("^gap_closed.*$", "j_optimal", "j_constant").is_null().all()).row(0) == (True,) * 6


def test_the_table_names_what_hides_the_optimum():
    for params, reason in ((PRESETS["adverse"], "does not cover jump_probability"), (None, "no market was given")):
        summary = summarize(evaluate({"a": ZScorePolicy()}, episodes=2, params=SHORT), params=params)
        assert reason in tables.legend(summary)
    assert "is not known" not in tables.legend(
        summarize(evaluate({"a": ZScorePolicy()}, episodes=2, params=SHORT), params=SHORT)
    )


def test_closed_forms_are_had_by_name():
    named = roster.policies(["glft", "Cartea Jaimungal"])
    assert list(named) == ["GLFT", "Cartea-Jaimungal"]
    assert not set(named) & set(roster.rules())


@pytest.mark.parametrize("below", [0.0, 1e-9])
def test_where_a_constant_quote_is_the_optimum_there_is_no_gap(monkeypatch, below):
    """Rounding can leave the optimum just below the constant quote."""
    monkeypatch.setattr(evaluation, "exact", lambda params: evaluation.Exact(5.0 - below, 5.0))
    summary = summarize(evaluate({"a": ZScorePolicy()}, episodes=2, params=SHORT), params=SHORT)
    assert summary.select(pl.col("^gap_closed.*$").is_null().all()).row(0) == (True,) * 4
    assert summary["j_share"][0] == pytest.approx(summary["price_free_mean"][0] / (5.0 - below))


def test_where_nothing_can_be_earned_there_is_no_share():
    dead = EnvParams(horizon=20, arrival_intensity=0.0)
    summary = summarize(evaluate({"a": ZScorePolicy()}, episodes=2, params=dead), params=dead)
    assert summary.select("j_optimal", "j_constant", "j_share", "gap_closed").row(0) == (0.0, 0.0, None, None)


def test_errors_name_what_is_wrong():
    good = {"a": ZScorePolicy()}
    with pytest.raises(ValueError, match="episodes must be an integer of at least 2"):
        evaluate(good, episodes=1)
    with pytest.raises(ValueError, match="policies must be a mapping"):
        evaluate({})
    with pytest.raises(TypeError, match="'broken' must have a method predict"):
        evaluate({"broken": object()}, episodes=2)  # pyright: ignore[reportArgumentType]
    with pytest.raises(
        ValueError, match=r"env_id must be a registered market such as MarketMaking-v0, .*, got 'Nothing-v7'"
    ):
        evaluate(good, "Nothing-v7", episodes=2)
    with pytest.raises(ValueError, match=r"env_id must be a market of hftgym .*CartPole-v1"):
        evaluate(good, "CartPole-v1", episodes=2, params=SHORT)
    with pytest.raises(ValueError, match="env_id must be a market of hftgym"):
        evaluate(good, "CartPole-v1", episodes=2)
    table = evaluate(good, episodes=2, params=SHORT)
    with pytest.raises(ValueError, match="baseline must be one of a, got 'b'"):
        compare(table, "b")
    with pytest.raises(ValueError, match="figures must be among"):
        compare(table, "a", figures=["sharpe"])
    with pytest.raises(ValueError, match="lacks seed"):
        summarize(table.drop("seed"))
    with pytest.raises(ValueError, match="optimal must be a policy"):
        summarize(table, params=SHORT, optimal="nobody")


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (lambda n: np.zeros((n, 3)), r"'odd' must return actions of the shape \(2, 2\), got \(2, 3\)"),
        (lambda n: np.zeros(2), r"'odd' must return actions of the shape \(2, 2\), got \(2,\)"),
        (lambda n: np.full((n, 2), np.nan), r"'odd' must return actions in \[-1, 1\], got \[nan, nan\]"),
        (lambda n: np.full((n, 2), 1.5), r"'odd' must return actions in \[-1, 1\], got \[1.5, 1.5\]"),
    ],
)
def test_a_policy_that_misbehaves_is_named(actions, message):
    with pytest.raises(ValueError, match=message):
        evaluate({"odd": Constant(actions)}, episodes=2)


@pytest.mark.parametrize("known", [True, False])
def test_the_printed_table_fits_a_hundred_characters(known):
    params = EnvParams(horizon=100)
    table = evaluate(roster.rules(params=params), episodes=5, params=params)
    summary = summarize(table, params=params if known else None)
    for width in (80, 100, 200):
        console = Console(width=width, force_terminal=True, color_system=None, file=io.StringIO(), record=True)
        print_table(summary, console=console)
        lines = console.export_text().splitlines()
        assert max(map(len, lines)) <= min(width, 100)
        assert "…" not in "".join(lines)
        assert any("Avellaneda-Stoikov" in line for line in lines)
        assert ("gap closed" in lines[0]) == known


def test_names_mean_rules_whatever_their_spelling(tmp_path):
    assert list(roster.policies(["Z_Score", "linear-skew"])) == ["z-score", "linear skew"]
    with pytest.raises(ValueError, match="must be one of random, fixed-spread"):
        roster.policies(["magic"])
    with pytest.raises(ValueError, match="its own name, got z-score twice"):
        roster.policies(["z-score", "Z Score"])
    with pytest.raises(FileNotFoundError, match="there is no file"):
        roster.policies([str(tmp_path / "none.onnx")])


def test_a_rule_is_at_its_best_in_the_market_at_hand():
    dear = EnvParams(maker_fee_bps=1.0)
    skew = roster.rules(["linear skew"], params=dear)["linear skew"]
    assert isinstance(skew, LinearSkewPolicy)
    base, slope, best = recursion.best_linear_skew(dear)
    assert (skew.base, skew.skew) == (base, slope)
    assert best > recursion.value_of(dear, *recursion.quotes_of(LinearSkewPolicy(params=dear), dear))
    assert isinstance(roster.rules(["optimal"])["optimal"], OptimalPolicy)


def test_a_bar_comes_when_it_takes_long_and_goes_when_it_is_done(monkeypatch, capsys):
    quick = evaluate({"a": ZScorePolicy()}, episodes=2, params=SHORT)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "_PATIENCE_S", 0.0)
    with progress.slow_bar(1) as bar:
        bar.part("a")(0.5)
        shown = bar._progress
        assert shown is not None
        assert shown.tasks[0].completed == 0.5
    assert bar._progress is None
    assert_frame_equal(evaluate({"a": ZScorePolicy()}, episodes=2, params=SHORT), quick)


@pytest.mark.parametrize("preset", ["avellaneda-stoikov", "cartea-jaimungal"])
def test_the_price_is_taken_out_of_a_reward_that_has_it(preset):
    params = dataclasses.replace(PRESETS[preset], horizon=50)
    figures = rollout.rollout(FixedSpreadPolicy(params=params), episodes=20, params=params).figures
    expected = figures.j - (figures.inventory_pnl if params.reward == "pnl" else 0.0)
    np.testing.assert_allclose(figures.price_free, expected, atol=1e-9)


def test_an_optimum_of_another_market_is_not_believed():
    market = EnvParams(horizon=50)
    table = evaluate({"optimal": OptimalPolicy(market), "fixed": FixedSpreadPolicy()}, episodes=200, params=market)
    summarize(table, params=market, optimal="optimal")
    with pytest.raises(ValueError, match="on average in this market"):
        summarize(table, params=dataclasses.replace(market, arrival_intensity=2.0), optimal="optimal")


def test_where_doing_nothing_is_best_there_is_no_gap():
    market = EnvParams(horizon=20, maker_fee_bps=25.0, taker_fee_bps=40.0)
    assert exact(market) == (0.0, 0.0)
    row = summarize(evaluate({"fixed": FixedSpreadPolicy()}, episodes=5, params=market), params=market)
    assert row["gap_closed"].to_list() == row["j_share"].to_list() == [None]
