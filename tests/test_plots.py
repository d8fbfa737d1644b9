import itertools
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

from hftgym import panels, plots, roster
from hftgym.backtest import backtest
from hftgym.evaluation import play, tabulate
from hftgym.live import LatencyMonitor
from hftgym.params import EnvParams
from hftgym.policies import LinearSkewPolicy, RandomPolicy, ZScorePolicy
from hftgym.tables import duration
from hftgym.theme import DARK, LIGHT, MAX_POLICIES, shortened
from hftgym.trace import trace_backtest, trace_episode
from tests.tapes import random_tape

SHORT = EnvParams(horizon=60, taker_fee_bps=0.0)
THEMES = pytest.mark.parametrize("theme", [DARK, LIGHT], ids=["dark", "light"])

# Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def linear(color):
    c = np.array(to_rgb(color))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def oklab(rgb):
    to_lms = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566]]
    to_lms.append([0.0883024619, 0.2817188376, 0.6299787005])
    to_lab = [[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099]]
    to_lab.append([0.0259040371, 0.7827717662, -0.808675766])
    return np.array(to_lab) @ np.cbrt(np.array(to_lms) @ np.clip(rgb, 0, 1))


def contrast(a, b):
    light, dark = sorted((linear(c) @ [0.2126, 0.7152, 0.0722] for c in (a, b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.fixture(scope="module")
def played():
    return play(roster.rules(params=SHORT), episodes=30, params=SHORT, paths=20)


def pixels(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


@THEMES
@pytest.mark.parametrize("vision", VISION)
def test_policy_colours_stay_apart_for_everyone(theme, vision):
    seen = [oklab(np.array(VISION[vision]) @ linear(color)) for color in theme.policies]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 0.10


@THEMES
def test_colours_stand_out_from_the_background(theme):
    for color in (*theme.policies, theme.ink, theme.price, theme.equity, theme.buy, theme.sell):
        assert contrast(color, theme.panel) >= 2.95, color
    assert contrast(theme.muted, theme.background) >= 4.5


@THEMES
def test_a_policy_has_one_colour_in_every_panel(played, theme):
    paths = {name: one.paths for name, one in played.items()}
    figure = plots.comparison(tabulate(played), paths, theme=theme)
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 4
    equity, inventory, _, ridges = figure.axes
    for color in theme.policies[: len(played)]:
        for axes in (equity, inventory, ridges):
            assert color in [line.get_color() for line in axes.lines]
    assert [text.get_text() for text in figure.legends[-1].get_texts()] == list(played)
    assert pixels(figure).std() > 10


@pytest.mark.parametrize("name", ["", "z-score", "x" * 20, "recurrent-ppo-seed-12345"])
def test_names_stay_short_and_keep_their_ends(name):
    short = shortened(name)
    assert len(short) <= 20
    assert short == name or (short[:9], short[-10:]) == (name[:9], name[-10:])


def test_nobody_squashes_the_rest():
    reach = {"a": (-30.0, 90.0), "b": (10.0, 50.0), "loser": (-90_000.0, 0.0)}
    assert panels.framed(reach) == (-30.0, 90.0, ["loser"])
    assert panels.framed({"flat": (0.0, 0.0)}) == (-1.0, 1.0, [])
    assert panels.framed({"only": (-5e6, 1.0)}) == (-5e6, 1.0, [])


def test_who_leaves_the_frame_is_named():
    class Burn:
        def predict(self, observation, state=None, episode_start=None, deterministic=True):
            return np.full((len(observation), 2), -1.0, dtype=np.float32), state

    dear = EnvParams(horizon=60, taker_fee_bps=100.0)
    played = play({"a": LinearSkewPolicy(), "b": RandomPolicy(), "burn": Burn()}, episodes=20, params=dear, paths=20)
    figure = plots.comparison(tabulate(played), {name: one.paths for name, one in played.items()})
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert any(text.startswith("burn: ends at −") for text in texts[0])
    assert "◀" in texts[2]
    assert any(text.startswith("◀ mean −") for text in texts[3])
    assert figure.axes[0].get_ylim()[0] > -60


def test_a_density_integrates_to_the_share_inside():
    rng = np.random.default_rng(0)
    values = rng.normal(3.0, 2.0, size=20_000)
    grid = np.linspace(-10, 16, 400)
    found = panels.density(values, grid)
    exact = np.exp(-0.5 * ((grid - 3) / 2) ** 2) / np.sqrt(8 * np.pi)
    assert_allclose(found.sum() * (grid[1] - grid[0]), 1, atol=1e-6)
    assert_allclose(found, exact, atol=0.01)
    assert not panels.density(values, grid + 1_000).any()
    assert np.isfinite(panels.density(np.full(5, 3.0), grid)).all()


@pytest.mark.parametrize("policy", [LinearSkewPolicy(), ZScorePolicy(), RandomPolicy()], ids=["maker", "taker", "both"])
def test_the_marked_prices_are_what_was_paid(policy):
    params = EnvParams(horizon=400, taker_fee_bps=0.0)
    trace = trace_episode(policy, params=params, seed=5)
    assert len(trace.mid) == len(trace.equity) == len(trace.time_s) == 401
    earned = trace.sell_price.sum() - trace.buy_price.sum() + trace.inventory[-1] * trace.mid[-1]
    assert len(trace.buy_price) + len(trace.sell_price) > 10
    assert_allclose(trace.equity[-1] - trace.equity[0], earned, atol=1e-6)
    assert trace.inventory[-1] == len(trace.buy_price) - len(trace.sell_price)
    assert "400" not in trace.label
    assert trace.currency == "USDT"


def test_a_trace_is_the_episode_of_the_same_seed():
    params = EnvParams(horizon=80)
    played = play({"it": LinearSkewPolicy()}, episodes=3, seed=20, params=params, paths=3)["it"]
    trace = trace_episode(LinearSkewPolicy(), params=params, seed=22)
    assert_allclose(trace.equity - trace.equity[0], played.paths.pnl[2], atol=1e-4)
    assert_allclose(trace.inventory, played.paths.inventory[2])


@THEMES
def test_an_episode_has_two_panes(theme):
    figure = plots.episode(trace_episode(LinearSkewPolicy(), params=SHORT, name="skew"), theme=theme, caption="x")
    price, equity = figure.axes
    assert price.lines[0].get_color() == theme.price
    assert equity.lines[-1].get_color() == theme.equity
    assert figure.texts[0].get_text() == "skew, seed 0"
    assert pixels(figure).std() > 5


def test_an_episode_without_a_trade_is_a_picture_too():
    trace = trace_episode(ZScorePolicy(), params=EnvParams(horizon=5))
    assert not len(trace.buy_price)
    assert pixels(plots.episode(trace)).std() > 2


def test_a_backtest_becomes_a_trace():
    params = EnvParams(symbol="BTCUSDT", horizon=150, tick_s=0.1, taker_fee_bps=0.0)
    result = backtest(LinearSkewPolicy(), random_tape(0), params)
    assert len(result.fills) > 3
    trace = trace_backtest(result, name="it")
    assert sorted([*trace.buy_price, *trace.sell_price]) == sorted(result.fills.price)
    bought, paid = result.fills.side > 0, result.fills.price * result.fills.size
    earned = result.inventory[-1] * trace.mid[-1] - paid[bought].sum() + paid[~bought].sum()
    assert_allclose(trace.equity[-1] - trace.equity[0], earned, atol=1e-8)
    assert trace.label == "it on BTCUSDT"
    assert pixels(plots.episode(trace)).std() > 5
    figure = plots.recorded({"a": trace, "b": trace}, colors={"a": "#111111", "b": "#222222"}, title="t")
    assert [line.get_color() for line in figure.axes[2].lines[1:]] == ["#111111", "#222222"]
    assert pixels(figure).std() > 5
    with pytest.raises(ValueError, match="one to four paths, got 0"):
        plots.recorded({})


def test_saving_writes_a_png_of_readme_size(tmp_path):
    path = plots.save(plots.episode(trace_episode(LinearSkewPolicy(), params=SHORT)), tmp_path / "episode.png")
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert int.from_bytes(data[16:20]) == 1_800


def test_errors_name_what_is_wrong(played):
    table, paths = tabulate(played), {name: one.paths for name, one in played.items()}
    with pytest.raises(ValueError, match="at least one episode of policy 'z-score'"):
        plots.comparison(table, {name: path for name, path in paths.items() if name != "z-score"})
    many = {f"p{i}": LinearSkewPolicy() for i in range(MAX_POLICIES + 1)}
    crowd = play(many, episodes=2, params=SHORT, paths=1)
    with pytest.raises(ValueError, match=f"at most {MAX_POLICIES} policies legibly, got {MAX_POLICIES + 1}"):
        plots.comparison(tabulate(crowd), {name: one.paths for name, one in crowd.items()})


@pytest.mark.slow
def test_pyplot_is_never_imported():
    code = (
        "import sys, hftgym.plots, hftgym.render, hftgym.trace; from hftgym.policies import ZScorePolicy;"
        "hftgym.plots.episode(hftgym.trace.trace_episode(ZScorePolicy()));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_library_stays_light():
    code = (
        "import sys, hftgym, hftgym.policies;"
        "assert not {'matplotlib', 'polars', 'rich', 'pygame', 'onnxruntime', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def monitors(count):
    generator = np.random.default_rng(0)
    times = {}
    for i in range(count):
        times[f"tier {i}, {('predict', 'act')[i % 2]}"] = monitor = LatencyMonitor()
        monitor.record_all((generator.lognormal(i, 0.3, size=500) * 500).astype(int).tolist())
    return times


@THEMES
def test_times_are_drawn_with_their_percentiles_beside_them(theme):
    times = monitors(4)
    figure = plots.latency(times, title="Times", theme=theme)
    (axes,) = figure.axes
    written = {text.get_text() for text in axes.texts}
    for monitor in times.values():
        for value in monitor.percentiles((50, 99, 99.9)):
            assert duration(value) in written
    low, high = axes.get_xlim()
    fastest, *_, slowest = times.values()
    assert low < fastest.percentile(0) / 1e3
    assert slowest.percentile(99.9) / 1e3 < high
    assert len({*map(tuple, (c.get_facecolor()[0] for c in axes.collections))}) == 2  # one colour per kind
    pixels(figure)


def test_one_duration_alone_can_be_drawn_and_none_or_too_many_cannot():
    one = LatencyMonitor()
    one.record(700)
    pixels(plots.latency({"one": one}))
    for times in ({}, monitors(17)):
        with pytest.raises(ValueError, match="times must hold 1 to 16 monitors"):
            plots.latency(times)
