"""Small paths and fill logs for tests."""

import numpy as np

from hftgym.backtest import Fills
from hftgym.backtest.record import Record


def make_fills(tick, side, price, size, *, fee=None, mid=None, reason=None):
    """A fill log; what is not given is nothing."""
    k = len(tick)

    def column(values, dtype):
        return np.array(np.zeros(k) if values is None else values, dtype=dtype)

    return Fills(
        tick=column(tick, np.int64),
        time_ns=column(tick, np.int64) * 10**8,
        side=column(side, np.int8),
        price=column(price, np.float64),
        size=column(size, np.float64),
        fee=column(fee, np.float64),
        mid=column(price if mid is None else mid, np.float64),
        reason=column(reason, np.int8),
        ahead=column(None, np.float64),
        waited_s=column(None, np.float64),
    )


def play(mid, fills, *, half_spread=0.05, limit=10.0, cash=1_000.0, quoted=100.0):
    """The record of a fill log on a mid: inventory and equity by the book, one fill after the other."""
    inventory, equity = np.zeros(len(mid)), np.full(len(mid), cash)
    held, money, rows = 0.0, cash, list(zip(fills.tick, fills.side, fills.price, fills.size, fills.fee, strict=True))
    for t in range(len(mid) - 1):
        while rows and rows[0][0] == t:
            _, side, price, size, fee = rows.pop(0)
            held, money = held + side * size, money - side * size * price - fee
        inventory[t + 1], equity[t + 1] = held, money + held * mid[t + 1]
    half = np.full(len(mid), half_spread)
    return Record(
        symbol="BTC-USDT",
        tick_s=0.1,
        mid=np.asarray(mid, dtype=np.float64),
        half_spread=half,
        inventory=inventory,
        equity=equity,
        fills=fills,
        inventory_limit=limit,
        quoted_bid=quoted,
        quoted_ask=quoted,
    )


def random_play(seed, *, ticks=400, fills=150, limit=10.0, size=1.0, fee_bps=1.0):
    """A random walk with random fills around it that keep the inventory within the limit."""
    rng = np.random.default_rng(seed)
    mid = 100.0 + 0.05 * rng.standard_normal(ticks + 1).cumsum()
    ticks_of = np.sort(rng.integers(0, ticks, fills))
    held, rows = 0.0, []
    for t in ticks_of:
        side, units = rng.choice([-1, 1]), float(rng.choice([0.1, 0.3, 1.0, 2.0])) * size
        if abs(held + side * units) <= limit:
            held += side * units
            before = mid[t] + 0.01 * rng.standard_normal()
            price = before - side * rng.normal(0.02, 0.05)
            rows.append((t, side, price, units, units * price * fee_bps * 1e-4, before, rng.integers(0, 4)))
    tick, side, price, units, fee, before, reason = zip(*rows, strict=True)
    return play(mid, make_fills(tick, side, price, units, fee=fee, mid=before, reason=reason), limit=limit)
