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
from hftgym.market.layout import ORDER_ROWS, Executed
from hftgym.market.matching import FAR, room
from hftgym.market.queue import (
    CROSSED,
    PASSED,
    Resting,
    Touch,
    after_quote,
    after_trade,
    arrive,
    on_grid,
    opposite_best,
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
    ticks, events = track.ticks, track.events
    cursor = int(o[CURSOR * n + lane])
    before = load(f, n, lane)
    send(now, o, n, lane, p, track, turn, cursor)
    bid, ask = load_resting(o, BID, n, lane), load_resting(o, ASK_ROWS, n, lane)
    touch = as_touch(events, int(ticks[cursor, LAST]))
    tally = Tally(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    arrival = int(ticks[cursor, ARRIVAL])
    for i in range(int(ticks[cursor, FIRST]), arrival):
        bid, ask, touch, tally = meet(bid, ask, touch, tally, events, i, before, p, o, n, lane, log)
    bid, ask, tally = receive(bid, ask, touch, tally, before, p, o, n, lane, track, turn, log)
    for i in range(arrival, int(ticks[cursor + 1, FIRST])):
        bid, ask, touch, tally = meet(bid, ask, touch, tally, events, i, before, p, o, n, lane, log)
    store_resting(o, BID, n, lane, bid)
    store_resting(o, ASK_ROWS, n, lane, ask)
    o[CURSOR * n + lane] = cursor + 1.0
    cash = cash_after(before.cash, 1.0, tally.paid, 1.0, tally.received, tally.fees)
    done = Executed(
        bid.price, ask.price, tally.bought, tally.sold, bid.left, ask.left, cash, tally.fees, tally.captured
    )
    next_mid, next_half_spread = ticks[cursor + 1, MID], ticks[cursor + 1, HALF]
    leaving, oldest = now[at.LEAVING * n + lane], now[at.OLDEST * n + lane]
    after, outcome, features = settle(before, p, done, next_mid, next_half_spread, leaving, oldest, None)
    store_state(f, n, lane, after)
    store_outcome(f, now, n, lane, outcome, features, after.mid, next_half_spread)


@formula
def send(now, o, n, lane, p, track, turn, cursor):
    """Put the orders decided now, rounded away from the mid to the price grid, into the ring of decisions."""
    bid_size, ask_size = order_sizes(now, n, lane, p)
    mid, half_spread = track.ticks[cursor, MID], track.ticks[cursor, HALF]
    bid, ask = now[at.ACTION_BID * n + lane], now[at.ACTION_ASK * n + lane]
    orders = decide(bid, ask, bid_size, ask_size, mid, half_spread, p)
    row = RING + (turn % track.slots) * ORDER_ROWS
    o[row * n + lane] = on_grid(orders.bid, 1.0, track.steps, track.per_unit)
    o[(row + 1) * n + lane] = on_grid(orders.ask, -1.0, track.steps, track.per_unit)
    o[(row + 2) * n + lane] = orders.bid_size
    o[(row + 3) * n + lane] = orders.ask_size


@formula
def receive(bid, ask, touch, tally, before, p, o, n, lane, track, turn, log):
    """Return (bid, ask, Tally) after the decision that is due has reached the market."""
    row = RING + ring_slot_before(turn % track.slots, track.slots - 1, track.slots) * ORDER_ROWS
    bid_price, ask_price = o[row * n + lane], o[(row + 1) * n + lane]
    inventory = before.inventory + tally.bought - tally.sold
    bid_size = room(inventory, o[(row + 2) * n + lane], 1.0, p)
    ask_size = room(inventory, o[(row + 3) * n + lane], -1.0, p)
    bid, bid_taken, bid_quoted = arrive(bid, 1.0, bid_price, bid_size, touch)
    ask, ask_taken, ask_quoted = arrive(ask, -1.0, ask_price, ask_size, touch)
    note_arrival(o, BID, n, lane, bid, bid_quoted, before.tick)
    note_arrival(o, ASK_ROWS, n, lane, ask, ask_quoted, before.tick)
    o[QUOTED_BID * n + lane], o[QUOTED_ASK * n + lane] = bid_quoted, ask_quoted
    tally = fill(tally, 1.0, bid_taken, opposite_best(touch, 1.0)[0], CROSSED, -1, touch, before, p, o, n, lane, log)
    tally = fill(tally, -1.0, ask_taken, opposite_best(touch, -1.0)[0], CROSSED, -1, touch, before, p, o, n, lane, log)
    return bid, ask, tally


@formula
def meet(bid, ask, touch, tally, events, i, before, p, o, n, lane, log):
    """Return (bid, ask, Touch, Tally) after event number i."""
    kind = events[i, KIND]
    if kind == 0.0:
        after = as_touch(events, i)
        bid, bought = after_quote(bid, 1.0, after)
        ask, sold = after_quote(ask, -1.0, after)
        tally = fill(tally, 1.0, bought, bid.price, PASSED, i, touch, before, p, o, n, lane, log)
        tally = fill(tally, -1.0, sold, ask.price, PASSED, i, touch, before, p, o, n, lane, log)
        touch = after
    elif kind < 0.0:
        bid, bought, reason = after_trade(bid, 1.0, events[i, PRICE], events[i, SIZE])
        tally = fill(tally, 1.0, bought, bid.price, reason, i, touch, before, p, o, n, lane, log)
    else:
        ask, sold, reason = after_trade(ask, -1.0, events[i, PRICE], events[i, SIZE])
        tally = fill(tally, -1.0, sold, ask.price, reason, i, touch, before, p, o, n, lane, log)
    return bid, ask, touch, tally


@formula
def fill(tally, side, size, price, reason, event, touch, before, p, o, n, lane, log):
    """Return the Tally with a fill of `size` units, which may be 0, and write it down."""
    if size > 0.0:
        charged = fee(size, price, reason == CROSSED, p)
        earned = capture(size, price, side, before.mid)
        bought, sold = (size if side > 0.0 else 0.0), (size if side < 0.0 else 0.0)
        tally = Tally(
            tally.bought + bought,
            tally.paid + bought * price,
            tally.sold + sold,
            tally.received + sold * price,
            tally.fees + charged,
            tally.captured + earned,
        )
        if log is not None:
            side_rows = BID if side > 0.0 else ASK_ROWS
            ahead, joined = o[(side_rows + 3) * n + lane], o[(side_rows + 4) * n + lane]
            log[0, 0] += 1.0
            k = int(log[0, 0])
            log[k, 0], log[k, 1], log[k, 2], log[k, 3], log[k, 4] = before.tick, event, side, price, size
            log[k, 5], log[k, 6], log[k, 7] = charged, 0.5 * (touch.bid + touch.ask), reason
            log[k, 8], log[k, 9] = (0.0 if reason == CROSSED else ahead), joined
    return tally


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
