"""The monitor's percentiles are those of all durations, up to the bound that it states."""

import pickle
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hftgym.live import LatencyMonitor
from hftgym.live.latency import lower_end, upper_end
from hftgym.policies import FixedSpreadPolicy

durations = st.lists(
    st.one_of(st.integers(0, 300), st.integers(0, 10**7), st.integers(0, 2**63 - 1), st.just(2**63 - 1)),
    min_size=1,
    max_size=200,
)
percents = st.one_of(st.sampled_from([0, 50, 90, 99, 99.9, 100]), st.floats(0, 100))


def filled(values):
    monitor = LatencyMonitor()
    monitor.record_all(values)
    return monitor


@given(durations, percents)
def test_a_percentile_is_never_too_short_and_hardly_too_long(values, percent):
    true = int(np.quantile(np.array(values, dtype=np.uint64), percent / 100, method="inverted_cdf"))
    # numpy rounds the rank otherwise where percent * count is an integer but for the last bit.
    rank = percent / 100 * len(values)
    if abs(rank - round(rank)) < 1e-6:
        true = sorted(values)[max(round(rank), 1) - 1]
    found = filled(values).percentile(percent)
    assert true <= found <= true + true / 128


@given(durations)
def test_the_largest_and_the_count_are_exact_and_the_mean_nearly(values):
    monitor = filled(values)
    assert (monitor.max_ns, monitor.count) == (max(values), len(values))
    assert monitor.percentile(100) == max(values)
    assert monitor.mean_ns == pytest.approx(sum(values) / len(values), rel=1 / 256)
    assert sum(count for _, count in monitor.distribution()) == len(values)


@given(durations, durations)
def test_merging_is_recording_both(first, second):
    monitor = filled(first)
    monitor.merge(filled(second))
    assert monitor == filled(first + second)
    assert monitor.snapshot() == filled(first + second).snapshot()


@given(durations, st.lists(percents, min_size=1, max_size=5))
def test_several_percentiles_are_the_single_ones(values, wanted):
    monitor = filled(values)
    assert monitor.percentiles(wanted) == [monitor.percentile(percent) for percent in wanted]


def test_every_duration_lies_in_its_bucket():
    for value in [*range(2_000), *(2**k + d for k in range(11, 63) for d in (-1, 0, 1)), 2**63 - 1]:
        ((end, count),) = filled([value]).distribution()
        assert count == 1
        assert lower_end(end) <= value <= end <= value + value / 128


def test_ends_of_buckets_grow():
    ends = [upper_end(bucket) for bucket in range(len(LatencyMonitor()._counts))]
    assert all(a < b for a, b in pairwise(ends))
    assert ends[-1] == 2**63 - 1


def test_memory_does_not_grow():
    monitor = LatencyMonitor()
    before = sys.getsizeof(monitor._counts)
    monitor.record_all(range(0, 10**7, 97))
    assert sys.getsizeof(monitor._counts) == before
    assert before < 60_000


def test_reset_forgets():
    monitor = filled([5, 7])
    monitor.reset()
    assert monitor == LatencyMonitor()
    assert monitor.snapshot() == {"count": 0}
    for ask in (lambda: monitor.percentile(50), lambda: monitor.max_ns, lambda: monitor.mean_ns):
        with pytest.raises(ValueError, match="before a duration"):
            ask()


def test_numpys_integers_count_and_what_is_no_integer_leaves_no_trace():
    monitor = filled([3])
    monitor.record_all(np.array([1_000, 70], dtype=np.int64))
    assert monitor == filled([3, 1_000, 70])
    for wrong in (100.0, "7", None):
        with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
            monitor.record(wrong)
    assert monitor == filled([3, 1_000, 70])


@pytest.mark.parametrize("wrong", [-1, 2**63])
def test_a_duration_out_of_range_is_refused_and_leaves_no_trace(wrong):
    monitor = filled([3])
    with pytest.raises(ValueError, match="duration_ns must be"):
        monitor.record(wrong)
    assert monitor == filled([3])


@pytest.mark.parametrize("wrong", [-0.1, 100.1, float("nan")])
def test_a_percent_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match="percent must be a number from 0 to 100"):
        filled([3]).percentile(wrong)


def test_a_timed_policy_is_the_policy_with_its_decisions_counted():
    monitor = LatencyMonitor()
    policy = FixedSpreadPolicy(2.0)
    timed = monitor.timed(policy)
    observation = np.zeros(8, dtype=np.float32)
    for _ in range(50):
        np.testing.assert_array_equal(timed.predict(observation)[0], policy.predict(observation)[0])
    assert monitor.count == 50
    assert 0 < monitor.percentile(0) <= monitor.percentile(50) <= monitor.max_ns
    with pytest.raises(ValueError, match="shape"):
        timed.predict(np.zeros(3))
    assert monitor.count == 50  # what raises is no decision
    assert timed.offset == policy.offset
    with pytest.raises(AttributeError):
        _ = timed.act


def test_a_monitor_survives_pickling():
    monitor = filled([1, 10**6])
    assert pickle.loads(pickle.dumps(monitor)) == monitor


def test_the_snapshot_is_what_the_report_shows():
    assert filled(range(1, 100_001)).snapshot() == pytest.approx(
        {
            "count": 100_000,
            "mean_us": 50.0005,
            "p50_us": 50.0,
            "p90_us": 90.0,
            "p99_us": 99.0,
            "p99.9_us": 99.9,
            "max_us": 100.0,
        },
        rel=1 / 128,
    )
