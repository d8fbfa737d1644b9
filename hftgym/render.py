"""The live chart of one environment: the two panes of `hftgym.plots.episode`, fast enough to watch.

Drawing all of a matplotlib figure takes tens of milliseconds, nearly all of it for text and grids that do not change.
Those are drawn once and kept as a picture; a frame restores it and draws the curves on top. The axes move only when the
curves leave them, and then by a good piece.
"""

import os
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import DependencyNotInstalled

try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
except ImportError as error:  # pragma: no cover (the tests need matplotlib themselves)
    raise DependencyNotInstalled('matplotlib is not installed: pip install "hftgym[render]"') from error

from hftgym.params import EnvParams
from hftgym.theme import DARK, Theme, font, pane_title, plain_numbers, style_axes

_SIZE = (960, 540)  # pixels, both even: video codecs ask for it
_TICKS = 500  # shown
_PAGE = 100  # ticks that the window of time moves at once
_NO_QUOTE = 1e200  # beyond it a quote is none (withdrawn) or has no limit (crossing)
_MINUS = "\N{MINUS SIGN}"


class LiveChart:
    """Price with buys and sells above, equity below, over the last 500 to 600 ticks of the running episode.

    `append` only remembers, so that ticks which nobody looks at cost next to nothing; `frame` draws.

    Args:
        params: The market, for labels and units.
        theme: `hftgym.theme.DARK` or `LIGHT`.
    """

    def __init__(self, params: EnvParams, *, theme: Theme = DARK) -> None:
        self._params = params
        self._panes = _Panes(params, theme)
        self._window: _Window | None = None
        self._dismissed = False
        self.restart()

    def restart(self) -> None:
        """Forget all ticks: an episode begins."""
        self._tick = -1  # of the newest price
        self._touch = (-np.inf, np.inf)
        self._start_equity = 0.0
        self._inventory = 0.0
        self._time: list[float] = []
        self._mid: list[float] = []
        self._equity: list[float] = []
        self._buys: list[tuple[float, float]] = []  # (tick, price)
        self._sells: list[tuple[float, float]] = []

    def append(self, info: dict[str, Any], *, quote_bid: float, quote_ask: float) -> None:
        """Add a tick.

        Args:
            info: Of `reset` or `step`.
            quote_bid: The bid that met this tick, an absolute price; beyond 1e200 in size it is none or has no limit.
            quote_ask: The ask, likewise.
        """
        best_bid, best_ask = self._touch
        # The quotes met the market before the mid moved: a fill belongs to the previous price, and to its touch.
        if info["fill_bid"] > 0:
            self._buys.append((self._tick, min(quote_bid, best_ask)))
        if info["fill_ask"] > 0:
            self._sells.append((self._tick, max(quote_ask, best_bid)))
        self._tick += 1
        self._touch = (info["bid"], info["ask"])
        self._inventory = info["inventory"]
        if not self._time:
            self._start_equity = info["equity"]
        self._time.append(self._tick)
        self._mid.append(info["mid"])
        self._equity.append(info["equity"])
        if len(self._time) > _TICKS + _PAGE:
            self._forget(self._tick - _TICKS)

    def frame(self) -> np.ndarray:
        """Return the chart as uint8 (540, 960, 3)."""
        pnl = self._equity[-1] - self._start_equity if self._equity else 0.0
        text = f"tick {max(self._tick, 0):,}    inventory {self._inventory:+g}    PnL {pnl:+,.2f}".replace("-", _MINUS)
        return self._panes.draw(self._time, self._mid, self._equity, self._buys, self._sells, text)

    def show(self, *, fps: float) -> None:
        """Draw the chart in a window and wait until 1 / `fps` seconds have passed since the last time.

        Once the user has closed the window it stays closed, and this does nothing.

        Raises:
            gymnasium.error.DependencyNotInstalled: pygame-ce is not installed.
            gymnasium.error.Error: There is no display.
        """
        if self._dismissed:
            return
        if self._window is None:
            self._window = _Window(f"hftgym   {self._params.symbol}")
        if not self._window.show(self.frame(), fps):
            self._dismissed = True
            self.close()

    def close(self) -> None:
        """Close the window, if there is one; harmless when repeated."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def _forget(self, before: int) -> None:
        """Drop what happened before a tick."""
        gone = int(before - self._time[0])
        for series in (self._time, self._mid, self._equity):
            del series[:gone]
        self._buys = [fill for fill in self._buys if fill[0] >= before]
        self._sells = [fill for fill in self._sells if fill[0] >= before]


class _Panes:
    """The figure: what stays is drawn when the axes move, what moves is drawn in every frame."""

    def __init__(self, params: EnvParams, theme: Theme) -> None:
        width, height = _SIZE
        self._figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor=theme.background)
        self._canvas = FigureCanvasAgg(self._figure)
        currency = params.symbol.rpartition("-")[2] or "quote currency"
        self._price = self._figure.add_axes((0.100, 0.435, 0.885, 0.43))
        self._account = self._figure.add_axes((0.100, 0.115, 0.885, 0.245))
        style_axes(self._price, theme)
        style_axes(self._account, theme, unit_x=f"tick of {params.tick_s:g} s")
        pane_title(self._price, f"price ({currency})", theme)
        pane_title(self._account, f"equity ({currency})", theme)
        self._price.tick_params(labelbottom=False)
        for axes in (self._price, self._account):
            plain_numbers(axes.yaxis)
        self._figure.text(0.022, 0.947, params.symbol, color=theme.ink, va="center", **font(12, bold=True))
        self._status = self._figure.text(0.985, 0.947, "", color=theme.ink, va="center", ha="right", **font(10))
        fills = {"linestyle": "", "markersize": 5.5, "markeredgecolor": theme.panel, "markeredgewidth": 0.5}
        (self._mid,) = self._price.plot([], [], color=theme.price, linewidth=1.3)
        (self._buys,) = self._price.plot([], [], marker="^", color=theme.buy, **fills)
        (self._sells,) = self._price.plot([], [], marker="v", color=theme.sell, **fills)
        (self._equity,) = self._account.plot([], [], color=theme.equity, linewidth=1.5)
        self._moving = (self._mid, self._buys, self._sells, self._equity)
        for artist in (*self._moving, self._status):
            artist.set_animated(True)
        self._still: Any = None

    def draw(
        self,
        time: list[float],
        mid: list[float],
        equity: list[float],
        buys: list[tuple[float, float]],
        sells: list[tuple[float, float]],
        status: str,
    ) -> np.ndarray:
        """Return the picture of these series."""
        if self._fit(time, mid, equity) or self._still is None:
            self._canvas.draw()
            self._still = self._canvas.copy_from_bbox(self._figure.bbox)
        self._mid.set_data(time, mid)
        self._equity.set_data(time, equity)
        _set_points(self._buys, buys)
        _set_points(self._sells, sells)
        self._status.set_text(status)
        self._canvas.restore_region(self._still)
        for line in self._moving:
            assert line.axes is not None
            line.axes.draw_artist(line)
        self._figure.draw_artist(self._status)
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()

    def _fit(self, time: list[float], mid: list[float], equity: list[float]) -> bool:
        """Move the axes if the series do not fit, and say whether they moved."""
        first = time[0] if time else 0.0
        # Whole pages, so that the axes stand still between them.
        left = max(0.0, np.floor((first + _PAGE - 1) / _PAGE) * _PAGE)
        moved = self._price.get_xlim()[0] != left - 5
        if moved:
            for axes in (self._price, self._account):
                axes.set_xlim(left - 5, left + _TICKS + _PAGE + 5)
        for axes, series in ((self._price, mid), (self._account, equity)):
            low, high = (min(series), max(series)) if series else (0.0, 0.0)
            bottom, top = axes.get_ylim()
            room = max(high - low, 1e-4 * abs(high), 1e-12)
            # Too small to hold the curve, or so large that it would lie flat.
            if moved or low < bottom or high > top or (top - bottom) > 4 * room:
                axes.set_ylim(low - 0.3 * room, high + 0.3 * room)
                moved = True
        return moved


class _Window:
    """A window of the desktop, through pygame's display alone (no sound, no joystick)."""

    def __init__(self, title: str) -> None:
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame
        except ImportError as error:
            raise DependencyNotInstalled('pygame-ce is not installed: pip install "hftgym[render]"') from error
        self._pygame = pygame
        self._surface = self._open(title)
        self._clock = pygame.time.Clock()

    def show(self, frame: np.ndarray, fps: float) -> bool:
        """Show a picture, uint8 (height, width, 3), and return whether the window is still wanted."""
        pygame = self._pygame
        if any(event.type == pygame.QUIT for event in pygame.event.get()):
            return False
        height, width, _ = frame.shape
        self._surface.blit(pygame.image.frombuffer(frame.tobytes(), (width, height), "RGB"), (0, 0))
        pygame.display.flip()
        self._clock.tick(fps)
        return True

    def close(self) -> None:
        """Take the window away."""
        self._pygame.display.quit()

    def _open(self, title: str) -> Any:
        pygame = self._pygame
        try:
            pygame.display.init()
            chosen = os.environ.get("SDL_VIDEODRIVER") or os.environ.get("SDL_VIDEO_DRIVER")
            if not chosen and pygame.display.get_driver() in ("offscreen", "dummy"):  # SDL's way to say: none
                raise pygame.error("no display was found")
            surface = pygame.display.set_mode(_SIZE)
            pygame.display.set_caption(title)
        except pygame.error as error:
            pygame.display.quit()
            raise gym.error.Error(
                f'render_mode="human" cannot open a window: {error}. On a machine without a screen use '
                'render_mode="rgb_array" (for example with gymnasium.wrappers.RecordVideo).'
            ) from error
        return surface


def _set_points(line: Line2D, points: list[tuple[float, float]]) -> None:
    ticks, prices = zip(*points, strict=True) if points else ((), ())
    line.set_data(ticks, prices)
