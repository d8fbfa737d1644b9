"""How the dashboard looks: its figures, and where everything stands."""

from html import escape
from typing import TYPE_CHECKING, Any

from bokeh.core.templates import FILE
from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import BasicTicker, DataRange1d, DatetimeTicker, Div, NumeralTickFormatter, Span
from bokeh.plotting import figure
from bokeh.themes import Theme as BokehTheme
from jinja2 import Template

from hftgym.theme import Theme

if TYPE_CHECKING:
    from hftgym.live.dashboard_page import Page

_FONT = "system-ui, 'DejaVu Sans', sans-serif"
SIDE = 330
"""Width of the tables, pixels."""
_PLAIN = "0,0.[000000]"


def lay_out(page: "Page", document: Document, *, title: str, limit: float, theme: Theme) -> None:
    """Put the page's models and the figures into the document."""
    heading = Div(text=f"<b style='font-size:19px;color:{theme.ink}'>{escape(title)}</b>", sizing_mode="stretch_width")
    top = row(heading, page.state, page.button, sizing_mode="stretch_width", styles={"align-items": "center"})
    curves = column(
        _price(page, theme), _inventory(page, limit, theme), _equity(page, theme), sizing_mode="stretch_both"
    )
    side = column(_parts(page, theme), page.latency, page.feed, width=SIDE)
    body = row(curves, side, sizing_mode="stretch_both", spacing=14)
    document.add_root(
        column(top, page.tiles, body, sizing_mode="stretch_both", spacing=6, styles={"padding": "12px 16px"})
    )
    document.title = title
    document.theme = _look(theme)
    document.template = _template(theme)


def _price(page: "Page", theme: Theme) -> Any:
    pane = _pane(page, theme, title="price, own quotes and fills", name="price", weight=3)
    pane.varea("time", "bid", "ask", source=page.ticks, fill_color=theme.price, fill_alpha=0.18)
    lines = [pane.line("time", "mid", source=page.ticks, color=theme.price, line_width=1.6, legend_label="mid")]
    for name, color, label in (("quote_bid", theme.buy, "own bid"), ("quote_ask", theme.sell, "own ask")):
        step = pane.step("time", name, source=page.ticks, color=color, line_width=1.2, mode="after", legend_label=label)
        lines.append(step)
    pane.scatter(
        *("time", "price"),
        source=page.fills,
        marker="marker",
        color="color",
        size=10,
        line_color=theme.panel,
        legend_label="fills",
    )
    # The axis follows the market and the quotes; a fill that has left the window must not hold it.
    pane.y_range = DataRange1d(renderers=lines, range_padding=0.12)
    pane.legend.location = "top_left"
    pane.legend.orientation = "horizontal"
    return pane


def _inventory(page: "Page", limit: float, theme: Theme) -> Any:
    pane = _pane(page, theme, title=f"inventory (limit ±{limit:g} units)", name="inventory", weight=1)
    pane.y_range.update(start=-1.15 * limit, end=1.15 * limit)
    for level, color in ((limit, theme.sell), (-limit, theme.sell), (0.0, theme.muted)):
        pane.add_layout(Span(location=level, dimension="width", line_color=color, line_dash="dashed", line_alpha=0.7))
    pane.step("time", "inventory", source=page.ticks, color=theme.ink, line_width=1.6, mode="after")
    return pane


def _equity(page: "Page", theme: Theme) -> Any:
    pane = _pane(page, theme, title="equity", name="equity", weight=1.5)
    pane.line("time", "equity", source=page.ticks, color=theme.equity, line_width=1.6)
    pane.xaxis.visible = True
    return pane


def _parts(page: "Page", theme: Theme) -> Any:
    pane = _pane(page, theme, title="PnL since the start, by part", name="parts", weight=1)
    pane.update(sizing_mode="fixed", width=SIDE, height=240, height_policy="fixed", min_border_left=56)
    pane.styles = {"flex": "0 0 240px"}
    pane.xaxis.visible = True
    pane.xaxis.ticker = DatetimeTicker(desired_num_ticks=3)
    curves = (
        ("spread_capture", theme.buy, "spread"),
        ("inventory_pnl", theme.price, "inventory"),
        ("costs", theme.sell, "fees"),
    )
    for name, color, label in curves:
        pane.line("time", name, source=page.ticks, color=color, line_width=1.6, legend_label=label)
    pane.legend.location = "top_left"
    pane.legend.orientation = "horizontal"
    return pane


def _pane(page: "Page", theme: Theme, *, title: str, name: str, weight: float) -> Any:
    """Return an empty figure in the page's colours, on the page's time."""
    pane = figure(
        name=name,
        title=title,
        x_axis_type="datetime",
        x_range=page.time,
        y_range=DataRange1d(range_padding=0.12),
        tools="",
        toolbar_location=None,
        sizing_mode="stretch_both",
        min_height=90,
        height_policy="max",
        min_border_left=88,
        styles={"flex": f"{weight:g} 1 0"},
    )
    pane.yaxis.formatter = NumeralTickFormatter(format=_PLAIN)
    pane.yaxis.ticker = BasicTicker(desired_num_ticks=5)
    pane.xaxis.visible = False
    return pane


def _look(theme: Theme) -> BokehTheme:
    """Return the colours of the figures: a quiet grid, no frame."""
    text = {"text_color": theme.muted, "text_font": _FONT, "text_font_size": "12px", "text_font_style": "normal"}
    label = {f"major_label_{name}": value for name, value in text.items()}
    figure = {"background_fill_color": theme.panel, "border_fill_color": theme.background, "outline_line_color": None}
    lines = {"axis_line_color": None, "major_tick_line_color": None, "minor_tick_line_color": None}
    legend = {f"label_{name}": value for name, value in text.items()} | {
        "background_fill_alpha": 0.0,
        "border_line_color": None,
        "padding": 2,
        "spacing": 10,
    }
    attributes = {"Plot": figure, "Title": text, "Axis": lines | label, "Legend": legend}
    return BokehTheme(json={"attrs": attributes | {"Grid": {"grid_line_color": theme.grid}}})


def _template(theme: Theme) -> Template:
    """Return Bokeh's own page with the theme's ground under it."""
    style = f"html,body{{margin:0;height:100%;background:{theme.background};color:{theme.ink};font-family:{_FONT}}}"
    return FILE.environment.from_string(
        f"{{% extends base %}}{{% block postamble %}}<style>{style}</style>{{% endblock %}}"
    )
