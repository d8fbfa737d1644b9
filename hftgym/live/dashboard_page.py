"""One browser's page of the dashboard: what is on it, and how it follows the history."""

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

from bokeh.document import Document
from bokeh.models import Button, ColumnDataSource, Div, Range1d

from hftgym.live import dashboard_panes as panes
from hftgym.live import dashboard_text as text
from hftgym.live.frames import Frame, History, number
from hftgym.theme import DARK, Theme

_UPDATE_MS = 80  # looked for this often; sent only where there is something new
_SILENT_S = 2.0  # without a frame: the page says so
_PAGE = 1 / 20  # of the window: the axes stand still in between, which saves the browser half of its drawing
_TABLES_EVERY_S = 0.5  # nobody reads counters faster


class Page:
    """The models of one document, updated in place.

    Args:
        document: A new one.
        history: Of the session, shared by all pages.
        title: Of the page.
        limit: Of the inventory, units.
        stop: Called with a reason when the button is pressed.
        theme: Colours.
    """

    def __init__(
        self,
        document: Document,
        history: History,
        *,
        title: str,
        limit: float,
        stop: Callable[[str], None],
        theme: Theme = DARK,
    ) -> None:
        self._history, self._stop, self._theme = history, stop, theme
        self._seen = self._rows_seen = 0
        self._fills_seen = 0
        self._tables_at = 0.0
        self._seen_at = time.monotonic()
        self.ticks = ColumnDataSource({name: [] for name in _COLUMNS}, name="ticks")
        self.fills = ColumnDataSource({name: [] for name in ("time", "price", "marker", "color")}, name="fills")
        self.time = Range1d(start=0, end=history.window_ms)
        self.tiles, self.latency, self.feed = (Div(name=name, sizing_mode="stretch_width") for name in _TEXTS)
        self.state = Div(name="state", styles={"white-space": "nowrap", "margin-right": "20px"})
        self.button = Button(label="STOP: cancel every order", button_type="danger", name="stop", width=220, height=40)
        self.button.on_click(self._pressed)
        panes.lay_out(self, document, title=title, limit=limit, theme=theme)
        self.update(force=True)
        document.add_periodic_callback(self.update, _UPDATE_MS)

    def update(self, *, force: bool = False) -> None:
        """Send the browser what is new."""
        history, now = self._history, time.monotonic()
        if history.received != self._seen:
            self._seen, self._seen_at = history.received, now
            force = True
        silent_s = now - self._seen_at
        if not (force or silent_s > _SILENT_S or history.ended):
            return
        frame = history.newest
        _set(
            self.state, text.state(frame, self._theme, silent_s=silent_s * (silent_s > _SILENT_S), ended=history.ended)
        )
        if frame is None or not force:
            return
        self._follow_curves(frame)
        _set(self.tiles, text.tiles(frame, self._theme))
        if now - self._tables_at >= _TABLES_EVERY_S:
            self._tables_at = now
            _set(self.latency, text.latency(frame, self._theme))
            _set(self.feed, text.feed(frame, self._theme))
        if frame.state == "stopped" and self.button.label != "stopped":
            self._disable("stopped")

    def _follow_curves(self, frame: Frame) -> None:
        rows = self._history.rows_after(self._rows_seen)
        if rows:
            self._rows_seen = rows[-1][0]
            self.ticks.stream(columns(one for _, one in rows), rollover=self._history.rows.maxlen)
        page_ms = self._history.window_ms * _PAGE
        end = (math.floor(frame.time_ns / 1e6 / page_ms) + 1) * page_ms
        if end != self.time.end:
            self.time.update(start=end - self._history.window_ms, end=end)
        new = min(self._history.fills_received - self._fills_seen, len(self._history.fills))
        if new:
            self._fills_seen = self._history.fills_received
            fills = list(self._history.fills)[-new:]
            self.fills.stream(
                {
                    "time": [fill.time_ns / 1e6 for fill in fills],
                    "price": [fill.price for fill in fills],
                    "marker": ["triangle" if fill.side > 0 else "inverted_triangle" for fill in fills],
                    "color": [self._theme.buy if fill.side > 0 else self._theme.sell for fill in fills],
                },
                rollover=self._history.rows.maxlen,
            )

    def _pressed(self) -> None:
        self._disable("stopping: asked the session")
        self._stop("dashboard button")

    def _disable(self, label: str) -> None:
        self.button.update(disabled=True, label=label)


_TEXTS = ("tiles", "latency", "feed")
_COLUMNS = (
    *("time", "mid", "bid", "ask", "quote_bid", "quote_ask"),
    *("inventory", "equity", "spread_capture", "inventory_pnl", "costs"),
)


def columns(frames: Iterable[Frame]) -> dict[str, Any]:
    """Return the rows of the curves; what is not there is NaN, a gap."""
    rows = list(frames)
    named = {name: [number(getattr(row, name)) for row in rows] for name in _COLUMNS[1:-1]}
    return {"time": [row.time_ns / 1e6 for row in rows], "costs": [-row.fees for row in rows], **named}


def _set(div: Div, html: str) -> None:
    if div.text != html:
        div.text = html
