"""What the z-score backtests check before they begin: prices, and the numbers of the rule."""

import math
from typing import Any, Literal

import numpy as np

from hftgym.backtest.zscore_kernel import HIGHEST, LOWEST, Rule

Sizing = Literal["deviation", "unit"]

# A z-score this close to a threshold is at it: an entry must be passed, and int(2 |z|) counts what is reached. Prices
# on a grid often lie at a threshold exactly (one price of 50 off: |z| = 7), where rounding would decide.
_AT = 2.0**-40
_LONGEST_WINDOW = 1_000_000
_LARGEST_LIMIT = 2**31 - 1  # the inventory is int32


def checked_prices(prices: Any) -> np.ndarray:
    """Return prices as a contiguous float64 array, (n,) or (paths, n); their values are left to the kernel.

    Raises:
        ValueError: They are not numbers, have another number of dimensions, or are fewer than two.
    """
    array = np.asarray(prices)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"prices must be real numbers, got an array of {array.dtype}")
    if array.ndim not in (1, 2):
        raise ValueError(f"prices must have the shape (n,) or (paths, n), got {array.shape}")
    if array.shape[-1] < 2 or array.shape[0] < 1:
        raise ValueError(f"prices must hold at least one path of at least 2 prices, got the shape {array.shape}")
    return np.ascontiguousarray(array, dtype=np.float64)


def refuse_bad_prices(prices: np.ndarray) -> None:
    """Raise a ValueError that names the first price that is no price."""
    bad = np.argwhere(~((prices >= LOWEST) & (prices <= HIGHEST)))
    if bad.size:
        index = tuple(bad[0].tolist())
        where = f"index {index[0]}" if len(index) == 1 else f"path {index[0]}, index {index[1]}"
        raise ValueError(f"prices must be numbers from {LOWEST:g} to {HIGHEST:g}, got {prices[index]} at {where}")


def checked_rule(
    *,
    spread: float,
    window: int,
    entry: float,
    inventory_limit: int,
    initial_cash: float,
    sizing: str,
    taker_fee_bps: float,
) -> Rule:
    """Return the rule as the kernel takes it.

    Raises:
        ValueError: A number is outside its range; the message names it.
    """
    if sizing not in ("deviation", "unit"):
        raise ValueError(f"sizing must be deviation or unit, got {sizing!r}")
    if number("entry", entry, 0.0, 1e6) == 0.0:
        raise ValueError("entry must be a number above 0, got 0: every rounding error of z would be a signal")
    half = number("spread", spread, 0.0, 1.0) / 2
    return Rule(
        window=whole("window", window, 2, _LONGEST_WINDOW),
        entry=float(entry) * (1.0 + _AT),
        per_deviation=2.0 * (1.0 + _AT) if sizing == "deviation" else 0.0,
        limit=float(whole("inventory_limit", inventory_limit, 1, _LARGEST_LIMIT)),
        cash=number("initial_cash", initial_cash, 0.0, 1e18),
        ask=1.0 + half,
        bid=1.0 - half,
        fee=number("taker_fee_bps", taker_fee_bps, -1_000.0, 1_000.0) * 1e-4,
    )


def whole(name: str, value: Any, low: int, high: int) -> int:
    """Return an integer in [low, high], or raise a ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise ValueError(f"{name} must be an integer from {low} to {high}, got {value!r}")
    return int(value)


def number(name: str, value: Any, low: float, high: float) -> float:
    """Return a finite number in [low, high] as a float, or raise a ValueError."""
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not (real and math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{name} must be a number from {low:g} to {high:g}, got {value!r}")
    return float(value)
