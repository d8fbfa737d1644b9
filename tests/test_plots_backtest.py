import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure

from hftgym import plots, plots_backtest
from hftgym.backtest.metrics import measure
from hftgym.panels_backtest import envelope, summed_fills, time_unit
from hftgym.tables_backtest import cells, figures, verdict
from hftgym.theme import DARK, LIGHT
from tests.backtest.paths import make_fills, play, random_play

THEMES = pytest.mark.parametrize(
    "theme", [pytest.param(DARK, id="dark"), pytest.param(LIGHT, id="light", marks=pytest.mark.slow)]
)


def tick_labels(axes):
    """The labels of ticks that lie inside the axes."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks():
            if low <= tick.get_loc() <= high and tick.label1.get_visible() and tick.label1.get_text():
                yield tick.label1


def overlaps(figure):
    """Pairs of texts that lie over each other, those of legends and axes included."""
    figure.canvas.draw()
    found = [text for axes in (figure, *figure.axes) for text in axes.texts if text.get_text()]
    found += [text for legend in figure.legends for text in legend.get_texts()]
    for axes in figure.axes:
        found += axes.get_legend().get_texts() if axes.get_legend() else []
        found += [axes.xaxis.label, axes.yaxis.label, *tick_labels(axes)]
    boxes = [(text.get_text(), text.get_window_extent()) for text in found if text.get_text()]
    return [(a, b) for i, (a, one) in enumerate(boxes) for b, other in boxes[:i] if one.overlaps(other)]


def failing():
    """A path with whipsaws and a trend failure: in and out at once, then long at the limit into a fall."""
    mid = 100 + 0.01 * np.tile([1.0, -1.0], 151)[:301]
    mid[150:] -= np.clip(np.arange(151) / 50, 0, 1) * 8
    tick, side, size = [5, 8, 20, 24, 100, 280], [1, -1, -1, 1, 1, -1], [1, 1, 1, 1, 2, 2]
    price = mid[tick] + np.array(side) * 0.05
    return play(mid, make_fills(tick, side, price, size, mid=mid[tick]), limit=2.0)


@THEMES
def test_failures_are_marked_where_they_are(theme):
    record = failing()
    metrics = measure(record)
    assert (metrics.whipsaws.sum(), len(metrics.trend_failures)) == (2, 1)
    figure = plots_backtest.backtest(record, metrics, name="it", caption="x", theme=theme)
    assert isinstance(figure, Figure)
    price = figure.axes[0]
    marks = {c.get_label(): c for c in price.collections}
    assert marks["whipsaw (2)"].get_offsets()[:, 0].tolist() == pytest.approx([0.8, 2.4])
    (band,) = [patch for patch in price.patches if patch.get_label() == "trend failure (1)"]
    assert band.get_extents().transformed(price.transData.inverted()).x0 == pytest.approx(10.1, abs=0.05)
    assert "−16" in [text.get_text() for text in price.texts]
    assert not overlaps(figure)


def test_losses_that_lie_close_together_are_not_written_over_each_other():
    mid = 100 + 0.01 * np.tile([1.0, -1.0], 251)[:501]
    for start in (100, 124, 300):
        mid[start:] -= 8
    tick, side = np.array([90, 105, 119, 130, 290, 310]), [1, -1, 1, -1, 1, -1]
    record = play(mid, make_fills(tick, side, mid[tick], [2.0] * 6), limit=2.0)
    metrics = measure(record)
    assert len(metrics.trend_failures) == 3
    figure = plots_backtest.backtest(record, metrics)
    assert [text.get_text() for text in figure.axes[0].texts if text.get_text().startswith("−")] == ["−16", "−16"]
    assert not overlaps(figure)


@pytest.mark.slow
def test_thousands_of_fills_are_summed_and_none_is_lost():
    record = random_play(3, ticks=5_000, fills=3_000, limit=1e9)
    metrics = measure(record)
    figure = plots_backtest.backtest(record, metrics, name="it")
    ends = {line.get_label(): line.get_ydata()[-1] for line in figure.axes[2].lines}
    assert ends["PnL"] == pytest.approx(metrics.pnl.value)
    assert ends["before fees"] == pytest.approx(metrics.pnl.value + metrics.fees)
    assert sum(len(c.get_offsets()) for c in figure.axes[0].collections if c.get_label() in ("buy", "sell")) <= 240
    assert not overlaps(figure)
    fills = record.fills
    tick, price, units = summed_fills(fills.tick, fills.price, fills.size, 50.0)
    assert units.sum() == pytest.approx(fills.size.sum())
    assert (price * units).sum() == pytest.approx((fills.price * fills.size).sum())
    assert (np.diff(tick) > 0).all()
    one_by_one = summed_fills(fills.tick, fills.price, fills.size, 0.0)
    assert [column.tolist() for column in one_by_one] == [
        fills.tick.tolist(),
        fills.price.tolist(),
        fills.size.tolist(),
    ]


def test_a_path_without_fills_is_a_picture_too():
    record = play(np.linspace(100, 101, 50), make_fills([], [], [], []))
    assert not overlaps(plots_backtest.backtest(record, measure(record)))
    assert not overlaps(plots_backtest.compared({"a": record}, {"a": measure(record)}))
    assert verdict(measure(record)) == "It never traded."


def test_who_runs_off_the_frame_is_marked_where_he_does():
    mid = np.full(101, 100.0)
    names = {"a": -0.1, "b": 0.1, "loses": -9.0, "wins": 9.0}
    tick, ones = np.arange(2, 100, 5), np.ones(20)
    paths = {name: play(mid, make_fills(tick, ones, 100 - gain * ones, ones)) for name, gain in names.items()}
    found = {name: measure(path) for name, path in paths.items()}
    figure = plots_backtest.compared(paths, found)
    marks = {(text.get_text(), round(text.get_position()[1])) for axes in figure.axes for text in axes.texts}
    assert {mark for mark in marks if mark[0] in ("◀", "▶")} == {("◀", 2), ("▶", 3)}


def test_one_fill_has_a_reason_and_points_without_errors_are_hollow():
    record = play(np.full(101, 100.0), make_fills([50], [1], [99.0], [1.0]))
    figure = plots_backtest.backtest(record, measure(record))
    titles = {axes.get_title(loc="left") or axes.get_title() for axes in figure.axes}
    written = titles | {text.get_text() for axes in figure.axes for text in axes.texts}
    assert "reasons of 1 fill" in written
    hollow = [line for axes in figure.axes for line in axes.lines if line.get_color() == DARK.panel]
    assert [line.get_ydata().tolist()[:3] for line in hollow] == [[0.0, 1.0, 1.0]]


def test_a_long_path_keeps_its_extremes_and_ends():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(100_003)
    rows = envelope(values)
    assert len(rows) < 5_000
    assert {0, len(values) - 1, values.argmin(), values.argmax()} <= set(rows)
    assert envelope(values[:100]).tolist() == list(range(100))


def test_time_is_in_a_unit_with_readable_numbers():
    assert [time_unit(s)[1] for s in (1, 599, 601, 10_000, 1e6)] == ["s", "s", "min", "h", "days"]


@THEMES
def test_policies_are_compared_side_by_side(theme):
    records = {name: random_play(i) for i, name in enumerate(["z-score", "Avellaneda-Stoikov", "fixed spread", "ppo"])}
    metrics = {name: measure(record) for name, record in records.items()}
    figure = plots_backtest.compared(records, metrics, title="t", caption="c", theme=theme)
    after, before, made_of, _ = figure.axes
    widths = np.array([bar.get_width() for bar in made_of.patches]).reshape(4, 3)
    assert widths.sum(axis=1).tolist() == pytest.approx([one.pnl.value for one in metrics.values()])
    assert widths[:, 2].tolist() == pytest.approx([-one.fees for one in metrics.values()])
    for axes, extra in ((after, 0.0), (before, 1.0)):
        for line, one in zip(axes.lines[1:], metrics.values(), strict=True):
            assert line.get_ydata()[-1] == pytest.approx(one.pnl.value + extra * one.fees)
    assert [line.get_color() for line in after.lines[1:]] == list(theme.policies[:4])
    assert not overlaps(figure)


def test_a_grid_is_a_map_per_limit_with_its_best_framed():
    rng = np.random.default_rng(1)
    values = {f"limit {k}": rng.normal(-10, 5, (4, 3)) * k for k in (1, 5)}
    figure = plots_backtest.grid(values, rows=[10, 20, 50, 100], columns=[1, 2, 3], title="t", caption="c")
    for axes, one in zip(figure.axes, values.values(), strict=True):
        (frame,) = axes.patches
        row, column = np.unravel_index(one.argmax(), one.shape)
        assert frame.get_xy() == (column - 0.5, row - 0.5)
        assert len(axes.texts) == 12 + 1
    assert not overlaps(figure)
    large = plots_backtest.grid({"x": rng.normal(size=(60, 90))}, rows=range(60), columns=range(90))
    assert len(large.axes[0].texts) == 1  # no numbers where there is no room for them
    assert not overlaps(large)


def test_refusals():
    record = random_play(0)
    with pytest.raises(ValueError, match="the same names"):
        plots_backtest.compared({"a": record}, {})
    many = {f"p{i}": record for i in range(9)}
    figures_of_many = dict.fromkeys(many, measure(record))
    with pytest.raises(ValueError, match="at most 8 policies"):
        plots_backtest.compared(many, figures_of_many)
    with pytest.raises(ValueError, match="one to 4 maps, got 0"):
        plots_backtest.grid({}, rows=[1], columns=[1])
    with pytest.raises(ValueError, match=r"must have shape \(1, 2\), got \(2, 1\)"):
        plots_backtest.grid({"a": np.zeros((2, 1))}, rows=[1], columns=[1, 2])


def earning(per_tick, fee, *, noise=0.1, ticks=200):
    """Metrics of a path that earns so much per tick before fees."""
    record = random_play(0, ticks=ticks)
    rng = np.random.default_rng(0)
    fees = np.full(len(record.fills), fee * ticks / len(record.fills))
    pnl = per_tick + noise * rng.standard_normal(ticks)
    fills = dataclasses.replace(record.fills, fee=fees)
    paid = np.zeros(ticks)
    np.add.at(paid, fills.tick, fees)
    return measure(dataclasses.replace(record, fills=fills, equity=1e4 + np.append(0.0, np.cumsum(pnl - paid))))


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (earning(1.0, 0.0), "a gain on this tape, which is no evidence for any other."),
        (earning(0.0, 0.0), "no evidence of profit."),
        (earning(-1.0, 0.1), "a loss, even before fees."),
        (earning(1.0, 2.0), "fees took more than it earned."),
        (earning(0.0, 2.0), "a loss to fees, and no evidence of profit without them."),
        (earning(1.0, 0.0, ticks=19), "too short to judge."),
    ],
)
def test_the_verdict_follows_the_intervals(metrics, said):
    assert verdict(metrics).endswith(said)
    assert "profit" not in said or "no evidence" in said


def test_every_figure_has_a_row_and_every_policy_a_column():
    metrics = {"a": measure(random_play(0)), "b": earning(1.0, 0.0, ticks=19)}
    heads, rows = cells(metrics)
    assert heads == ["", "a", "b"]
    assert [row[0] for row in rows] == [name for name, _ in figures(metrics["a"])]
    assert not any("nan" in cell for row in rows for cell in row)


@pytest.mark.slow
def test_saving(tmp_path):
    record = failing()
    path = plots.save(plots_backtest.backtest(record, measure(record)), tmp_path / "a.png")
    assert int.from_bytes(path.read_bytes()[16:20]) == 1_800
