"""What a session tells those who watch it: metrics, logs, and the lines that a dashboard is fed with."""

import json
import logging
import math
import urllib.request

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hftgym.live.events import FeedCounters
from hftgym.live.frames import COUNTERS, History, Lines, decoded, encoded
from hftgym.live.latency import LatencyMonitor
from hftgym.live.logs import JsonLines, json_log, secrets_of
from hftgym.live.metrics import Metrics
from hftgym.live.totals import Totals
from tests.live.watched import bought, snapshot


def scraped(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, *(value for name, value in sample.labels.items() if name != "symbol")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_prometheus_reads_what_the_session_did():
    counters, latency = FeedCounters(messages=7, gaps=2), LatencyMonitor()
    latency.record_all([1_500, 6_000, 40_000, 2_000_000_000])
    with Metrics(counters, latency, labels={"symbol": "X"}) as metrics:
        assert scraped(metrics.url)["hftgym_ticks_total",] == 0
        metrics(snapshot(0))
        metrics(snapshot(1, fills=[bought(2.0), bought(0.5, side=-1)], spread_capture=0.25, fees=-0.5, inventory=1.5))
        metrics(snapshot(2, spread_capture=0.25, inventory_pnl=-3.0, equity=9_997.5, state="withdrawn"))
        counters.messages = 9
        found = scraped(metrics.url)
    assert metrics.url.startswith("http://127.0.0.1:")
    assert found["hftgym_ticks_total",] == 3
    assert found["hftgym_fills_total",] == 2
    assert (found["hftgym_traded_units_total", "buy"], found["hftgym_traded_units_total", "sell"]) == (2.0, 0.5)
    parts = [found[f"hftgym_{name}",] for name in ("spread_capture", "inventory_pnl", "fees", "equity")]
    assert parts == [0.5, -3.0, -0.5, 9_997.5]
    assert (found["hftgym_feed_total", "messages"], found["hftgym_feed_total", "gaps"]) == (9, 2)
    assert (found["hftgym_state", "withdrawn"], found["hftgym_state", "trading"]) == (1, 0)
    assert [found["hftgym_decision_seconds_bucket", end] for end in ("2e-06", "1e-05", "5e-05", "0.1", "+Inf")] == [
        *(1, 2, 3, 3, 4)
    ]
    assert found["hftgym_decision_seconds_count",] == 4
    assert found["hftgym_decision_seconds_sum",] == pytest.approx(2.0000475, rel=0.01)


def test_a_line_of_the_log_is_json_with_its_fields(tmp_path):
    before = logging.getLogger("hftgym").level
    with json_log(tmp_path / "log"):
        log = logging.getLogger("hftgym.live.test")
        log.info("gap of %d", 3, extra={"expected": 5, "price": math.nan, "size": np.float64(2.5)})
        try:
            raise ValueError("bad frame")
        except ValueError:
            log.exception('a "quoted"\nline')
    first, second = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert {
        "level": "INFO",
        "logger": "hftgym.live.test",
        "message": "gap of 3",
        "expected": 5,
    }.items() <= first.items()
    assert first["time"].endswith("+00:00")
    assert (first["price"], first["size"]) == ("nan", 2.5)
    assert second["message"] == 'a "quoted"\nline'
    assert "ValueError: bad frame" in second["exception"]
    assert (logging.getLogger("hftgym").level, logging.getLogger("hftgym").handlers) == (before, [])


def test_no_secret_is_ever_logged(tmp_path, monkeypatch):
    pem = '-----BEGIN KEY-----\nAAAA"BBBB\n-----END KEY-----'
    for name, value in {"VENUE_API_KEY": "k3y-0123456789", "VENUE_SECRET": pem, "A_TOKEN": "1"}.items():
        monkeypatch.setenv(name, value)
    with json_log(tmp_path / "log"):
        log = logging.getLogger("hftgym.live")
        log.warning("sent %s", {"X-API-KEY": "k3y-0123456789"}, extra={"headers": {"k3y-0123456789": [pem, 1]}})
        try:
            raise OSError(f"refused: {pem}")
        except OSError:
            log.exception("k3y-0123456789")
    text = (tmp_path / "log").read_text()
    for part in ("k3y-0123456789", "AAAA", "BBBB"):
        assert part not in text
    assert text.count("***") >= 5
    assert [json.loads(line)["level"] for line in text.splitlines()] == ["WARNING", "ERROR"]


def test_short_values_and_innocent_names_are_no_secrets():
    assert secrets_of({"API_KEY": "longer-one-22", "PASSWORD": "abcdef", "PIN_KEY": "1", "HOME": "/somewhere"}) == (
        "longer-one-22",
        "abcdef",
    )
    record = logging.makeLogRecord({"msg": "tick 1", "levelname": "INFO"})
    assert json.loads(JsonLines(secrets=()).format(record))["message"] == "tick 1"


def test_a_snapshot_survives_its_way_and_what_is_not_finite_is_none():
    totals = Totals()
    seen = snapshot(4, quote_bid=math.nan, fills=[bought(2.0)], fees=0.01, equity=np.float64(9_999.5))
    totals.add(seen)
    frame = decoded(encoded(seen, totals, counters=[0] * len(COUNTERS), latency_us=[1.5], decisions=1).rstrip())
    assert (frame.tick, frame.quote_bid, frame.quote_ask, frame.equity) == (4, None, 100.2, 9_999.5)
    assert frame.fills == list(seen.fills)
    assert (frame.fees, frame.pnl, frame.fill_count) == (0.01, 0.0, 1)


def test_lines_are_found_however_the_bytes_are_cut():
    for size in (1, 2, 3, 100):
        got = []
        lines, data = Lines(got.append), b"ab\n\ncde\nrest"
        for start in range(0, len(data), size):
            lines.feed(data[start : start + size])
        assert got == [b"ab", b"", b"cde"]


def frame_at(tick, time_ns, **more):
    totals = Totals()
    seen = snapshot(tick, time_ns=time_ns, **more)
    totals.add(seen)
    return decoded(encoded(seen, totals, counters=[0] * len(COUNTERS), latency_us=[], decisions=0))


def test_the_history_is_bounded_thinned_and_starts_anew_when_the_clock_is_set_back():
    history = History(window_s=1.0, rows=100)  # one row per 10 ms
    for k in range(5_000):
        history.add(frame_at(k, 10**18 + k * 1_000_000, fills=[bought()]))
    assert len(history.rows) == 100
    assert len(history.fills) == 100
    assert history.newest.tick == 4_999
    assert [row.time_ns for _, row in history.rows_after(history.rows[-3][0])] == [
        10**18 + k * 1_000_000 for k in (4_980, 4_990)
    ]
    history.add(frame_at(0, 10**17))
    assert [row.time_ns for _, row in history.rows] == [10**17]
