"""A venue's rate limit."""


class TokenBucket:
    """Lets through so many requests per second, and a few more at once after a rest.

    Args:
        rate: Requests per second.
        burst: Requests at once.
        now_ns: Monotonic clock.

    Raises:
        ValueError: A rate or burst that would let nothing through.
    """

    def __init__(self, rate: float, *, burst: int, now_ns: int) -> None:
        if not rate > 0:
            raise ValueError(f"requests_per_s must be above 0, got {rate!r}")
        if burst < 1:
            raise ValueError(f"burst must be at least 1, got {burst!r}")
        self._rate, self._burst = rate, burst
        self._tokens, self._at_ns, self._blocked_ns = float(burst), now_ns, now_ns

    def delay_s(self, now_ns: int, *, spare: int = 0) -> float:
        """Return the seconds until a request may be sent that leaves `spare` others; 0 if it may now."""
        self._refill(now_ns)
        missing = min(1 + spare, self._burst) - self._tokens
        # The millionth: rounding must not ask for a wait of nothing.
        tokens_s = missing / self._rate if missing > 1e-6 else 0.0
        return max(tokens_s, (self._blocked_ns - now_ns) / 1e9, 0.0)

    def take(self, requests: int = 1) -> None:
        """Count requests as sent; more than there are make the next one wait longer."""
        self._tokens -= requests

    def block(self, seconds: float, *, now_ns: int) -> None:
        """Let nothing through for a while: the venue has said so."""
        self._blocked_ns = max(self._blocked_ns, now_ns + int(seconds * 1e9))
        self._tokens = min(self._tokens, 0.0)

    def _refill(self, now_ns: int) -> None:
        gained = max(now_ns - self._at_ns, 0) / 1e9 * self._rate
        self._tokens = min(self._tokens + gained, float(self._burst))
        self._at_ns = now_ns
