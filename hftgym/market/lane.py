"""One environment in memory: load its state, run the tick, store the result. Used alone and 64 abreast.

`f` holds the fields that last, `now` those of this tick (`layout.FIELDS`, `layout.NOW`); `n` is the number of lanes (64
in a tile, 1 alone) and `lane` the lane: the values of one field lie side by side, `n` of them.
"""

import math

from hftgym.market import layout as at
from hftgym.market.compile import formula
from hftgym.market.features import observe, simple_return
from hftgym.market.latency import lag_after, latency, ring_slot_before
from hftgym.market.layout import DATA_ROWS, N_FIELDS, NEVER, ORDER_ROWS, Hidden, Orders, Params, State
from hftgym.market.matching import FAR, excited_reach, next_excitement, order_size
from hftgym.market.price import hidden_drift, hidden_scale, next_hidden
from hftgym.market.step import decide, draw, draw_hidden, draw_latency, draw_more, first_regime, simulated, tick
from hftgym.observation import MARKET_FEATURES, N_FEATURES


@formula
def load(f, n, lane):
    """Return the State of lane `lane`."""
    return State(
        f[at.MID * n + lane],
        f[at.INVENTORY * n + lane],
        f[at.CASH * n + lane],
        f[at.TICK * n + lane],
        f[at.AGE * n + lane],
        f[at.ANCHOR * n + lane],
        f[at.SUM_X * n + lane],
        f[at.SUM_XX * n + lane],
        f[at.SUM_R * n + lane],
        f[at.SUM_RR * n + lane],
    )


@formula
def store_state(f, n, lane, s):
    """Write a State back."""
    f[at.MID * n + lane] = s.mid
    f[at.INVENTORY * n + lane] = s.inventory
    f[at.CASH * n + lane] = s.cash
    f[at.TICK * n + lane] = s.tick
    f[at.AGE * n + lane] = s.age
    f[at.ANCHOR * n + lane] = s.anchor
    f[at.SUM_X * n + lane] = s.sum_x
    f[at.SUM_XX * n + lane] = s.sum_xx
    f[at.SUM_R * n + lane] = s.sum_r
    f[at.SUM_RR * n + lane] = s.sum_rr


@formula
def store_outcome(f, now, n, lane, out, features, mid, half_spread):
    """Write what a tick did, the touch around the new mid, and the features."""
    f[at.BID * n + lane] = mid - half_spread
    f[at.ASK * n + lane] = mid + half_spread
    f[at.QUOTE_BID * n + lane] = out.quote_bid
    f[at.QUOTE_ASK * n + lane] = out.quote_ask
    f[at.FILL_BID * n + lane] = out.fill_bid
    f[at.FILL_ASK * n + lane] = out.fill_ask
    f[at.FEES * n + lane] = out.fees
    f[at.SPREAD_CAPTURE * n + lane] = out.spread_capture
    f[at.INVENTORY_PNL * n + lane] = out.inventory_pnl
    f[at.EQUITY * n + lane] = out.equity
    now[at.REWARD * n + lane] = out.reward
    now[at.TERMINATED * n + lane] = out.terminated
    now[at.TRUNCATED * n + lane] = out.truncated
    for k in range(N_FEATURES):
        f[(at.FEATURE + k) * n + lane] = features[k]


@formula
def draw_lane(f, now, n, lane, p):
    """Draw the tick's random numbers into their fields."""
    z_price, z_noise, reach_bid, reach_ask = draw(
        f[at.SEED_LOW * n + lane], f[at.SEED_HIGH * n + lane], f[at.EPISODE * n + lane], f[at.TICK * n + lane], p
    )
    now[at.Z_PRICE * n + lane] = z_price
    now[at.Z_NOISE * n + lane] = z_noise
    now[at.REACH_BID * n + lane] = reach_bid
    now[at.REACH_ASK * n + lane] = reach_ask


@formula
def tick_lane(f, now, n, lane, p, market, orders, full):
    """Run one tick on what the market does and what the agent has in it, wherever these come from."""
    after, outcome, features = tick(
        load(f, n, lane), p, market, orders, now[at.LEAVING * n + lane], now[at.OLDEST * n + lane], full
    )
    store_state(f, n, lane, after)
    store_outcome(f, now, n, lane, outcome, features, after.mid, market.next_half_spread)


@formula
def plain_orders(f, now, n, lane, p, half_spread):
    """Return the orders decided now, of one size."""
    bid, ask = now[at.ACTION_BID * n + lane], now[at.ACTION_ASK * n + lane]
    return decide(bid, ask, p.order_size, p.order_size, f[at.MID * n + lane], half_spread, p)


@formula
def full_orders(f, now, n, lane, p):
    """Return the orders decided now, of the size that the action says, around the mid that the agent knows."""
    bid_size = order_size(now[at.ACTION_BID_SIZE * n + lane], p) if p.sized != 0.0 else p.order_size
    ask_size = order_size(now[at.ACTION_ASK_SIZE * n + lane], p) if p.sized != 0.0 else p.order_size
    bid, ask = now[at.ACTION_BID * n + lane], now[at.ACTION_ASK * n + lane]
    known = f[at.KNOWN_MID * n + lane]
    return decide(bid, ask, bid_size, ask_size, known, known * p.half_spread, p)


@formula
def plain_market(f, now, n, lane, p):
    """Return the Market that the drawn numbers make where no hidden state is asked for."""
    return simulated(
        f[at.MID * n + lane],
        now[at.Z_PRICE * n + lane],
        now[at.Z_NOISE * n + lane],
        now[at.REACH_BID * n + lane],
        now[at.REACH_ASK * n + lane],
        math.inf,
        math.inf,
        0.0,
        1.0,
        p,
    )


@formula
def draw_hidden_lane(f, now, n, lane):
    """Draw what moves the hidden state."""
    u_jump, z_jump, u_regime, z_alpha = draw_hidden(
        f[at.SEED_LOW * n + lane], f[at.SEED_HIGH * n + lane], f[at.EPISODE * n + lane], f[at.TICK * n + lane]
    )
    now[at.U_JUMP * n + lane] = u_jump
    now[at.Z_JUMP * n + lane] = z_jump
    now[at.U_REGIME * n + lane] = u_regime
    now[at.Z_ALPHA * n + lane] = z_alpha


@formula
def draw_more_lane(f, now, n, lane, p):
    """Draw the volatility's shock and the sizes of the market orders."""
    z_volatility, sell, buy = draw_more(
        f[at.SEED_LOW * n + lane], f[at.SEED_HIGH * n + lane], f[at.EPISODE * n + lane], f[at.TICK * n + lane], p
    )
    now[at.Z_VOLATILITY * n + lane] = z_volatility
    now[at.SELL_SIZE * n + lane] = sell
    now[at.BUY_SIZE * n + lane] = buy


@formula
def full_market(f, now, n, lane, p):
    """Return the Market that the drawn numbers and the hidden state make, and move the hidden state on."""
    mid = f[at.MID * n + lane]
    hidden = Hidden(f[at.REGIME * n + lane], f[at.ALPHA * n + lane], f[at.LOG_VOLATILITY * n + lane])
    bid_excitement, ask_excitement = f[at.EXCITEMENT_BID * n + lane], f[at.EXCITEMENT_ASK * n + lane]
    reach_bid = excited_reach(now[at.REACH_BID * n + lane], bid_excitement, p)
    reach_ask = excited_reach(now[at.REACH_ASK * n + lane], ask_excitement, p)
    market = simulated(
        mid,
        now[at.Z_PRICE * n + lane],
        now[at.Z_NOISE * n + lane],
        reach_bid,
        reach_ask,
        now[at.SELL_SIZE * n + lane],
        now[at.BUY_SIZE * n + lane],
        hidden_drift(mid, hidden, now[at.U_JUMP * n + lane], now[at.Z_JUMP * n + lane], p),
        hidden_scale(hidden, p),
        p,
    )
    after = next_hidden(
        hidden, now[at.U_REGIME * n + lane], now[at.Z_ALPHA * n + lane], now[at.Z_VOLATILITY * n + lane], p
    )
    f[at.REGIME * n + lane] = after.regime
    f[at.ALPHA * n + lane] = after.alpha
    f[at.LOG_VOLATILITY * n + lane] = after.log_volatility
    f[at.EXCITEMENT_BID * n + lane] = next_excitement(bid_excitement, reach_bid, p)
    f[at.EXCITEMENT_ASK * n + lane] = next_excitement(ask_excitement, reach_ask, p)
    return market


@formula
def reset_lane(f, n, lane, p, mid, half_spread, ticks, inventory):
    """Start an episode: `ticks` already gone, `inventory` already bought at the mid."""
    for i in range(N_FIELDS):
        if (i < at.SEED_LOW) | (i > at.EPISODE):
            f[i * n + lane] = 0.0
    f[at.MID * n + lane] = mid
    f[at.BID * n + lane] = mid - half_spread
    f[at.ASK * n + lane] = mid + half_spread
    f[at.QUOTE_BID * n + lane] = -FAR
    f[at.QUOTE_ASK * n + lane] = FAR
    f[at.INVENTORY * n + lane] = inventory
    f[at.CASH * n + lane] = p.initial_cash - inventory * mid
    f[at.EQUITY * n + lane] = p.initial_cash
    f[at.ANCHOR * n + lane] = mid
    f[at.KNOWN_MID * n + lane] = mid
    f[at.LAG * n + lane] = NEVER
    f[at.TICK * n + lane] = ticks
    f[at.REGIME * n + lane] = first_regime(
        f[at.SEED_LOW * n + lane], f[at.SEED_HIGH * n + lane], f[at.EPISODE * n + lane], ticks
    )
    features = observe(load(f, n, lane), p, 0.0, mid, 0.0, 0.0)
    for k in range(N_FEATURES):
        f[(at.FEATURE + k) * n + lane] = features[k]


@formula
def unpack(v):
    """Return the Params of a packed vector."""
    return Params(
        v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12],
        v[13], v[14], v[15], v[16], v[17], v[18], v[19], v[20], v[21], v[22], v[23], v[24], v[25],
        v[26], v[27], v[28], v[29], v[30], v[31], v[32], v[33], v[34], v[35], v[36], v[37], v[38],
        v[39], v[40], v[41], v[42], v[43], v[44], v[45], v[46], v[47], v[48], v[49], v[50], v[51],
        v[52], v[53], v[54], v[55], v[56],
    )  # fmt: skip


@formula
def anchor_start(f, n, lane):
    """Begin to measure the window's sums anew, from the price just reached.

    Rolling sums gather rounding errors without end, and lose their digits when the price moves far from the anchor. An
    environment does this every `window` ticks of its own, oldest price first (`anchor_add`), so that the result does
    not depend on where its prices happen to lie in the ring.
    """
    f[at.ANCHOR * n + lane] = f[at.MID * n + lane]
    f[at.SUM_X * n + lane] = 0.0
    f[at.SUM_XX * n + lane] = 0.0
    f[at.SUM_R * n + lane] = 0.0
    f[at.SUM_RR * n + lane] = 0.0


@formula
def anchor_add(f, n, lane, price, before):
    """Add one price and the return that led to it; the first price comes with itself as `before`."""
    x = price - f[at.ANCHOR * n + lane]
    r = simple_return(price, before)
    f[at.SUM_X * n + lane] += x
    f[at.SUM_XX * n + lane] += x * x
    f[at.SUM_R * n + lane] += r
    f[at.SUM_RR * n + lane] += r * r


@formula
def anchor_due(f, n, lane, window):
    """Return whether the age is a multiple of the window (`%` would be a call into libm, and not vectorise)."""
    age = f[at.AGE * n + lane]
    return math.floor(age / window) * window == age


@formula
def ring_slot(head, k, window):
    """Return the slot of the k-th oldest price, where `head` holds the newest."""
    slot = head + 1 + k
    return slot - window if slot >= window else slot


@formula
def anchor_lane(f, n, lane, ring, head, window):
    """Measure the sums of one lane anew; its prices lie `n` apart in the ring."""
    anchor_start(f, n, lane)
    before = ring[ring_slot(head, 0, window) * n + lane]
    for k in range(window):
        price = ring[ring_slot(head, k, window) * n + lane]
        anchor_add(f, n, lane, price, before)
        before = price


@formula
def simulate_lane(f, now, n, lane, p, full):
    """Run one simulated tick on drawn numbers; orders arrive at once."""
    if full is not None:
        market = full_market(f, now, n, lane, p)
        orders = full_orders(f, now, n, lane, p)
    else:
        market = plain_market(f, now, n, lane, p)
        orders = plain_orders(f, now, n, lane, p, market.half_spread)
    tick_lane(f, now, n, lane, p, market, orders, full)
    if full is not None:
        f[at.KNOWN_MID * n + lane] = f[at.MID * n + lane]


@formula
def send_lane(f, now, n, lane, p, sent):
    """Put the orders decided now into their row of the ring of decisions."""
    orders = full_orders(f, now, n, lane, p)
    sent[0 * n + lane] = orders.bid
    sent[1 * n + lane] = orders.ask
    sent[2 * n + lane] = orders.bid_size
    sent[3 * n + lane] = orders.ask_size


@formula
def lag_lane(f, now, n, lane, p):
    """Find how old the newest decision is that has arrived."""
    u = 1.0
    if p.latency_jitter > 0.0:
        u = draw_latency(
            f[at.SEED_LOW * n + lane], f[at.SEED_HIGH * n + lane], f[at.EPISODE * n + lane], f[at.TICK * n + lane]
        )
    before = f[at.LAG * n + lane]
    lag = lag_after(before, latency(u, f[at.LAST_MOVE * n + lane], p))
    f[at.LAG * n + lane] = lag
    now[at.ARRIVED * n + lane] = 1.0 if lag <= f[at.AGE * n + lane] else 0.0
    now[at.NEWER * n + lane] = 1.0 if lag <= before else 0.0


@formula
def receive_lane(f, now, n, lane, decisions, head, slots):
    """Fetch the orders in force: the newest decision that has arrived, or what is left of the one before."""
    arrived, newer = now[at.ARRIVED * n + lane] != 0.0, now[at.NEWER * n + lane] != 0.0
    row = ring_slot_before(head, int(f[at.LAG * n + lane]) if arrived else 0, slots) * ORDER_ROWS
    bid_left = decisions[(row + 2) * n + lane] if newer else f[at.LEFT_BID * n + lane]
    ask_left = decisions[(row + 3) * n + lane] if newer else f[at.LEFT_ASK * n + lane]
    now[at.ORDER_BID * n + lane] = decisions[row * n + lane] if arrived else -FAR
    now[at.ORDER_ASK * n + lane] = decisions[(row + 1) * n + lane] if arrived else FAR
    now[at.ORDER_BID_SIZE * n + lane] = bid_left if arrived else 0.0
    now[at.ORDER_ASK_SIZE * n + lane] = ask_left if arrived else 0.0


@formula
def late_lane(f, now, n, lane, p):
    """Run one simulated tick on the orders in force, and note what is left of them."""
    before = f[at.MID * n + lane]
    market = full_market(f, now, n, lane, p)
    bid_size, ask_size = now[at.ORDER_BID_SIZE * n + lane], now[at.ORDER_ASK_SIZE * n + lane]
    orders = Orders(now[at.ORDER_BID * n + lane], now[at.ORDER_ASK * n + lane], bid_size, ask_size)
    tick_lane(f, now, n, lane, p, market, orders, True)
    f[at.LEFT_BID * n + lane] = bid_size - f[at.FILL_BID * n + lane]
    f[at.LEFT_ASK * n + lane] = ask_size - f[at.FILL_ASK * n + lane]
    f[at.LAST_MOVE * n + lane] = simple_return(f[at.MID * n + lane], before) * p.per_volatility


@formula
def publish_lane(f, n, lane, row):
    """Put what is to be seen of the market into its row of the ring of market data."""
    row[lane] = f[at.MID * n + lane]
    for k in range(DATA_ROWS - 1):
        row[(k + 1) * n + lane] = f[(at.FEATURE + MARKET_FEATURES[k]) * n + lane]


@formula
def observe_late_lane(f, n, lane, p, data, head, slots):
    """Replace what the policy sees of the market by what it was when the news set out."""
    age = f[at.AGE * n + lane]
    delay = p.data_latency if p.data_latency < age else age
    row = ring_slot_before(head, int(delay), slots) * DATA_ROWS
    f[at.KNOWN_MID * n + lane] = data[row * n + lane]
    for k in range(DATA_ROWS - 1):
        f[(at.FEATURE + MARKET_FEATURES[k]) * n + lane] = data[(row + k + 1) * n + lane]
