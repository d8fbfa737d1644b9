"""One tick of one market. This is the only place where the order of events is written.

Simulation, batch and recorded ticks call the same `tick`; they differ in who says what the market does (`Market`).
"""

from hftgym.market.account import capture, cash_after, equity, fee
from hftgym.market.compile import formula
from hftgym.market.features import observe, simple_return, slide
from hftgym.market.layout import Executed, Market, Orders, Outcome, State
from hftgym.market.matching import filled_resting, quote, reach, room, slippage, takes
from hftgym.market.price import next_mid
from hftgym.market.random import (
    STREAM_HIDDEN,
    STREAM_LATENCY,
    STREAM_MORE,
    STREAM_START,
    STREAM_TICK,
    log,
    normal_pair,
    tick_block,
    uniform,
)
from hftgym.market.reward import inventory_penalty, pnl, terminal_penalty


@formula
def decide(action_bid, action_ask, bid_size, ask_size, mid, half_spread, p):
    """Return the Orders that an action asks for, given the mid and half-spread that the agent knows."""
    return Orders(
        quote(action_bid, 1.0, mid, half_spread, p),
        quote(action_ask, -1.0, mid, half_spread, p),
        bid_size,
        ask_size,
        1.0,
    )


@formula
def tick(s, p, market, orders, leaving, oldest, full):
    """Return (state, outcome, features) after one tick.

    Args:
        s: State before the tick.
        p: Parameters.
        market: What the outside world does in this tick.
        orders: What the agent has in the market: decided now, or some ticks ago.
        leaving: The price that drops out of the rolling window; read only when the window is full.
        oldest: The first price that stays in it; read only when the window is full.
        full: None leaves out, at compile time, what only `Params.full` asks for.
    """
    done = execute(s, p, market, orders, full)
    return settle(s, p, done, market.next_mid, market.next_half_spread, leaving, oldest, full)


@formula
def execute(s, p, market, orders, full):
    """Return what was Executed in a tick whose market orders reach from the mid to a low and a high.

    A replay, which sees the single events of a tick, walks over these instead (`replay.walk`).
    """
    # 1. The orders that have reached the market. The inventory limit cuts them.
    bid, ask = orders.bid, orders.ask
    bid_size = room(s.inventory, orders.bid_size, 1.0, p)
    ask_size = room(s.inventory, orders.ask_size, -1.0, p)
    best_bid, best_ask = s.mid - market.half_spread, s.mid + market.half_spread

    # 2. Orders that arrive beyond the opposite touch execute there, or deeper in the book. (One that rests and that the
    # market comes to is a maker at its own price.)
    new = orders.new != 0.0
    bid_takes, ask_takes = takes(bid, 1.0, best_ask) & new, takes(ask, -1.0, best_bid) & new
    bid_taken, ask_taken = best_ask, best_bid
    if full is not None:
        bid_taken = best_ask + slippage(bid_size, market.half_spread, p)
        ask_taken = best_bid - slippage(ask_size, market.half_spread, p)

    # 3. resting quotes meet the market orders of this tick.
    resting_bid = filled_resting(bid, 1.0, market.low, bid_size, market.sell_size)
    resting_ask = filled_resting(ask, -1.0, market.high, ask_size, market.buy_size)
    bought, bid_price = (bid_size if bid_takes else resting_bid), (bid_taken if bid_takes else bid)
    sold, ask_price = (ask_size if ask_takes else resting_ask), (ask_taken if ask_takes else ask)
    bid_price, ask_price = (bid_price if bought > 0.0 else 0.0), (ask_price if sold > 0.0 else 0.0)
    fees = fee(bought, bid_price, bid_takes, p) + fee(sold, ask_price, ask_takes, p)
    return Executed(
        bid,
        ask,
        bought,
        sold,
        0.0 if bid_takes else bid_size - bought,
        0.0 if ask_takes else ask_size - sold,
        cash_after(s.cash, bought, bid_price, sold, ask_price, fees),
        fees,
        capture(bought, bid_price, 1.0, s.mid) + capture(sold, ask_price, -1.0, s.mid),
    )


@formula
def settle(s, p, done, next_mid, next_half_spread, leaving, oldest, full):
    """Return (state, outcome, features) of a tick in which `done` was executed; the other arguments as in `tick`."""
    bid, ask, bought, sold = done.bid, done.ask, done.bought, done.sold
    cash, fees, spread_capture = done.cash, done.fees, done.spread_capture
    inventory = s.inventory + bought - sold

    # 4. The mid moves.
    mid = next_mid
    inventory_pnl = inventory * (mid - s.mid)

    # 5. Trade-through: what is left of a resting quote that the new touch has reached is filled at its own price, and
    # booked against the new mid: the loss is adverse selection, not the inventory's.
    if full is not None:
        passed_bid = (p.trade_through != 0.0) & takes(bid, 1.0, mid + next_half_spread)
        passed_ask = (p.trade_through != 0.0) & takes(ask, -1.0, mid - next_half_spread)
        swept_bid, swept_ask = (done.bid_left if passed_bid else 0.0), (done.ask_left if passed_ask else 0.0)
        through_bid, through_ask = (bid if swept_bid > 0.0 else 0.0), (ask if swept_ask > 0.0 else 0.0)
        late_fees = fee(swept_bid, through_bid, False, p) + fee(swept_ask, through_ask, False, p)
        cash = cash_after(cash, swept_bid, through_bid, swept_ask, through_ask, late_fees)
        inventory = inventory + swept_bid - swept_ask
        spread_capture += capture(swept_bid, through_bid, 1.0, mid) + capture(swept_ask, through_ask, -1.0, mid)
        fees += late_fees
        bought, sold = bought + swept_bid, sold + swept_ask

    # 6. Mark to market. 7. The end.
    marked = equity(cash, inventory, mid)
    ticks = s.tick + 1.0
    age = s.age + 1.0
    terminated = (ticks >= p.horizon) | (marked <= 0.0)
    truncated = (age >= p.max_steps) & (not terminated)

    # 8. The reward, in money: `passes.run_tick` turns the gain into utility where that is asked for.
    gained = pnl(spread_capture, inventory_pnl, fees)
    if full is not None:
        gained -= inventory_pnl if p.martingale_free != 0.0 else 0.0
    reward = gained - inventory_penalty(inventory, p)
    if full is not None:
        reward -= terminal_penalty(inventory, p) if terminated else 0.0

    # 9. The rolling window and what the policy sees of it.
    moved = simple_return(mid, s.mid)
    left = simple_return(oldest, leaving)
    filled = age >= p.window
    x, x_left = mid - s.anchor, leaving - s.anchor
    after = State(
        mid,
        inventory,
        cash,
        ticks,
        age,
        s.anchor,
        slide(s.sum_x, x, x_left, filled),
        slide(s.sum_xx, x * x, x_left * x_left, filled),
        slide(s.sum_r, moved, left, filled),
        slide(s.sum_rr, moved * moved, left * left, filled),
    )
    outcome = Outcome(
        bid,
        ask,
        bought,
        sold,
        fees,
        spread_capture,
        inventory_pnl,
        marked,
        reward,
        1.0 if terminated else 0.0,
        1.0 if truncated else 0.0,
    )
    return after, outcome, observe(after, p, moved, oldest, bought, sold)


@formula
def draw(seed_low, seed_high, episode, ticks, excitement_bid, excitement_ask, p):
    """Return what is random in every simulated tick: (price normal, noise normal, bid reach, ask reach)."""
    a, b, c, d = tick_block(seed_low, seed_high, episode, ticks, STREAM_TICK)
    z_price, z_noise = normal_pair(a, b)
    return z_price, z_noise, reach(c, excitement_bid, p), reach(d, excitement_ask, p)


@formula
def draw_hidden(seed_low, seed_high, episode, ticks):
    """Return what jumps, regimes and the hidden drift draw: (jump uniform and normal, regime uniform, alpha normal)."""
    a, b, c, d = tick_block(seed_low, seed_high, episode, ticks, STREAM_HIDDEN)
    z_jump, z_alpha = normal_pair(a, b)
    return uniform(c), z_jump, uniform(d), z_alpha


@formula
def draw_more(seed_low, seed_high, episode, ticks, p):
    """Return (volatility normal, size of the sell order, size of the buy order); sizes are exponential, in units."""
    a, b, c, d = tick_block(seed_low, seed_high, episode, ticks, STREAM_MORE)
    z_volatility, _ = normal_pair(a, b)
    return z_volatility, -p.market_order_size * log(uniform(c)), -p.market_order_size * log(uniform(d))


@formula
def draw_latency(seed_low, seed_high, episode, ticks):
    """Return the uniform of the random latency."""
    word, _, _, _ = tick_block(seed_low, seed_high, episode, ticks, STREAM_LATENCY)
    return uniform(word)


@formula
def first_regime(seed_low, seed_high, episode, ticks):
    """Return the hidden regime that an episode starts in, +1 or -1 with equal chance."""
    word, _, _, _ = tick_block(seed_low, seed_high, episode, ticks, STREAM_START)
    return 1.0 if uniform(word) < 0.5 else -1.0


@formula
def simulated(mid, z_price, z_noise, reach_bid, reach_ask, sell_size, buy_size, drift, scale, p):
    """Return the Market of one simulated tick."""
    half_spread = mid * p.half_spread
    moved = next_mid(mid, z_price, z_noise, drift, scale, p)
    return Market(
        half_spread,
        mid - reach_bid * half_spread,
        mid + reach_ask * half_spread,
        sell_size,
        buy_size,
        moved,
        moved * p.half_spread,
    )
