"""What a running session needs."""

from hftgym.live.latency import LatencyMonitor

__all__ = ["LatencyMonitor"]
