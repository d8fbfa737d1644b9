"""One tick of a recorded market: the agent's orders meet the quotes and trades that were received during it.

The tape is prepared once (`hftgym.tape.track`) and shared by all environments; nothing is copied at a reset. Own orders
change nothing in it. `o` holds the orders of the lanes as `[row][n]`: what rests in the market, and a ring of decisions
that are on their way there; `f`, `now`, `n`, `lane` as in `lane`.
"""

from typing import NamedTuple

import numpy as np

from hftgym.market import layout as at
from hftgym.market.account import capture, cash_after, fee
from hftgym.market.compile import formula
from hftgym.market.delay import order_sizes
from hftgym.market.lane import load, reset_lane, store_outcome, store_state
from hftgym.market.latency import ring_slot_before
from hftgym.market.layout import ORDER_ROWS, Executed, Orders
from hftgym.market.matching import FAR, room
from hftgym.market.passes import utility_pass
from hftgym.market.queue import (
    CROSSED,
    PASSED,
    Filled,
    Resting,
    Touch,
    after_quote,
    after_trade,
    arrive,
    on_grid,
)
from hftgym.market.random import STREAM_START, tick_block, uniform
from hftgym.market.step import decide, settle

# Columns of `ticks`, one row per tick time t: events received by t; events received before a decision made at t
# arrives; the last quote received by t; mid and half-spread at t.
FIRST, ARRIVAL, LAST, MID, HALF = range(5)
# Columns of `events`: 0 for a quote, else the side of the taker; then (bid, units, ask, units) or (price, units).
KIND, PRICE, SIZE, ASK, ASK_SIZE = range(5)
# Rows of `o`: per side price, units left, units ahead, units ahead when it joined, tick in which it joined.
BID, ASK_ROWS = 0, 5
QUOTED_BID, QUOTED_ASK, CURSOR, RING = 10, 11, 12, 13
# Columns of the log of fills; its row 0 holds their number.
LOG_COLUMNS = ("tick", "event", "side", "price", "size", "fee", "mid", "reason", "ahead", "joined")


class Track(NamedTuple):
    """A tape, prepared for one length of a tick and one latency."""

    ticks: np.ndarray  # float64 (ticks + 1, 5)
    events: np.ndarray  # float64 (events, 5), in the order of receipt
    steps: float  # the price grid: whole numbers with step = steps / per_unit; 0 for none
    per_unit: float
    slots: int  # of the ring of decisions: whole ticks of latency + 1
    order_rows: int  # of `o`


class Book(NamedTuple):
    """What one environment has in the market, and the recorded best prices."""

    bid: Resting
    ask: Resting
    touch: Touch


class Tally(NamedTuple):
    """What the fills of a tick add up to, in units and quote currency."""

    bought: float
    paid: float
    sold: float
    received: float
    fees: float
    captured: float


def track_of(ticks: np.ndarray, events: np.ndarray, *, grid: tuple[float, float], whole_ticks: int) -> Track:
    """Return a Track for a latency of `whole_ticks` and a fraction of one."""
    slots = whole_ticks + 1
    return Track(ticks, events, grid[0], grid[1], slots, RING + slots * ORDER_ROWS)


def fill_log(track: Track) -> np.ndarray:
    """Return an empty log that holds every fill of one tick: two per event and arrival, and the row that counts."""
    return np.zeros((2 * int(np.diff(track.ticks[:, FIRST]).max()) + 3, len(LOG_COLUMNS)))


@formula
def start_replay(f, o, n, lane, p, track, start, ticks, inventory):
    """Start an episode at tick `start` of the tape, or at a drawn one if that is negative, with `ticks` gone."""
    f[at.EPISODE * n + lane] += 1.0
    _, word, _, _ = tick_block(
        f[at.SEED_LOW * n + lane], f[at.SEED_HIGH * n + lane], f[at.EPISODE * n + lane], 0.0, STREAM_START
    )
    choices = track.ticks.shape[0] - p.horizon
    first = np.floor(uniform(word) * choices) if start < 0.0 else start
    cursor = int(first + ticks)
    mid, half_spread = track.ticks[cursor, MID], track.ticks[cursor, HALF]
    reset_lane(f, n, lane, p, mid, half_spread, ticks, inventory)
    for row in range(track.order_rows):
        o[row * n + lane] = 0.0
    o[BID * n + lane], o[ASK_ROWS * n + lane] = -FAR, FAR
    for slot in range(track.slots):
        o[(RING + slot * ORDER_ROWS) * n + lane] = -FAR
        o[(RING + slot * ORDER_ROWS + 1) * n + lane] = FAR
    o[CURSOR * n + lane] = cursor


@formula
def replay_pass(f, now, o, n, lane, p, track, turn, log):
    """Run the tick of one lane; `log` is None, or the array into which every fill is written."""
    ticks = track.ticks
    # An episode that has ended is stepped once more where it is reset in the step after: it stays on the tape.
    cursor = min(int(o[CURSOR * n + lane]), ticks.shape[0] - 2)
    before = load(f, n, lane)
    send(now, o, n, lane, p, track, turn, cursor)
    tally = walk(o, n, lane, track, cursor, turn % track.slots, before, p, log)
    o[CURSOR * n + lane] = cursor + 1.0
    bid, ask = o[BID * n + lane], o[ASK_ROWS * n + lane]
    close_tick(f, now, n, lane, p, before, bid, ask, tally, ticks[cursor + 1, MID], ticks[cursor + 1, HALF])


@formula
def close_tick(f, now, n, lane, p, before, bid, ask, tally, next_mid, next_half_spread):
    """Settle the tick of one lane with the fills of the Tally; bid and ask are the quotes that were in force last."""
    done = Executed(
        bid,
        ask,
        tally.bought,
        tally.sold,
        0.0,  # nothing for `settle` to sweep: what the market has passed is filled already
        0.0,
        cash_after(before.cash, 1.0, tally.paid, 1.0, tally.received, tally.fees),
        tally.fees,
        tally.captured,
    )
    leaving, oldest = now[at.LEAVING * n + lane], now[at.OLDEST * n + lane]
    after, outcome, features = settle(before, p, done, next_mid, next_half_spread, leaving, oldest, True)
    store_state(f, n, lane, after)
    store_outcome(f, now, n, lane, outcome, features, after.mid, next_half_spread)
    if p.risk_aversion > 0.0:
        utility_pass(f, now, n, lane, p)


@formula
def walk(o, n, lane, track, cursor, head, before, p, log):
    """Return the Tally of the fills of one tick, event by event; `head` is the slot of the newest decision."""
    ticks, events = track.ticks, track.events
    book = Book(
        load_resting(o, BID, n, lane), load_resting(o, ASK_ROWS, n, lane), as_touch(events, int(ticks[cursor, LAST]))
    )
    tally = Tally(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    first, arrival, end = int(ticks[cursor, FIRST]), int(ticks[cursor, ARRIVAL]), int(ticks[cursor + 1, FIRST])
    # The arrival of the orders that are due is one more event, before number `arrival`.
    for i in range(first, end + 1):
        event = i if i < arrival else i - 1
        touch = book.touch
        if i == arrival:
            event = -1
            inventory = before.inventory + tally.bought - tally.sold
            due = decided(o, n, lane, ring_slot_before(head, track.slots - 1, track.slots))
            book, bought, sold = receive(book, inventory, due, p, o, n, lane, before.tick)
        else:
            book, bought, sold = meet(book, events, event)
        tally = book_fills(tally, bought, sold, before.mid, p)
        if log is not None:
            write_fill(log, bought, 1.0, event, touch, before.tick, p, o, n, lane)
            write_fill(log, sold, -1.0, event, touch, before.tick, p, o, n, lane)
    store_resting(o, BID, n, lane, book.bid)
    store_resting(o, ASK_ROWS, n, lane, book.ask)
    return tally


@formula
def send(now, o, n, lane, p, track, turn, cursor):
    """Put the orders decided now, rounded away from the mid to the price grid, into the ring of decisions."""
    bid_size, ask_size = order_sizes(now, n, lane, p)
    mid, half_spread = track.ticks[cursor, MID], track.ticks[cursor, HALF]
    bid, ask = now[at.ACTION_BID * n + lane], now[at.ACTION_ASK * n + lane]
    orders = quotes_on_grid(bid, ask, bid_size, ask_size, mid, half_spread, p, track.steps, track.per_unit)
    row = RING + (turn % track.slots) * ORDER_ROWS
    o[row * n + lane] = orders.bid
    o[(row + 1) * n + lane] = orders.ask
    o[(row + 2) * n + lane] = orders.bid_size
    o[(row + 3) * n + lane] = orders.ask_size


@formula
def quotes_on_grid(bid, ask, bid_size, ask_size, mid, half_spread, p, steps, per_unit):
    """Return the Orders that the actions (bid, ask) ask for, rounded away from the mid to the price grid."""
    orders = decide(bid, ask, bid_size, ask_size, mid, half_spread, p)
    bid, ask = on_grid(orders.bid, 1.0, steps, per_unit), on_grid(orders.ask, -1.0, steps, per_unit)
    return Orders(bid, ask, bid_size, ask_size, 1.0)


@formula
def decided(o, n, lane, slot):
    """Return the Orders in a slot of the ring of decisions."""
    row = RING + slot * ORDER_ROWS
    return Orders(o[row * n + lane], o[(row + 1) * n + lane], o[(row + 2) * n + lane], o[(row + 3) * n + lane], 1.0)


@formula
def receive(book, inventory, orders, p, o, n, lane, tick):
    """Return (Book, bought, sold) after the orders that are due have reached the market."""
    bid_size, ask_size = room(inventory, orders.bid_size, 1.0, p), room(inventory, orders.ask_size, -1.0, p)
    bid, bid_taken, bid_quoted = arrive(book.bid, 1.0, orders.bid, bid_size, book.touch)
    ask, ask_taken, ask_quoted = arrive(book.ask, -1.0, orders.ask, ask_size, book.touch)
    note_arrival(o, BID, n, lane, bid, bid_quoted, tick)
    note_arrival(o, ASK_ROWS, n, lane, ask, ask_quoted, tick)
    o[QUOTED_BID * n + lane], o[QUOTED_ASK * n + lane] = bid_quoted, ask_quoted
    bought = Filled(bid_taken, book.touch.ask, CROSSED)
    return Book(bid, ask, book.touch), bought, Filled(ask_taken, book.touch.bid, CROSSED)


@formula
def meet(book, events, i):
    """Return (Book, bought, sold) after event number i."""
    kind, price, size = events[i, KIND], events[i, PRICE], events[i, SIZE]
    bid, ask, touch = book.bid, book.ask, book.touch
    bought, sold = Filled(0.0, bid.price, PASSED), Filled(0.0, ask.price, PASSED)
    if kind == 0.0:
        touch = as_touch(events, i)
        bid, bought = after_quote(bid, 1.0, touch)
        ask, sold = after_quote(ask, -1.0, touch)
    elif kind < 0.0:
        bid, bought = after_trade(bid, 1.0, price, size)
    else:
        ask, sold = after_trade(ask, -1.0, price, size)
    return Book(bid, ask, touch), bought, sold


@formula
def book_fills(tally, bought, sold, mid, p):
    """Return the Tally with one event's fills, which may be of 0 units."""
    return Tally(
        tally.bought + bought.size,
        tally.paid + (bought.size * bought.price if bought.size > 0.0 else 0.0),
        tally.sold + sold.size,
        tally.received + (sold.size * sold.price if sold.size > 0.0 else 0.0),
        tally.fees + charge(bought, p) + charge(sold, p),
        tally.captured + capture(bought.size, bought.price, 1.0, mid) + capture(sold.size, sold.price, -1.0, mid),
    )


@formula
def charge(filled, p):
    """Return the fee of a fill: only what crossed pays the taker's."""
    return fee(filled.size, filled.price, filled.reason == CROSSED, p)


@formula
def write_fill(log, filled, side, event, touch, tick, p, o, n, lane):
    """Write a fill into the log, if there is one."""
    if filled.size > 0.0:
        log[0, 0] += 1.0
        k = int(log[0, 0])
        first = BID if side > 0.0 else ASK_ROWS
        log[k, 0], log[k, 1], log[k, 2], log[k, 3], log[k, 4] = tick, event, side, filled.price, filled.size
        log[k, 5], log[k, 6], log[k, 7] = charge(filled, p), 0.5 * (touch.bid + touch.ask), filled.reason
        log[k, 8] = 0.0 if filled.reason == CROSSED else o[(first + 3) * n + lane]
        log[k, 9] = o[(first + 4) * n + lane]


@formula
def note_arrival(o, first, n, lane, resting, quoted, tick):
    """Note what stood ahead of a new order, and when it came."""
    if quoted > 0.0:
        o[(first + 3) * n + lane] = resting.ahead
        o[(first + 4) * n + lane] = tick


@formula
def as_touch(events, i):
    """Return the best prices of quote number i."""
    return Touch(events[i, PRICE], events[i, SIZE], events[i, ASK], events[i, ASK_SIZE])


@formula
def load_resting(o, first, n, lane):
    """Return one side's order."""
    return Resting(o[first * n + lane], o[(first + 1) * n + lane], o[(first + 2) * n + lane])


@formula
def store_resting(o, first, n, lane, resting):
    """Write one side's order back."""
    o[first * n + lane] = resting.price
    o[(first + 1) * n + lane] = resting.left
    o[(first + 2) * n + lane] = resting.ahead
