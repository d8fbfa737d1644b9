"""One tick of one market. This is the only place where the order of events is written.

Simulation, batch and recorded ticks call the same `tick`; they differ in who says what the market does (`Market`).
"""

from hftgym.market.account import capture, cash_after, equity, fee
from hftgym.market.compile import formula
from hftgym.market.features import observe, simple_return, slide
from hftgym.market.layout import Market, Outcome, State
from hftgym.market.matching import execution, quote, reach, room
from hftgym.market.price import next_mid
from hftgym.market.random import (
    STREAM_HIDDEN,
    STREAM_START,
    STREAM_TICK,
    STREAM_VOLATILITY,
    normal_pair,
    tick_block,
    uniform,
)
from hftgym.market.reward import inventory_penalty, pnl


@formula
def tick(s, p, market, action_bid, action_ask, leaving, oldest):
    """Return (state, outcome, features) after one tick.

    Args:
        s: State before the tick.
        p: Parameters.
        market: What the outside world does in this tick.
        action_bid: Bid action, -1 crosses and +1 withdraws.
        action_ask: Ask action.
        leaving: The price that drops out of the rolling window; read only when the window is full.
        oldest: The first price that stays in it; read only when the window is full.
    """
    # 1. The quotes decided now, as absolute prices. (Order latency: those decided some ticks ago act here.)
    bid = quote(action_bid, 1.0, s.mid, market.half_spread, p)
    ask = quote(action_ask, -1.0, s.mid, market.half_spread, p)

    # 2. Crossing quotes execute at the opposite touch (slippage: deeper, with size);
    # 3. resting quotes meet the market orders of this tick. The inventory limit cuts both.
    bought, bid_price, bid_taker = execution(
        bid, 1.0, s.mid + market.half_spread, market.low, room(s.inventory, 1.0, p)
    )
    sold, ask_price, ask_taker = execution(
        ask, -1.0, s.mid - market.half_spread, market.high, room(s.inventory, -1.0, p)
    )

    # 4. The mid moves. 5. (Trade-through: quotes that the new touch has passed are filled here.)
    mid = market.next_mid

    # 6. Fees, cash, inventory: always together.
    fees = fee(bought, bid_price, bid_taker, p) + fee(sold, ask_price, ask_taker, p)
    cash = cash_after(s.cash, bought, bid_price, sold, ask_price, fees)
    inventory = s.inventory + bought - sold

    # 7. Mark to market, and where the change came from.
    marked = equity(cash, inventory, mid)
    spread_capture = capture(bought, bid_price, 1.0, s.mid) + capture(sold, ask_price, -1.0, s.mid)
    inventory_pnl = inventory * (mid - s.mid)

    # 8. Reward and end.
    reward = pnl(spread_capture, inventory_pnl, fees) - inventory_penalty(inventory, p)
    ticks = s.tick + 1.0
    age = s.age + 1.0
    terminated = (ticks >= p.horizon) | (marked <= 0.0)
    truncated = (age >= p.max_steps) & (not terminated)

    # 9. The rolling window and what the policy sees of it.
    moved = simple_return(mid, s.mid)
    left = simple_return(oldest, leaving)
    full = age >= p.window
    x, x_left = mid - s.anchor, leaving - s.anchor
    after = State(
        mid,
        inventory,
        cash,
        ticks,
        age,
        s.anchor,
        slide(s.sum_x, x, x_left, full),
        slide(s.sum_xx, x * x, x_left * x_left, full),
        slide(s.sum_r, moved, left, full),
        slide(s.sum_rr, moved * moved, left * left, full),
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
def draw(seed_low, seed_high, episode, ticks, p):
    """Return what is random in every simulated tick: (price normal, noise normal, bid reach, ask reach)."""
    a, b, c, d = tick_block(seed_low, seed_high, episode, ticks, STREAM_TICK)
    z_price, z_noise = normal_pair(a, b)
    return z_price, z_noise, reach(c, p), reach(d, p)


@formula
def draw_hidden(seed_low, seed_high, episode, ticks):
    """Return what the hidden state draws: (jump uniform, jump normal, regime uniform, alpha and volatility normals)."""
    a, b, c, d = tick_block(seed_low, seed_high, episode, ticks, STREAM_HIDDEN)
    z_jump, z_alpha = normal_pair(a, b)
    a, b, _, _ = tick_block(seed_low, seed_high, episode, ticks, STREAM_VOLATILITY)
    z_volatility, _ = normal_pair(a, b)
    return uniform(c), z_jump, uniform(d), z_alpha, z_volatility


@formula
def first_regime(seed_low, seed_high, episode, ticks):
    """Return the hidden regime that an episode starts in, +1 or -1 with equal chance."""
    word, _, _, _ = tick_block(seed_low, seed_high, episode, ticks, STREAM_START)
    return 1.0 if uniform(word) < 0.5 else -1.0


@formula
def simulated(mid, z_price, z_noise, reach_bid, reach_ask, drift, scale, p):
    """Return the Market of one simulated tick."""
    half_spread = mid * p.half_spread
    moved = next_mid(mid, z_price, z_noise, drift, scale, p)
    return Market(
        half_spread, mid - reach_bid * half_spread, mid + reach_ask * half_spread, moved, moved * p.half_spread
    )
