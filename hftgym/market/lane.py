"""One environment in memory: load its state, store it, reset it, keep its window. Used alone and 64 abreast.

`f` holds the fields that last, `now` those of this tick (`layout.FIELDS`, `layout.NOW`); `n` is the number of lanes (64
in a tile, 1 alone) and `lane` the lane: the values of one field lie side by side, `n` of them.
"""

import math

from hftgym.market import layout as at
from hftgym.market.compile import formula
from hftgym.market.features import observe, simple_return
from hftgym.market.layout import N_FIELDS, NEVER, Params, State
from hftgym.market.matching import FAR
from hftgym.market.step import first_regime
from hftgym.observation import N_FEATURES


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
    f[at.MARGINAL_UTILITY * n + lane] = 1.0
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
