"""The summary: means over seeds with honest intervals, and a picture of whatever varies."""

import itertools
import math

import numpy as np
import polars as pl
import pytest

from scripts.sweeping.dataset import Results
from scripts.sweeping.picture import picture, roles
from scripts.sweeping.summary import Summary, printed, summaries, told


def results_of(rows, varied):
    table = pl.DataFrame(rows, infer_schema_length=None)
    return Results(table=table, varied=tuple(varied), files={}, unreadable={}, failures={})


def summary_of(rows, *varied, metric=None):
    (found,) = summaries(results_of(rows, varied), metric)
    return found


def grid(episodes=10, step=10, policies=("a", "b"), **options):
    """Rows of an evaluation over a grid and five seeds."""
    rng = np.random.default_rng(0)
    names = ("seed", *options)
    rows = []
    for i, values in enumerate(itertools.product(range(0, 5 * step, step), *options.values())):
        for policy in policies:
            given = dict(zip(names, values, strict=True))
            measured = {"episodes": episodes, "j_mean": rng.normal(), "j_low": -1.0, "j_high": 1.0}
            rows.append({"key": f"{i:016}", "kind": "evaluate", **given, "policy": policy, **measured})
    return rows


def test_the_mean_and_its_interval_are_student_s_over_the_seeds():
    rows = grid(window=[20, 50])
    table = summary_of(rows, "seed", "window").table
    assert table.columns == ["window", "policy", "tasks", "mean", "se", "low", "high"]
    assert len(table) == 4
    values = [row["j_mean"] for row in rows if (row["window"], row["policy"]) == (20, "a")]
    one = table.row(0, named=True)
    error = np.std(values, ddof=1) / math.sqrt(5)
    assert one["mean"] == pytest.approx(np.mean(values))
    assert one["se"] == pytest.approx(error)
    assert one["high"] - one["mean"] == pytest.approx(2.776 * error, rel=0.003)  # t of 4 degrees of freedom
    assert one["mean"] - one["low"] == pytest.approx(one["high"] - one["mean"])


def test_a_single_seed_has_the_interval_of_its_task():
    rows = [row for row in grid(window=[20, 50]) if row["seed"] == 0]
    table = summary_of(rows, "seed", "window").table
    assert table["tasks"].to_list() == [1] * 4
    assert table["low"].to_list() == [-1.0] * 4


def test_what_is_pooled_of_one_seed_is_one_value():
    rows = [row | {"window": window} for window in (20, 50, 100) for row in grid()]  # a window without effect
    once, pooled = summary_of(grid(), "seed").table, summary_of(rows, "seed", "window").grouped(["policy"])
    assert pooled["tasks"].to_list() == [15, 15]
    for column in ("mean", "se", "low", "high"):
        assert pooled[column].to_list() == pytest.approx(once[column].to_list())


def test_a_seed_that_was_not_given_may_be_one_of_the_others():
    rows = grid()
    summary = summary_of([*rows, {**rows[0], "seed": None}], "seed")
    assert summary.overlapping
    assert summary.table["low"].null_count() == 2


def test_files_that_were_changed_are_not_pooled():
    rows = [
        {"key": str(i), "kind": "backtest", "tape": tape, "tape_sha256": content * 64, "policy": "a", "pnl": float(i)}
        for i, (tape, content) in enumerate([("/a.csv", "0"), ("/a.csv", "1"), ("/b.csv", "2")])
    ]
    summary = summary_of(rows, "tape")
    assert summary.by == ("tape", "tape_sha256", "policy")
    assert summary.table["mean"].to_list() == [0.0, 1.0, 2.0]
    assert told("1" * 64) == "11111111"
    assert summary_of(rows[1:], "tape").by == ("tape", "policy")


def test_the_interval_of_a_single_value_is_its_own_task_s():
    rows = [
        {"key": str(i), "kind": "train", "seed": i, "share": (math.nan, 1.0)[i], "share_se": 0.1 + i} for i in (0, 1)
    ]
    assert summary_of(rows, "seed").table["high"].to_list() == [pytest.approx(1 + 1.96 * 1.1)]


def test_seeds_that_share_episodes_give_no_interval():
    summary = summary_of(grid(episodes=10, step=9), "seed")
    assert summary.overlapping
    assert summary.table["low"].null_count() == summary.table["high"].null_count() == 2
    assert summary.table["mean"].null_count() == 0
    assert not summary_of(grid(episodes=10, step=10), "seed").overlapping


def test_what_is_not_known_is_not_counted():
    rows = [{"key": str(i), "kind": "evaluate", "j_mean": value} for i, value in enumerate([1.0, None, math.nan, 3.0])]
    assert summary_of(rows).table.select("tasks", "mean").row(0) == (2, 2.0)


def test_every_kind_has_its_own_summary_and_a_metric_must_be_a_number():
    rows = [*grid(), {"key": "x", "kind": "train", "share": 0.9, "model": "m.zip"}]
    assert [(one.kind, one.metric) for one in summaries(results_of(rows, ["seed"]))] == [
        ("evaluate", "j_mean"),
        ("train", "share"),
    ]
    for wrong in ("nothing", "model"):
        with pytest.raises(ValueError, match=r"metric must be one of .*j_mean"):
            list(summaries(results_of(rows, ["seed"]), wrong))
    assert list(summaries(results_of([], []))) == []


def test_numbers_lie_along_the_axis_and_policies_are_lines():
    rows = grid(tape=["/x/a.csv", "/x/b.csv"], window=[20, 50])
    assert roles(summary_of(rows, "seed", "tape", "window")) == ("window", "policy", "tape")
    assert roles(summary_of(grid(policies=["a"], window=[1, 2]), "seed", "window")) == ("window", "", "")
    assert roles(summary_of(grid(), "seed")) == ("policy", "", "")


@pytest.mark.parametrize(
    "options",
    [
        {"window": [20, 50]},
        {"window": [1, 10, 100], "spread": [0.1, 0.2]},
        {"tape": ["/x/a.csv", "/x/b.csv"]},
        {"a": [1, 2], "b": [1, 2, 3, 4, 5, 6, 7], "c": ["x", None]},
        {},
    ],
)
def test_whatever_varies_can_be_drawn_and_printed(options):
    summary = summary_of(grid(**options), "seed", *options)
    figure = picture(summary)
    assert figure is not None
    axes = figure.axes
    assert 1 <= len(axes) <= 6
    for one in axes:
        (left, right), (bottom, top) = one.get_xlim(), one.get_ylim()
        assert one.get_lines()
        for line in one.get_lines():
            x, y = line.get_xdata(), line.get_ydata()
            assert left < min(x) <= max(x) < right
            assert bottom < min(y) <= max(y) < top
        for segment in one.collections[0].get_segments():
            assert bottom < segment[:, 1].min() <= segment[:, 1].max() < top
    assert printed(summary).row_count <= 41


def test_a_picture_says_what_it_does_not_show():
    options = {"a": [1, 2], "b": [1, 2, 3, 4, 5, 6, 7], "c": ["x", "y"]}
    figure = picture(summary_of(grid(**options), "seed", *options))
    caption = figure.texts[-1].get_text()
    assert "6 of 7 values of b" in caption
    assert "pooled: c" in caption


def test_where_nothing_varies_there_is_no_picture():
    assert picture(summary_of([{"key": "x", "kind": "train", "share": 0.9}])) is None


def test_a_long_table_is_cut_for_the_terminal_alone():
    summary = summary_of(grid(window=list(range(30))), "seed", "window")
    assert len(summary.table) == 60
    assert printed(summary).row_count == 41
    assert isinstance(summary, Summary)
