"""One tick of all lanes of a memory, in passes: `run_tick` is their order, for one environment and for a tile of 64.

Short loops keep their numbers in registers, and a pass that nothing asks for is left out for all lanes at once. `f`,
`now`, `n` and `lane` as in `lane`.
"""

import math

from hftgym.market import layout as at
from hftgym.market.compile import formula
from hftgym.market.delay import decide_pass, exchange_data, exchange_orders
from hftgym.market.draws import draw_full, draw_pass
from hftgym.market.lane import load, store_outcome, store_state
from hftgym.market.layout import Orders
from hftgym.market.reward import pnl, utility_gained
from hftgym.market.step import decide, simulated, tick


@formula
def run_tick(f, now, n, p, rings, turn, full):
    """Run one simulated tick of `n` environments.

    Args:
        f: Fields.
        now: Scratch of this tick, with the actions and the two prices that the window needs.
        n: Lanes.
        p: Parameters.
        rings: (decisions, market data, slots of each).
        turn: Ticks that the memory has run, this one included.
        full: None for the plain form, which leaves out at compile time what only `Params.full` asks for. The two forms
            are one algebra: they agree bit for bit where both apply.
    """
    if full is None:
        for lane in range(n):
            draw_pass(f, now, n, lane, p, None)
        for lane in range(n):
            plain_pass(f, now, n, lane, p)
    else:
        draw_full(f, now, n, p)
        decisions, data, sent, seen = rings
        if p.late == 0.0:
            for lane in range(n):
                decide_pass(f, now, n, lane, p, at.MID, now, at.ORDER_BID)
                now[at.NEW * n + lane] = 1.0
            tick_full(f, now, n, p)
        else:
            exchange_orders(f, now, n, p, decisions, turn % sent, sent)
            tick_full(f, now, n, p)
            exchange_data(f, now, n, p, data, turn % seen, seen)


@formula
def plain_pass(f, now, n, lane, p):
    """Run the tick of one lane in the plain form."""
    mid, inf = f[at.MID * n + lane], math.inf
    reach_bid, reach_ask = now[at.REACH_BID * n + lane], now[at.REACH_ASK * n + lane]
    z_price, z_noise = now[at.Z_PRICE * n + lane], now[at.Z_NOISE * n + lane]
    market = simulated(mid, z_price, z_noise, reach_bid, reach_ask, inf, inf, 0.0, 1.0, p)
    tick_pass(f, now, n, lane, p, market, plain_orders(f, now, n, lane, p, market.half_spread), None)


@formula
def full_pass(f, now, n, lane, p):
    """Run the tick of one lane on the orders in force, with everything that parameters can ask for."""
    market = simulated(
        f[at.MID * n + lane],
        now[at.Z_PRICE * n + lane],
        now[at.Z_NOISE * n + lane],
        now[at.REACH_BID * n + lane],
        now[at.REACH_ASK * n + lane],
        now[at.SELL_SIZE * n + lane],
        now[at.BUY_SIZE * n + lane],
        now[at.DRIFT * n + lane],
        now[at.SCALE * n + lane],
        p,
    )
    orders = Orders(
        now[at.ORDER_BID * n + lane],
        now[at.ORDER_ASK * n + lane],
        now[at.ORDER_BID_SIZE * n + lane],
        now[at.ORDER_ASK_SIZE * n + lane],
        now[at.NEW * n + lane],
    )
    tick_pass(f, now, n, lane, p, market, orders, True)


@formula
def tick_full(f, now, n, p):
    """Run the full form of the tick in all lanes, and turn gains into utility where that is the reward."""
    for lane in range(n):
        full_pass(f, now, n, lane, p)
    if p.risk_aversion > 0.0:
        for lane in range(n):
            utility_pass(f, now, n, lane, p)


@formula
def tick_pass(f, now, n, lane, p, market, orders, full):
    """Run one tick on what the market does and what the agent has in it, wherever these come from."""
    after, outcome, features = tick(
        load(f, n, lane), p, market, orders, now[at.LEAVING * n + lane], now[at.OLDEST * n + lane], full
    )
    store_state(f, n, lane, after)
    store_outcome(f, now, n, lane, outcome, features, after.mid, market.next_half_spread)


@formula
def utility_pass(f, now, n, lane, p):
    """Replace the gain of this tick in the reward by its utility."""
    gained = pnl(f[at.SPREAD_CAPTURE * n + lane], f[at.INVENTORY_PNL * n + lane], f[at.FEES * n + lane])
    useful, marginal = utility_gained(gained, f[at.MARGINAL_UTILITY * n + lane], p)
    f[at.MARGINAL_UTILITY * n + lane] = marginal
    now[at.REWARD * n + lane] += useful - gained


@formula
def plain_orders(f, now, n, lane, p, half_spread):
    """Return the orders decided now, of one size."""
    bid, ask = now[at.ACTION_BID * n + lane], now[at.ACTION_ASK * n + lane]
    return decide(bid, ask, p.order_size, p.order_size, f[at.MID * n + lane], half_spread, p)
