"""What a venue asks of those who ask too often, and snapshots of a book that are fetched accordingly."""

import asyncio
import logging
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from hftgym.live.connection import Backoff, Limits, told
from hftgym.live.events import FeedCounters

_LOG = logging.getLogger(__name__)
_BYTES = 16 * 2**20
# Where the venue does not say how long: Binance counts requests by the minute, and its shortest ban has two.
_USUAL_S = {429: 60.0, 418: 120.0, 503: 0.0}
_LONGEST_S = 3 * 86_400.0  # its longest ban; what asks for more is a mistake


def rest_s(status: int, retry_after: str | None) -> float:
    """Return how many seconds an answer asks to be left alone.

    Args:
        status: Of HTTP: 429 is "too many requests", 418 Binance's ban of an address that went on after it; 503 counts
            where it says how long. All others ask for nothing.
        retry_after: The header (RFC 9110, 10.2.3), seconds or a date; None if there is none.
    """
    if status not in _USUAL_S:
        return 0.0
    text = (retry_after or "").strip()
    try:
        seconds = float(text) if text.isdigit() else (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):  # no date, or one without a zone
        return _USUAL_S[status]
    return min(max(seconds, 0.0), _LONGEST_S)


class Snapshots:
    """Fetches snapshots of a book from one address, over all connections of a feed.

    Requests keep the pauses of a back-off, whether they succeed or not: a stream full of holes asks no more often than
    one whose snapshots fail. What the venue asks for is kept above that.

    Args:
        address: Where.
        limits: Bounds of the request and of the back-off.
        counters: Where refusals are counted.
        seed: Of the jitter.
    """

    def __init__(self, address: str, *, limits: Limits, counters: FeedCounters, seed: int | None = None) -> None:
        self._address, self._limits, self._counters = address, limits, counters
        self._backoff = Backoff(limits, seed=seed)
        self._asked_s, self._free_s = float("-inf"), float("-inf")  # time.monotonic()

    async def fetch(self) -> bytes:
        """Return a snapshot that is not older than this call.

        Raises:
            OSError: There is none.
        """
        wait_s = self._backoff.after(time.monotonic() - self._asked_s)
        await asyncio.sleep(max(wait_s, self._free_s - time.monotonic()))
        self._asked_s = time.monotonic()
        try:
            return await asyncio.to_thread(_get, self._address, self._limits.open_s)
        except HTTPError as error:
            self._rest(error.code, error.headers.get("Retry-After"))
            raise OSError(f"{self._address} answers {error.code}") from None
        finally:
            self._asked_s = time.monotonic()

    def _rest(self, status: int, retry_after: str | None) -> None:
        seconds = rest_s(status, retry_after)
        self._free_s = time.monotonic() + seconds
        if seconds > 0:
            note_rest(self._counters, status, seconds)


def note_rest(counters: FeedCounters, status: int, seconds: float) -> None:
    """Count and log that a venue asks for a rest."""
    counters.limited += 1
    text = "the venue has banned this address" if status == 418 else "the venue asks for a rest"
    _LOG.warning(text, extra={"status": status, "rest_s": seconds})


def _get(address: str, timeout_s: float) -> bytes:
    opener = build_opener() if address.startswith("https:") else build_opener(ProxyHandler({}))
    try:
        with opener.open(address, timeout=timeout_s) as answer:
            return answer.read(_BYTES)
    except HTTPError as error:
        error.close()  # it holds the connection
        raise
    except HTTPException as error:
        raise OSError(f"{address}: {told(error)}") from error
