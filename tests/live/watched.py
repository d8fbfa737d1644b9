"""Snapshots that tests make by hand."""

import time

from hftgym.live.broker import Fill
from hftgym.live.snapshot import Snapshot


def snapshot(tick, *, time_ns=None, state="trading", reason="", fills=(), **more):
    """One tick of a quiet market; equity and parts as given."""
    usual = {"mid": 100.0, "bid": 99.9, "ask": 100.1, "quote_bid": 99.8, "quote_ask": 100.2}
    usual |= {"inventory": 0.0, "cash": 10_000.0, "equity": 10_000.0}
    usual |= {"spread_capture": 0.0, "inventory_pnl": 0.0, "fees": 0.0}
    time_ns = time.time_ns() if time_ns is None else time_ns
    return Snapshot(time_ns=time_ns, tick=tick, state=state, reason=reason, fills=tuple(fills), **(usual | more))


def bought(size=1.0, price=99.8, *, side=1, time_ns=None):
    return Fill(time.time_ns() if time_ns is None else time_ns, side, price, size, 0.01, "a")
