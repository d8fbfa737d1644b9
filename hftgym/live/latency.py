"""How long decisions take: percentiles of any number of durations in a fixed amount of memory.

>>> monitor = LatencyMonitor()
>>> for duration_ns in range(1, 1_001):
...     monitor.record(duration_ns)
>>> monitor.percentile(50), monitor.percentile(99.9), monitor.max_ns, monitor.count
(501, 999, 1000, 1000)
"""

import math
import time
from collections.abc import Callable, Iterable
from operator import index
from typing import Any

# Buckets per power of two: a value and its bucket's upper end differ by less than 1/128 of the value.
_BITS = 7
_PER_OCTAVE = 2**_BITS
_LONGEST_BITS = 63  # nanoseconds: 292 years
_BUCKETS = (_LONGEST_BITS - _BITS + 1) * _PER_OCTAVE


class LatencyMonitor:
    """Counts durations in log-linear buckets, as HdrHistogram does (G. Tene).

    Up to 255 ns every nanosecond has its own bucket; above, every power of two has 128 equal ones. A percentile is the
    upper end of its bucket: never less than the true one, and never more than 1/128 (0.8 %) above it. The largest
    duration is exact. A monitor takes about 60 kB, however much it has seen, and `record` about 0.3 us. It serves one
    thread at a time; `merge` puts several together.
    """

    __slots__ = ("_counts", "_max")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._counts = [0] * _BUCKETS
        self._max = -1

    def record(self, duration_ns: int) -> None:
        """Count one duration.

        Args:
            duration_ns: Nanoseconds, 0 to 2^63 - 1, an integer such as a difference of `time.perf_counter_ns()`.

        Raises:
            ValueError: It is negative or too long.
            TypeError: It is no integer.
        """
        if type(duration_ns) is not int:
            duration_ns = index(duration_ns)  # numpy's integers; anything else raises
        if not 0 <= duration_ns <= self._max:
            self._new_max(duration_ns)
        shift = duration_ns.bit_length() - _BITS - 1
        self._counts[duration_ns if shift <= 0 else (shift << _BITS) + (duration_ns >> shift)] += 1

    def record_all(self, durations_ns: Iterable[int]) -> None:
        """Count several durations."""
        for duration_ns in durations_ns:
            self.record(duration_ns)

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return sum(self._counts)

    @property
    def max_ns(self) -> int:
        """The longest duration, exactly."""
        return self._checked(self._max)

    @property
    def mean_ns(self) -> float:
        """The mean duration, to 1/256 of itself: every bucket counts with its middle."""
        self._checked(self._max)
        return sum(count * (end + lower_end(end)) / 2 for end, count in self.distribution()) / self.count

    def percentile(self, percent: float) -> int:
        """Return the duration in nanoseconds that `percent` of all durations do not exceed.

        Args:
            percent: 0 to 100; 0 is the shortest one.

        Raises:
            ValueError: Nothing was counted, or `percent` is outside its range.
        """
        return self.percentiles([percent])[0]

    def percentiles(self, percents: Iterable[float]) -> list[int]:
        """Return several percentiles, in nanoseconds, in the order in which they are asked for."""
        percents = list(percents)
        if wrong := [percent for percent in percents if not 0 <= percent <= 100]:
            raise ValueError(f"percent must be a number from 0 to 100, got {wrong[0]!r}")
        # Rounded first: 99.9 % of 1,000 are 999, whatever binary fractions make of 99.9.
        ranks = [max(1, math.ceil(round(percent / 100 * self.count, 6))) for percent in percents]
        found: dict[int, int] = {}
        waiting, seen = sorted(set(ranks), reverse=True), 0
        self._checked(self._max)
        for bucket, count in enumerate(self._counts):
            seen += count
            while waiting and seen >= waiting[-1]:
                found[waiting.pop()] = min(upper_end(bucket), self._max)
            if not waiting:
                break
        return [found[rank] for rank in ranks]

    def distribution(self) -> list[tuple[int, int]]:
        """Return (upper end in ns, count) of every bucket that is not empty, in order."""
        return [(upper_end(bucket), count) for bucket, count in enumerate(self._counts) if count]

    def merge(self, other: "LatencyMonitor") -> None:
        """Count everything that another monitor has counted."""
        self._counts = [mine + theirs for mine, theirs in zip(self._counts, other._counts, strict=True)]
        self._max = max(self._max, other._max)

    def snapshot(self) -> dict[str, float]:
        """Return count, mean_us, p50_us, p90_us, p99_us, p99.9_us and max_us; the count alone if it is 0."""
        if self._max < 0:
            return {"count": 0}
        found = zip((50, 90, 99, 99.9), self.percentiles((50, 90, 99, 99.9)), strict=True)
        percentiles = {f"p{percent:g}_us": value / 1e3 for percent, value in found}
        return {"count": self.count, "mean_us": self.mean_ns / 1e3, **percentiles, "max_us": self._max / 1e3}

    def measured(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with every call that does not raise counted here."""
        record, clock = self.record, time.perf_counter_ns

        def call(*arguments: Any, **named: Any) -> Any:
            start = clock()
            result = function(*arguments, **named)
            record(clock() - start)
            return result

        return call

    def timed(self, policy: Any) -> "TimedPolicy":
        """Return the policy with its decisions counted here."""
        return TimedPolicy(policy, self)

    def _new_max(self, duration_ns: int) -> None:
        if not 0 <= duration_ns < 2**_LONGEST_BITS:
            raise ValueError(f"duration_ns must be from 0 to 2^{_LONGEST_BITS} - 1, got {duration_ns!r}")
        self._max = duration_ns

    def _checked(self, value: int) -> int:
        if self._max < 0:
            raise ValueError("there are no percentiles before a duration has been recorded")
        return value

    def __eq__(self, other: object) -> bool:
        """Whether both have counted the same."""
        if not isinstance(other, LatencyMonitor):
            return NotImplemented
        return (self._counts, self._max) == (other._counts, other._max)

    def __hash__(self) -> int:
        """Refuse: a monitor changes."""
        raise TypeError("a LatencyMonitor changes, so it has no hash")

    def __repr__(self) -> str:
        return f"LatencyMonitor({', '.join(f'{name} {value:,.6g}' for name, value in self.snapshot().items())})"


class TimedPolicy:
    """A policy whose `predict` and `act` are timed; everything else is the policy's own.

    Args:
        policy: Anything with `predict`, and `act` if it has one.
        monitor: Where the durations go. A call for a batch counts as one decision.
    """

    def __init__(self, policy: Any, monitor: LatencyMonitor) -> None:
        self._policy = policy
        self.predict = monitor.measured(policy.predict)
        if hasattr(policy, "act"):
            self.act = monitor.measured(policy.act)

    def __getattr__(self, name: str) -> Any:
        """Return what the policy has."""
        return getattr(self._policy, name)


def upper_end(bucket: int) -> int:
    """Return the largest duration of a bucket, in nanoseconds."""
    shift = max((bucket >> _BITS) - 1, 0)
    return ((bucket - (shift << _BITS) + 1) << shift) - 1


def lower_end(end: int) -> int:
    """Return the smallest duration of the bucket with that upper end, in nanoseconds."""
    return end - (1 << max(end.bit_length() - _BITS - 1, 0)) + 1
