"""Small tapes that tests make by hand, row by row."""

import numpy as np

from hftgym.market.replay import Track, track_of
from tests.reference.tapes import quotes_of, trades_of
from tests.reference.tapes import tape_of as of_columns

START_NS = 10**18


def tape_of(quotes, trades=()):
    """A tape of rows: quotes (ns since the start, bid, bid size, ask, ask size), trades (ns, price, size, side)."""
    q = np.array([row[1:] for row in quotes], dtype=np.float64).reshape(-1, 4)
    t = np.array([row[1:] for row in trades], dtype=np.float64).reshape(-1, 3)
    quoted = START_NS + np.array([row[0] for row in quotes], dtype=np.int64)
    traded = START_NS + np.array([row[0] for row in trades], dtype=np.int64)
    return of_columns(
        quotes_of(quoted, bid=q[:, 0], bid_size=q[:, 1], ask=q[:, 2], ask_size=q[:, 3], exchange_ns=quoted),
        trades_of(traded, price=t[:, 0], size=t[:, 1], taker_side=t[:, 2], exchange_ns=traded),
    )


def random_tape(seed, *, seconds=20.0, step=0.1, events_per_s=60.0):
    """A tape on a grid whose best prices and sizes change often, with trades at, inside and beyond them."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, int(seconds * 1e9), int(seconds * events_per_s)))
    times[0] = 0
    quotes, trades = [], []
    bid, spread = 1000, 1
    for i, time in enumerate(times.tolist()):
        if i == 0 or i == len(times) - 1 or rng.random() < 0.6:
            bid += int(rng.choice([0, 0, 0, 0, 1, -1, 2, -2]))
            spread = int(rng.choice([1, 1, 1, 2, 3]))
            sizes = np.round(rng.uniform(0.1, 3.0, 2), 1).tolist()
            quotes.append((time, on_grid(bid, step), sizes[0], on_grid(bid + spread, step), sizes[1]))
        else:
            side = int(rng.choice([-1, 1]))
            price = (bid if side < 0 else bid + spread) + side * int(rng.choice([0, 0, 0, 1, 2, -1]))
            trades.append((time, on_grid(price, step), round(float(rng.uniform(0.1, 2.0)), 1), side))
    return tape_of(quotes, trades)


def on_grid(k, step):
    """The double nearest to k steps."""
    return k / round(1 / step)


def rows_of(tape):
    """The rows of a tape as (time, kind, values) by time of receipt, trades first where times are equal."""
    q, t = tape.quotes, tape.trades
    quotes = zip(
        q.local_ns.tolist(), q.bid.tolist(), q.bid_size.tolist(), q.ask.tolist(), q.ask_size.tolist(), strict=True
    )
    trades = zip(t.local_ns.tolist(), t.price.tolist(), t.size.tolist(), t.taker_side.tolist(), strict=True)
    rows = [(time, "trade", tuple(values)) for time, *values in trades]
    rows += [(time, "quote", tuple(values)) for time, *values in quotes]
    return sorted(rows, key=lambda row: row[0])


def path_track(prices, *, half_spread) -> Track:
    """A recorded market that shows one quote per tick around the given prices."""
    n, size = len(prices), np.ones(len(prices))
    events = np.column_stack([0 * size, prices - half_spread, size, prices + half_spread, size])
    seen = np.arange(1.0, n + 1)
    ticks = np.column_stack([seen, seen, seen - 1, prices, half_spread * size])
    return track_of(ticks, events, grid=(0.0, 1.0), whole_ticks=0)
