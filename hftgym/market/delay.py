"""What lies between the agent and the market: orders on their way there, market data on their way back.

Both pass through rings of their last values, which `clear_rings` starts with an episode: what is read from a slot that
the episode has not written is an absent order, or the news of its start. `f`, `now`, `n`, `lane` as in `lane`.
"""

from hftgym.market import layout as at
from hftgym.market.compile import formula
from hftgym.market.features import simple_return
from hftgym.market.latency import lag_after, latency, ring_slot_before
from hftgym.market.layout import DATA_ROWS, ORDER_ROWS
from hftgym.market.matching import FAR, order_size, takes
from hftgym.market.step import decide, draw_latency
from hftgym.observation import MARKET_FEATURES


@formula
def exchange_orders(f, now, n, p, decisions, head, slots):
    """Send the orders decided now, and find those that are in force."""
    sent = decisions[head * ORDER_ROWS * n :][: ORDER_ROWS * n]
    for lane in range(n):
        decide_pass(f, now, n, lane, p, at.KNOWN_MID, sent, 0)
    if p.latency_jitter == 0.0:
        slot = ring_slot_before(head, int(p.order_latency), slots)
        arriving = decisions[slot * ORDER_ROWS * n :][: ORDER_ROWS * n]
        for i in range(ORDER_ROWS * n):
            now[at.ORDER_BID * n + i] = arriving[i]
        for lane in range(n):
            now[at.NEW * n + lane] = 1.0
    else:
        for lane in range(n):
            lag_pass(f, now, n, lane, p)
        for lane in range(n):
            receive_pass(f, now, n, lane, decisions, head, slots)
    for lane in range(n):
        now[at.MID_BEFORE * n + lane] = f[at.MID * n + lane]


@formula
def decide_pass(f, now, n, lane, p, known_mid, out, first):
    """Write the orders decided now, of the size that the action says, around the mid that the agent knows.

    They go into four rows of `out` from row `first` on.
    """
    bid_size, ask_size = order_sizes(now, n, lane, p)
    bid, ask = now[at.ACTION_BID * n + lane], now[at.ACTION_ASK * n + lane]
    known = f[known_mid * n + lane]
    orders = decide(bid, ask, bid_size, ask_size, known, known * p.half_spread, p)
    out[first * n + lane] = orders.bid
    out[(first + 1) * n + lane] = orders.ask
    out[(first + 2) * n + lane] = orders.bid_size
    out[(first + 3) * n + lane] = orders.ask_size


@formula
def order_sizes(now, n, lane, p):
    """Return the units (bid, ask) that the action asks for."""
    bid_size = order_size(now[at.ACTION_BID_SIZE * n + lane], p) if p.sized != 0.0 else p.order_size
    ask_size = order_size(now[at.ACTION_ASK_SIZE * n + lane], p) if p.sized != 0.0 else p.order_size
    return bid_size, ask_size


@formula
def lag_pass(f, now, n, lane, p):
    """Find how old the newest decision is that has arrived."""
    u = draw_latency(
        f[at.SEED_LOW * n + lane], f[at.SEED_HIGH * n + lane], f[at.EPISODE * n + lane], f[at.TICK * n + lane]
    )
    before = f[at.LAG * n + lane]
    lag = lag_after(before, latency(u, f[at.LAST_MOVE * n + lane], p))
    f[at.LAG * n + lane] = lag
    now[at.NEW * n + lane] = 1.0 if lag <= before else 0.0


@formula
def receive_pass(f, now, n, lane, decisions, head, slots):
    """Fetch the orders in force: the newest decision that has arrived, or what is left of the one before."""
    new = now[at.NEW * n + lane] != 0.0
    row = ring_slot_before(head, int(f[at.LAG * n + lane]), slots) * ORDER_ROWS
    now[at.ORDER_BID * n + lane] = decisions[row * n + lane]
    now[at.ORDER_ASK * n + lane] = decisions[(row + 1) * n + lane]
    now[at.ORDER_BID_SIZE * n + lane] = decisions[(row + 2) * n + lane] if new else f[at.LEFT_BID * n + lane]
    now[at.ORDER_ASK_SIZE * n + lane] = decisions[(row + 3) * n + lane] if new else f[at.LEFT_ASK * n + lane]


@formula
def exchange_data(f, now, n, p, data, head, slots):
    """Note what the tick left of the orders, publish the market, and show the policy what has reached it."""
    for lane in range(n):
        left_pass(f, now, n, lane, p)
    if slots > 1:
        published = data[head * DATA_ROWS * n :][: DATA_ROWS * n]
        for lane in range(n):
            publish_pass(f, n, lane, published)
        seen = data[ring_slot_before(head, slots - 1, slots) * DATA_ROWS * n :][: DATA_ROWS * n]
        for lane in range(n):
            observe_late_pass(f, n, lane, seen)
    else:
        for lane in range(n):
            f[at.KNOWN_MID * n + lane] = f[at.MID * n + lane]


@formula
def left_pass(f, now, n, lane, p):
    """Note what is left of the orders in force, and how far the mid has moved, in standard deviations.

    Nothing is left of one that crossed: what the inventory limit cut off it was never sent.
    """
    before, new = now[at.MID_BEFORE * n + lane], now[at.NEW * n + lane] != 0.0
    half_spread = before * p.half_spread
    bid_took = new & takes(now[at.ORDER_BID * n + lane], 1.0, before + half_spread)
    ask_took = new & takes(now[at.ORDER_ASK * n + lane], -1.0, before - half_spread)
    bid_left = now[at.ORDER_BID_SIZE * n + lane] - f[at.FILL_BID * n + lane]
    ask_left = now[at.ORDER_ASK_SIZE * n + lane] - f[at.FILL_ASK * n + lane]
    f[at.LEFT_BID * n + lane] = 0.0 if bid_took else bid_left
    f[at.LEFT_ASK * n + lane] = 0.0 if ask_took else ask_left
    moved = simple_return(f[at.MID * n + lane], before)
    f[at.LAST_MOVE * n + lane] = moved * p.per_volatility


@formula
def publish_pass(f, n, lane, row):
    """Put what is to be seen of the market into its row of the ring of market data."""
    row[lane] = f[at.MID * n + lane]
    for k in range(DATA_ROWS - 1):
        row[(k + 1) * n + lane] = f[(at.FEATURE + MARKET_FEATURES[k]) * n + lane]


@formula
def observe_late_pass(f, n, lane, row):
    """Replace what the policy sees of the market by what it was when the news set out."""
    f[at.KNOWN_MID * n + lane] = row[lane]
    for k in range(DATA_ROWS - 1):
        f[(at.FEATURE + MARKET_FEATURES[k]) * n + lane] = row[(k + 1) * n + lane]


@formula
def clear_rings(f, n, lane, decisions, data, sent, seen):
    """Start the rings of one lane: nothing has been decided, and the news are those of the start."""
    for slot in range(sent):
        row = slot * ORDER_ROWS
        decisions[row * n + lane] = -FAR
        decisions[(row + 1) * n + lane] = FAR
        decisions[(row + 2) * n + lane] = 0.0
        decisions[(row + 3) * n + lane] = 0.0
    for slot in range(seen):
        publish_pass(f, n, lane, data[slot * DATA_ROWS * n :])
