"""A market that is happening: the pieces of a replayed tick, called one by one as time passes.

`memory` is that of a single environment (`single.allocate`), `o` the orders of a replay without a ring of decisions,
`touch` four numbers, the recorded best prices (`queue.Touch`), `log` a log of fills (`replay.LOG_COLUMNS`).
"""

import numpy as np

from hftgym.market import layout as at
from hftgym.market.compile import formula, kernel
from hftgym.market.features import observe
from hftgym.market.lane import load
from hftgym.market.layout import Orders
from hftgym.market.matching import FAR, order_size
from hftgym.market.queue import Filled, Touch
from hftgym.market.replay import (
    ASK_ROWS,
    BID,
    KIND,
    RING,
    Book,
    Tally,
    as_touch,
    book_fills,
    close_tick,
    load_resting,
    meet,
    quotes_on_grid,
    receive,
    store_resting,
    write_fill,
)
from hftgym.market.single import finish_tick, parts_of, rings_of, start_single, turn_ring


def no_orders() -> np.ndarray:
    """Return orders of a market in which nothing rests."""
    o = np.zeros(RING)
    o[BID], o[ASK_ROWS] = -FAR, FAR
    return o


@kernel
def begin(memory, observation, mid, half_spread, cash, inventory):
    """Start an episode with what the account holds, and write the first observation."""
    start_single(memory, observation, mid, half_spread, 0.0, 0.0)
    p, f, _ = parts_of(memory)
    f[at.CASH], f[at.INVENTORY], f[at.EQUITY] = cash, inventory, cash + inventory * mid
    show(f, p, observation)


@kernel
def wind_clock(memory, observation):
    """Start the next episode where the last one ended: its time is new, the account and the window go on."""
    p, f, _ = parts_of(memory)
    f[at.TICK] = 0.0
    show(f, p, observation)


@formula
def show(f, p, observation):
    """Write what an account and a clock that have been changed look like; the market's features stay."""
    features = observe(load(f, 1, 0), p, 0.0, f[at.MID], f[at.FILL_BID], f[at.FILL_ASK])
    for i in range(2):  # inventory and time left
        f[at.FEATURE + i] = features[i]
        observation[i] = features[i]


@kernel
def quotes(memory, action, half_spread, steps, per_unit):
    """Return (bid, ask, units, units) that an action asks for around the mid of the memory."""
    p, f, _ = parts_of(memory)
    bid_size, ask_size = p.order_size, p.order_size
    if action.size == 4:
        bid_size, ask_size = order_size(action[2], p), order_size(action[3], p)
    orders = quotes_on_grid(action[0], action[1], bid_size, ask_size, f[at.MID], half_spread, p, steps, per_unit)
    # A side that is withdrawn is far away in the kernel; outside it is an order of no units.
    bids, asks = orders.bid > -FAR / 2.0, orders.ask < FAR / 2.0
    bid, bid_size = (orders.bid, orders.bid_size) if bids else (0.0, 0.0)
    ask, ask_size = (orders.ask, orders.ask_size) if asks else (0.0, 0.0)
    return bid, ask, bid_size, ask_size


@kernel
def settle_fills(memory, observation, fills, bid, ask, next_mid, next_half_spread):
    """Close the tick with these fills, rows of (side, price, units, fee) in the order of time.

    Returns (cash, inventory, equity, terminated).
    """
    p, f, now = parts_of(memory)
    prices, _, _, _, _ = rings_of(memory, p)
    turn = turn_ring(memory, now, prices)
    before = load(f, 1, 0)
    tally = Tally(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    for i in range(fills.shape[0]):
        side, price, size, charged = fills[i, 0], fills[i, 1], fills[i, 2], fills[i, 3]
        bought, sold = Filled(size if side > 0.0 else 0.0, price, 1.0), Filled(size if side < 0.0 else 0.0, price, 1.0)
        added = book_fills(tally, bought, sold, before.mid, p)
        tally = Tally(added.bought, added.paid, added.sold, added.received, tally.fees + charged, added.captured)
    close_tick(f, now, 1, 0, p, before, bid, ask, tally, next_mid, next_half_spread)
    finish_tick(f, prices, turn, observation)
    return f[at.CASH], f[at.INVENTORY], f[at.EQUITY], now[at.TERMINATED] != 0.0


@kernel
def paper_arrival(memory, o, touch, wanted, inventory, tick, log):
    """Let orders (bid, ask, units, units) reach the market; fills go into the log."""
    p, _, _ = parts_of(memory)
    book = Book(
        load_resting(o, BID, 1, 0), load_resting(o, ASK_ROWS, 1, 0), Touch(touch[0], touch[1], touch[2], touch[3])
    )
    orders = Orders(wanted[0], wanted[1], wanted[2], wanted[3], 1.0)
    book, bought, sold = receive(book, inventory, orders, p, o, 1, 0, tick)
    write_back(o, touch, book, bought, sold, -1.0, tick, p, log)


@kernel
def paper_event(memory, o, touch, events, tick, log):
    """Let the market's next event, one row of `events`, meet the orders; fills go into the log."""
    p, _, _ = parts_of(memory)
    book = Book(
        load_resting(o, BID, 1, 0), load_resting(o, ASK_ROWS, 1, 0), Touch(touch[0], touch[1], touch[2], touch[3])
    )
    book, bought, sold = meet(book, events, 0)
    write_back(o, touch, book, bought, sold, 0.0, tick, p, log)
    if events[0, KIND] == 0.0:
        seen = as_touch(events, 0)
        touch[0], touch[1], touch[2], touch[3] = seen.bid, seen.bid_size, seen.ask, seen.ask_size


@formula
def write_back(o, touch, book, bought, sold, event, tick, p, log):
    """Store the orders, and write the fills of one event."""
    before = Touch(touch[0], touch[1], touch[2], touch[3])
    log[0, 0] = 0.0
    write_fill(log, bought, 1.0, event, before, tick, p, o, 1, 0)
    write_fill(log, sold, -1.0, event, before, tick, p, o, 1, 0)
    store_resting(o, BID, 1, 0, book.bid)
    store_resting(o, ASK_ROWS, 1, 0, book.ask)
