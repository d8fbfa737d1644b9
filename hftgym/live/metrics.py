"""A Prometheus endpoint for a session.

Figures are kept by an observer and become text when somebody asks, in a thread: a scrape takes about a millisecond.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, Self, get_args
from wsgiref.simple_server import WSGIServer

try:
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
except ImportError as error:  # pragma: no cover (the tests need it themselves)
    raise ImportError('prometheus-client is not installed: pip install "hftgym[live]"') from error

from hftgym.live.events import FeedCounters
from hftgym.live.latency import LatencyMonitor
from hftgym.live.snapshot import Snapshot, State
from hftgym.live.totals import Totals

HOST = "127.0.0.1"
_BUCKETS_US = (2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 100_000)
_GAUGES = {
    "mid": "Mid price, quote currency.",
    "inventory": "Units held.",
    "cash": "Quote currency.",
    "equity": "Cash and inventory at the mid, quote currency.",
}
_PARTS = ("spread_capture", "inventory_pnl", "fees")


class Metrics:
    """An observer that answers http://127.0.0.1:port/metrics while its context lasts.

    Args:
        counters: Of the feed.
        latency: Of the decisions.
        labels: Put on every figure, such as `{"venue": "binance", "symbol": "BTCUSDT"}`.
        port: 0 for any that is free.

    Attributes:
        url: Where the figures are.

    Raises:
        ImportError: prometheus-client is not installed.
        OSError: The port is taken.
    """

    def __init__(
        self, counters: FeedCounters, latency: LatencyMonitor, *, labels: dict[str, str] | None = None, port: int = 0
    ) -> None:
        self._counters, self._latency, self._labels, self._port = counters, latency, labels or {}, port
        self._totals, self._newest = Totals(), None
        self.url = ""

    def __call__(self, snapshot: Snapshot) -> None:
        """Take a tick into account."""
        self._totals.add(snapshot)
        self._newest = snapshot

    def __enter__(self) -> Self:
        """Start to answer."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        server: tuple[WSGIServer, threading.Thread] = start_http_server(self._port, addr=HOST, registry=registry)
        self._server, self._thread = server
        self.url = f"http://{HOST}:{self._server.server_port}/metrics"
        return self

    def __exit__(self, *_: object) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def describe(self) -> list[Metric]:
        """Return nothing: what there is, is seen in `collect`."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every figure as it is now."""
        newest, totals = self._newest, self._totals
        for name, value in (("ticks", totals.ticks), ("fills", totals.fills)):
            yield self._counter(name, f"{name.capitalize()} since the start.", value)
        units = CounterMetricFamily("hftgym_traded_units", "Units.", labels=[*self._labels, "side"])
        for side, value in (("buy", totals.bought), ("sell", totals.sold)):
            units.add_metric([*self._labels.values(), side], value)
        yield units
        for name in _PARTS:
            # A gauge: every part can fall.
            yield self._gauge(name, f"{name} since the start, quote currency.", getattr(totals, name))
        yield self._feed()
        yield self._latencies()
        if newest is not None:
            for name, text in _GAUGES.items():
                yield self._gauge(name, text, getattr(newest, name))
            yield self._gauge("last_tick_seconds", "When the last tick ended, s since 1970.", newest.time_ns / 1e9)
            yield self._state(newest.state)

    def _counter(self, name: str, text: str, value: float) -> Metric:
        family = CounterMetricFamily(f"hftgym_{name}", text, labels=list(self._labels))
        family.add_metric(list(self._labels.values()), value)
        return family

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"hftgym_{name}", text, labels=list(self._labels))
        family.add_metric(list(self._labels.values()), value)
        return family

    def _feed(self) -> Metric:
        family = CounterMetricFamily("hftgym_feed", "What the feed has seen.", labels=[*self._labels, "kind"])
        for name in FeedCounters.__slots__:
            family.add_metric([*self._labels.values(), name], getattr(self._counters, name))
        return family

    def _state(self, state: str) -> Metric:
        family = GaugeMetricFamily("hftgym_state", "1 for what the session does.", labels=[*self._labels, "state"])
        for name in get_args(State):
            family.add_metric([*self._labels.values(), name], float(name == state))
        return family

    def _latencies(self) -> Metric:
        text = "From the end of a tick to its order."
        family = HistogramMetricFamily("hftgym_decision_seconds", text, labels=list(self._labels))
        family.add_metric(list(self._labels.values()), *buckets(self._latency))
        return family


def buckets(latency: LatencyMonitor) -> tuple[list[tuple[str, float]], float]:
    """Return ([(upper end in s, durations up to it)], sum in s), as Prometheus counts; the sum to 1 %."""
    counts, total_ns = [0] * (len(_BUCKETS_US) + 1), 0.0
    for end_ns, count in latency.distribution():
        counts[bisect_left(_BUCKETS_US, end_ns / 1e3)] += count
        total_ns += end_ns * count
    found: list[tuple[str, float]] = []
    below: Any = 0
    for end, count in zip((*(f"{us / 1e6:g}" for us in _BUCKETS_US), "+Inf"), counts, strict=True):
        below += count
        found.append((end, below))
    return found, total_ns / 1e9
