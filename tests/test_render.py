import os
import pickle
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RenderCollection

import hftgym  # noqa: F401 (registers the ids)
from hftgym.params import EnvParams
from hftgym.render import LiveChart

SHORT = EnvParams(horizon=40)
FAR = 1e290


@pytest.fixture
def dummy(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame = pytest.importorskip("pygame")
    yield pygame
    pygame.display.quit()


def info(mid=100.0, *, fill_bid=0.0, fill_ask=0.0, equity=10_000.0, inventory=0.0):
    touch = {"bid": mid - 0.025, "ask": mid + 0.025}
    return {"mid": mid, "equity": equity, "inventory": inventory, "fill_bid": fill_bid, "fill_ask": fill_ask, **touch}


def no_quotes(chart, tick):
    chart.append(tick, quote_bid=-FAR, quote_ask=FAR)


@pytest.mark.parametrize("mode", ["rgb_array", "human"])
def test_gymnasium_finds_nothing_to_complain_about(mode, dummy):
    env = gym.make("MarketMaking-v0", params=SHORT, render_mode=mode)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    env.close()
    env.close()


def test_a_frame_is_a_picture_that_moves():
    env = gym.make("MarketMaking-v0", params=SHORT, render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    assert first.shape == (540, 960, 3)
    assert first.dtype == np.uint8
    assert first.std() > 2
    env.step(np.zeros(2, dtype=np.float32))
    second = env.render()
    assert (first != second).any()
    assert (env.render() == second).all()
    env.reset(seed=0)
    assert (env.render() == first).all()


def test_frames_can_be_collected_for_a_video():
    env = RenderCollection(gym.make("MarketMaking-v0", params=SHORT, render_mode="rgb_array"))
    env.reset(seed=0)
    for _ in range(3):
        env.step(env.action_space.sample())
    frames = env.render()
    assert len(frames) == 4
    assert len({frame.tobytes() for frame in frames}) == 4


def test_a_resting_fill_is_marked_at_its_quote_and_a_crossing_one_at_the_touch():
    chart = LiveChart(SHORT)
    no_quotes(chart, info(100.0))
    chart.append(info(101.0, fill_bid=1.0, fill_ask=1.0), quote_bid=99.94, quote_ask=100.07)
    chart.append(info(102.0, fill_bid=1.0), quote_bid=FAR, quote_ask=FAR)
    chart.append(info(103.0, fill_ask=1.0), quote_bid=-FAR, quote_ask=101.9)
    no_quotes(chart, info(104.0))
    assert chart._buys == [(0, 99.94), (1, pytest.approx(101.025))]
    assert chart._sells == [(0, 100.07), (2, pytest.approx(101.975))]


def test_the_marks_are_the_prices_that_were_paid():
    env = gym.make("MarketMaking-v0", params=EnvParams(horizon=300, taker_fee_bps=0.0), render_mode="rgb_array")
    env.reset(seed=3)
    env.action_space.seed(3)
    ended, info = False, {}
    while not ended:
        action = env.action_space.sample()
        action[action < -0.8] = -1.0  # so that some cross
        _, _, ended, _, info = env.step(action)
    chart = env.unwrapped._chart
    earned = sum(price for _, price in chart._sells) - sum(price for _, price in chart._buys)
    assert len(chart._buys) > 20
    assert info["equity"] - 10_000 == pytest.approx(earned + info["inventory"] * info["mid"], abs=1e-6)


def test_memory_is_bounded_and_the_newest_ticks_are_shown():
    chart = LiveChart(SHORT)
    for tick in range(5_000):
        mid = 100 + np.sin(tick / 50) + tick * 1e-3
        chart.append(info(mid, fill_bid=float(tick > 0)), quote_bid=mid - 0.05, quote_ask=FAR)
    assert len(chart._time) == len(chart._mid) == len(chart._equity) <= 600
    assert len(chart._buys) <= 600
    assert chart._time[-1] == 4_999
    assert len(chart._time) >= 500
    chart.frame()
    left, right = chart._panes._price.get_xlim()
    assert left <= chart._time[0] < 4_999 <= right
    low, high = chart._panes._price.get_ylim()
    assert low <= min(chart._mid)
    assert max(chart._mid) <= high


def test_a_chart_of_nothing_and_of_a_still_market_is_drawn():
    chart = LiveChart(EnvParams(symbol="X"))
    assert chart.frame().std() > 0
    for _ in range(3):
        no_quotes(chart, info())
    assert chart.frame().std() > 0


def test_make_opens_a_window_and_closing_twice_is_harmless(dummy):
    env = gym.make("MarketMaking-v0", params=SHORT, render_mode="human")
    env.unwrapped.metadata = {**env.unwrapped.metadata, "render_fps": 1_000}
    env.reset(seed=0)
    assert dummy.display.get_surface().get_size() == (960, 540)
    for _ in range(3):
        env.step(env.action_space.sample())
    assert env.render() is None
    picture = dummy.surfarray.array3d(dummy.display.get_surface())
    assert picture.std() > 2
    env.close()
    env.close()
    assert not dummy.display.get_init()


def test_closing_the_window_does_not_stop_the_episode(dummy):
    env = gym.make("MarketMaking-v0", params=SHORT, render_mode="human")
    env.unwrapped.metadata = {**env.unwrapped.metadata, "render_fps": 1_000}
    env.reset(seed=0)
    dummy.event.post(dummy.event.Event(dummy.QUIT))
    for _ in range(3):
        env.step(env.action_space.sample())
    assert not dummy.display.get_init()
    env.reset(seed=1)
    assert not dummy.display.get_init()
    env.close()


def test_without_pygame_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    env = gym.make("MarketMaking-v0", params=SHORT, render_mode="human")
    with pytest.raises(DependencyNotInstalled, match=r'pip install "hftgym\[render\]"'):
        env.reset()


@pytest.mark.slow
def test_without_matplotlib_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import gymnasium as gym, hftgym\n"
        "env = gym.make('MarketMaking-v0', render_mode='rgb_array')\n"
        "try:\n    env.reset()\n"
        "except gym.error.DependencyNotInstalled as error:\n    assert 'hftgym[render]' in str(error)\n"
        "else:\n    raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(
    sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")),
    reason="needs a machine without a screen",
)
def test_without_a_screen_the_error_says_what_to_do_instead(monkeypatch):
    pytest.importorskip("pygame").display.quit()
    for name in ("SDL_VIDEODRIVER", "SDL_VIDEO_DRIVER"):
        monkeypatch.delenv(name, raising=False)
    env = gym.make("MarketMaking-v0", params=SHORT, render_mode="human")
    with pytest.raises(gym.error.Error, match='render_mode="rgb_array"'):
        env.reset()


def test_an_environment_that_draws_can_be_pickled():
    env = gym.make("MarketMaking-v0", params=SHORT, render_mode="rgb_array").unwrapped
    env.reset(seed=0)
    copy = pickle.loads(pickle.dumps(env))
    assert copy._chart is None
    copy.reset(seed=0)
    assert (copy.render() == env.render()).all()
