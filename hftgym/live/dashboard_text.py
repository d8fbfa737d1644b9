"""What the dashboard says in words and numbers, as HTML."""

from html import escape

from hftgym.live.frames import COUNTERS, LATENCIES, Frame
from hftgym.theme import Theme

_MINUS = "\N{MINUS SIGN}"
_BAD = ("garbage", "gaps", "reconnects", "duplicates")  # shown in colour where they are not zero
_WIDTH = 300  # pixels, of a table
_ROOM = "padding:7px 12px;border-radius:6px"


def state(frame: Frame | None, theme: Theme, *, silent_s: float, ended: bool) -> str:
    """Return what the session is doing; `silent_s` above 0 says that it has not been heard of for so long."""
    if ended:
        word, why, color = "ended", "the session has gone", theme.sell
    elif frame is None:
        word, why, color = "waiting", "no tick yet", theme.muted
    elif silent_s:
        word, why, color = "silent", f"no tick for {silent_s:.0f} s", theme.sell
    else:
        color = {"trading": theme.buy, "warming": theme.equity, "withdrawn": theme.equity}.get(frame.state, theme.sell)
        word, why = frame.state, frame.reason
    detail = f"<span style='color:{theme.muted};margin-left:8px'>{escape(why)}</span>"
    return (
        f"<span class='state' style='{_ROOM};background:{color};color:{theme.background}'><b>{word}</b></span>{detail}"
    )


def tiles(frame: Frame, theme: Theme) -> str:
    """Return the row of figures at the top."""
    pnl = frame.pnl
    shown = (
        ("mid", _money(frame.mid), theme.price),
        ("equity", _money(frame.equity), theme.equity),
        ("PnL", _signed(pnl), theme.buy if pnl >= 0 else theme.sell),
        ("spread captured", _signed(frame.spread_capture), theme.ink),
        ("inventory PnL", _signed(frame.inventory_pnl), theme.ink),
        ("fees", _signed(-frame.fees), theme.ink),
        ("inventory", f"{frame.inventory:+g}".replace("-", _MINUS), theme.ink),
        ("fills", f"{frame.fill_count:,}", theme.ink),
        ("tick", f"{frame.tick:,}", theme.ink),
    )
    return "<div style='display:flex;gap:8px'>" + "".join(_tile(*one, theme) for one in shown) + "</div>"


def latency(frame: Frame, theme: Theme) -> str:
    """Return the table of percentiles of the decision latency."""
    names = ["p50", "p90", "p99", "p99.9", "longest"]
    assert len(names) == len(LATENCIES)
    rows = [(name, f"{us:,.1f} µs", theme.ink) for name, us in zip(names, frame.latency_us, strict=False)]
    rows.append(("decisions", f"{frame.decisions:,}", theme.ink))
    return _table("decision latency", rows, theme)


def feed(frame: Frame, theme: Theme) -> str:
    """Return the table of what the feed has counted."""
    rows = [
        (name, f"{count:,}", theme.equity if count and name in _BAD else theme.ink)
        for name, count in zip(COUNTERS, frame.counters, strict=True)
    ]
    return _table("feed", rows, theme)


def _tile(name: str, value: str, color: str, theme: Theme) -> str:
    return (
        f"<div style='{_ROOM};background:{theme.panel};min-width:92px;white-space:nowrap'>"
        f"<div style='color:{theme.muted};font-size:11px'>{name}</div>"
        f"<div class='{name.replace(' ', '-')}' style='color:{color};font-size:17px;"
        f"font-variant-numeric:tabular-nums'>{value}</div></div>"
    )


def _table(title: str, rows: list[tuple[str, str, str]], theme: Theme) -> str:
    cells = "".join(
        f"<tr><td style='color:{theme.muted};padding:1px 0'>{name}</td>"
        f"<td style='color:{color};text-align:right;font-variant-numeric:tabular-nums'>{value}</td></tr>"
        for name, value, color in rows
    )
    return (
        f"<div style='{_ROOM};background:{theme.panel};width:{_WIDTH}px'>"
        f"<div style='color:{theme.muted};font-size:11px;padding-bottom:3px'>{title}</div>"
        f"<table style='width:100%;font-size:13px;border-collapse:collapse'>{cells}</table></div>"
    )


def _money(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}"


def _signed(value: float) -> str:
    return f"{value:+,.2f}".replace("-", _MINUS)
