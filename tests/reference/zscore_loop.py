"""The z-score backtest as it is said in words: one price after the other, with numpy's own mean and deviation."""

from collections import deque
from fractions import Fraction
from math import isqrt

import numpy as np


def play(prices, *, spread=0.0005, window=50, entry=1.5, limit=10, cash=10_000.0, unit=False, fee_bps=0.0):
    """Return (z, signal, inventory, cash, equity) as arrays, and trades as (tick, side, price, size, fee)."""
    recent, held, rows, trades = deque(maxlen=window), 0, [], []
    for tick, price in enumerate(prices.tolist()):
        recent.append(price)
        z = 0.0
        if len(recent) == window:
            deviation = np.std(recent)
            z = (price - np.mean(recent)) / deviation if deviation > 0 else 0.0
        side = 1 if z < -entry else -1 if z > entry else 0
        size = min(1 if unit else int(2 * abs(z)), limit - side * held)
        if side != 0 and size > 0:
            paid = price * (1 + side * spread / 2)
            fee = size * paid * fee_bps * 1e-4
            cash, held = cash - side * size * paid - fee, held + side * size
            trades.append((tick, side, paid, size, fee))
        rows.append((z, side, held, cash, cash + held * price))
    return [np.array(column) for column in zip(*rows, strict=True)], trades


def exact_orders(prices, window, entry):
    """Return signal and int(2 |z|) of every tick in exact arithmetic."""
    signals, sizes = [], []
    for tick in range(len(prices)):
        recent = [Fraction(p) for p in prices[max(tick + 1 - window, 0) : tick + 1].tolist()]
        distance = window * recent[-1] - sum(recent)
        variance = window * sum(x * x for x in recent) - sum(recent) ** 2
        if len(recent) < window or variance == 0:
            distance, variance = Fraction(0), Fraction(1)
        ratio = distance**2 / variance
        signals.append((1 if distance < 0 else -1) if ratio > Fraction(entry) ** 2 else 0)
        sizes.append(isqrt(int(4 * ratio)))
    return np.array(signals), np.array(sizes)
