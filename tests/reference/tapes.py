"""Small tapes with everything that a recording may hold, and how to compare them bit for bit."""

import dataclasses
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from hftgym.tape import NO_TIME, Findings, Quotes, Tape, TapeReport, Trades

START_NS = 1_723_161_255_088_169_167
NOTHING = Findings(count=0, first=())


def report(**changes):
    kinds = dict.fromkeys(("bad_lines", "crossed_quotes", "backwards", "gaps"), NOTHING)
    return TapeReport(**{"path": Path("x.gz"), "lines": 0, "quotes": 0, "trades": 0, "ignored": {}} | kinds | changes)


def quotes_of(local_ns, *, bid=100.0, ask=100.5, bid_size=1.0, ask_size=2.0, exchange_ns=NO_TIME):
    n = len(local_ns)
    values = {"bid": bid, "bid_size": bid_size, "ask": ask, "ask_size": ask_size}
    columns = {name: np.broadcast_to(np.asarray(value, dtype=np.float64), (n,)) for name, value in values.items()}
    times = np.broadcast_to(np.asarray(exchange_ns, dtype=np.int64), (n,))
    return Quotes(exchange_ns=times, local_ns=np.array(local_ns, dtype=np.int64), **columns)


def trades_of(local_ns, *, price=100.0, size=1.0, taker_side=1, exchange_ns=NO_TIME):
    n = len(local_ns)
    return Trades(
        exchange_ns=np.broadcast_to(np.asarray(exchange_ns, dtype=np.int64), (n,)),
        local_ns=np.array(local_ns, dtype=np.int64),
        price=np.broadcast_to(np.asarray(price, dtype=np.float64), (n,)),
        size=np.broadcast_to(np.asarray(size, dtype=np.float64), (n,)),
        taker_side=np.broadcast_to(np.asarray(taker_side, dtype=np.int8), (n,)),
    )


def tape_of(quotes, trades, **changes):
    fields = {"venue": "binance-usdm", "symbol": "BTCUSDT", "report": report()} | changes
    return Tape(quotes=quotes, trades=trades, **fields)


def walk(quotes=2_000, trades=500, *, seed=0, grid=0.1, seconds=100.0):
    """A random walk on a price grid, its times a little out of order."""
    rng = np.random.default_rng(seed)

    def times(n):
        return START_NS + np.sort(rng.integers(0, round(seconds * 1e9), n)) + rng.integers(-1_000, 1_000, n)

    bid = 61_800 * 10 + np.cumsum(rng.integers(-1, 2, quotes))
    per_unit = round(1 / grid)
    sizes = [rng.integers(1, 5_000, n) / 1000 for n in (quotes, quotes, trades)]
    return tape_of(
        quotes_of(times(quotes), bid=bid / per_unit, ask=(bid + 1) / per_unit, bid_size=sizes[0], ask_size=sizes[1]),
        trades_of(
            times(trades),
            price=(rng.choice(bid, trades) if quotes else 1) / per_unit,
            size=sizes[2],
            taker_side=rng.choice([-1, 1], trades),
        ),
    )


def same(rows, others):
    """Whether quotes or trades are equal bit for bit."""
    return type(rows) is type(others) and all(
        getattr(rows, f.name).dtype == getattr(others, f.name).dtype
        and getattr(rows, f.name).tobytes() == getattr(others, f.name).tobytes()
        for f in dataclasses.fields(rows)
    )


def joined(pieces):
    """Pieces of quotes and trades behind each other."""
    return tuple(
        type(parts[0])(
            **{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in dataclasses.fields(parts[0])}
        )
        for parts in zip(*pieces, strict=True)
    )


positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_subnormal=True)
# Times that repeat, go back, and stand at both ends of what is allowed.
times = st.one_of(
    st.integers(START_NS, START_NS + 5), st.integers(1 - 2**62, 2**62 - 1), st.sampled_from([1 - 2**62, 2**62 - 1])
)
exchange_times = st.one_of(st.just(NO_TIME), st.integers(-(2**63), 2**63 - 1))


@st.composite
def tapes(draw, *, local_ns=times):
    """Any tape that the checks of its columns let through."""

    def columns(n, **kinds):
        return {name: draw(st.lists(kind, min_size=n, max_size=n)) for name, kind in kinds.items()}

    prices = dict.fromkeys(("bid", "bid_size", "ask", "ask_size"), positive)
    n, m = draw(st.integers(1, 12)), draw(st.integers(0, 8))
    return tape_of(
        quotes_of(**columns(n, local_ns=local_ns, exchange_ns=exchange_times, **prices)),
        trades_of(
            **columns(
                m,
                local_ns=local_ns,
                exchange_ns=exchange_times,
                price=positive,
                size=positive,
                taker_side=st.sampled_from([-1, 1]),
            )
        ),
    )
