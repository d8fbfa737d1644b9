"""Events as the rows of a tape, and a feed as a recording."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hftgym.live.events import Feed, Quote, Status, Trade
from hftgym.tape.columns import joined
from hftgym.tape.steps import Steps, step_of
from hftgym.tape.types import Quotes, Tape, Trades
from hftgym.tape.watch import Watch
from hftgym.tape.writer import TapeWriter

_FLUSH_NS, _MOST_ROWS = 1_000_000_000, 10_000


def quotes_of(events: Sequence[Quote]) -> Quotes:
    """Return quotes as columns."""
    times, values = _columns(events, 4)
    names = ("bid", "bid_size", "ask", "ask_size")
    return Quotes(local_ns=times[0], exchange_ns=times[1], **dict(zip(names, values, strict=True)))


def trades_of(events: Sequence[Trade]) -> Trades:
    """Return trades as columns."""
    times, (price, size, side) = _columns(events, 3)
    return Trades(local_ns=times[0], exchange_ns=times[1], price=price, size=size, taker_side=side.astype(np.int8))


def tape_of(
    quotes: Sequence[Quote],
    trades: Sequence[Trade],
    *,
    venue: str,
    symbol: str,
    path: Path,
    price_step: float | None = None,
) -> Tape:
    """Return events as a tape, whose report counts what is odd in them.

    Args:
        quotes: At least one.
        trades: Possibly none.
        venue: Where.
        symbol: What.
        path: What the report calls it.
        price_step: The price grid, quote currency; measured if None.
    """
    quoted, traded = quotes_of(quotes), trades_of(trades)
    watch = Watch()
    watch.add(joined(quoted, traded), quoted)
    report, steps = watch.report(path), None
    if price_step is not None:
        steps = Steps(price=price_step, size=step_of((quoted.bid_size, quoted.ask_size, traded.size)))
    return Tape(venue=venue, symbol=symbol, quotes=quoted, trades=traded, report=report, steps=steps)


def _columns(events: Sequence[Quote] | Sequence[Trade], values: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    times = np.array([event[:2] for event in events], dtype=np.int64).reshape(-1, 2)
    rest = np.array([event[2:] for event in events], dtype=np.float64).reshape(-1, values)
    return [times[:, i].copy() for i in range(2)], [rest[:, i].copy() for i in range(values)]


async def record(
    feed: Feed,
    writer: TapeWriter,
    *,
    seconds: float | None = None,
    on_rows: Callable[[int], None] | None = None,
    on_status: Callable[[Status], None] | None = None,
) -> int:
    """Write what a feed tells, at least once a second, until it ends, so many seconds have passed, or it is cancelled.

    A writer with a journal loses nothing that was written when the process is killed. Cancelling, as Ctrl-C does, ends
    the recording; what has come until then is written.

    Args:
        feed: The market; it is closed at the end.
        writer: Where to; it is left open.
        seconds: Of receipt, from the first row on.
        on_rows: Told of the number of rows so far.
        on_status: Told of what happens to the connection.

    Returns:
        The rows written.
    """
    quotes, trades = list[Quote](), list[Trade]()
    rows, first_ns, flushed_ns = 0, None, 0

    def flush() -> int:
        count = len(quotes) + len(trades)
        if count:
            writer.write(quotes_of(quotes), trades_of(trades))
            quotes.clear()
            trades.clear()
        return count

    try:
        async for event in feed.events():
            if isinstance(event, Quote):
                quotes.append(event)
            elif isinstance(event, Trade):
                trades.append(event)
            elif on_status is not None:
                on_status(event)
            now = event.received_ns
            if now - flushed_ns >= _FLUSH_NS or len(quotes) + len(trades) >= _MOST_ROWS:
                rows, flushed_ns = rows + flush(), now
                if on_rows is not None:
                    on_rows(rows)
            first_ns = now if first_ns is None else first_ns
            if seconds is not None and now - first_ns >= seconds * 1e9:
                break
    except asyncio.CancelledError:
        pass  # the recording ends here, and is whole as far as it goes
    finally:
        rows += flush()
        await feed.close()
    return rows
