"""What one market remembers, and where it lies in memory.

Every quantity of one environment is a float64 field. A tile is 64 environments, stored field by field (`[FIELD][64]`),
so that one machine instruction works on 8 of them; a single environment is the same layout with one lane.
"""

import math
from typing import NamedTuple

import numpy as np

from hftgym.observation import FEATURE_NAMES, MARKET_FEATURES
from hftgym.params import EnvParams

LANES = 64

# The order of the first eleven is the order of `info`, which is read as one slice.
INFO_KEYS = (
    "mid",
    "bid",
    "ask",
    "inventory",
    "cash",
    "equity",
    "fill_bid",
    "fill_ask",
    "fees",
    "spread_capture",
    "inventory_pnl",
)
FIELDS = (
    *INFO_KEYS,
    *("quote_bid", "quote_ask"),
    *("tick", "age", "anchor", "sum_x", "sum_xx", "sum_r", "sum_rr"),
    *("regime", "alpha", "log_volatility", "excitement_bid", "excitement_ask"),
    *("known_mid", "last_move", "lag", "left_bid", "left_ask", "marginal_utility"),
    *("seed_low", "seed_high", "episode"),
    *(f"feature_{name}" for name in FEATURE_NAMES),
)
# What is needed for one tick only lies apart, where all tiles of a thread use the same cache lines.
NOW = (
    *("action_bid", "action_ask", "z_price", "z_noise", "reach_bid", "reach_ask", "leaving", "oldest"),
    *("u_jump", "z_jump", "u_regime", "z_alpha", "z_volatility", "drift", "scale"),
    *("action_bid_size", "action_ask_size", "sell_size", "buy_size"),
    *("order_bid", "order_ask", "order_bid_size", "order_ask_size", "new", "mid_before"),
    *("reward", "terminated", "truncated"),
)
_AT = {name: i for names in (FIELDS, NOW) for i, name in enumerate(names)}
N_FIELDS = len(FIELDS)
N_NOW = len(NOW)
N_INFO = len(INFO_KEYS)

MID, BID, ASK, INVENTORY, CASH, EQUITY = (_AT[k] for k in ("mid", "bid", "ask", "inventory", "cash", "equity"))
FILL_BID, FILL_ASK, FEES = _AT["fill_bid"], _AT["fill_ask"], _AT["fees"]
SPREAD_CAPTURE, INVENTORY_PNL = _AT["spread_capture"], _AT["inventory_pnl"]
REWARD, TERMINATED, TRUNCATED = _AT["reward"], _AT["terminated"], _AT["truncated"]
QUOTE_BID, QUOTE_ASK = _AT["quote_bid"], _AT["quote_ask"]
TICK, AGE, ANCHOR = _AT["tick"], _AT["age"], _AT["anchor"]
SUM_X, SUM_XX, SUM_R, SUM_RR = _AT["sum_x"], _AT["sum_xx"], _AT["sum_r"], _AT["sum_rr"]
REGIME, ALPHA, LOG_VOLATILITY = _AT["regime"], _AT["alpha"], _AT["log_volatility"]
EXCITEMENT_BID, EXCITEMENT_ASK = _AT["excitement_bid"], _AT["excitement_ask"]
U_JUMP, Z_JUMP, U_REGIME = _AT["u_jump"], _AT["z_jump"], _AT["u_regime"]
ACTION_BID_SIZE, ACTION_ASK_SIZE = _AT["action_bid_size"], _AT["action_ask_size"]
KNOWN_MID, LAG, LEFT_BID, LEFT_ASK = _AT["known_mid"], _AT["lag"], _AT["left_bid"], _AT["left_ask"]
LAST_MOVE, MARGINAL_UTILITY = _AT["last_move"], _AT["marginal_utility"]
DRIFT, SCALE = _AT["drift"], _AT["scale"]
NEW, MID_BEFORE = _AT["new"], _AT["mid_before"]
ORDER_BID, ORDER_ASK = _AT["order_bid"], _AT["order_ask"]
ORDER_BID_SIZE, ORDER_ASK_SIZE = _AT["order_bid_size"], _AT["order_ask_size"]
# Rows of the two delay rings: what was decided, and what was to be seen.
ORDER_ROWS = 4  # bid, ask, bid size, ask size
DATA_ROWS = 1 + len(MARKET_FEATURES)  # mid, and the features of the market
# The lag before anything has been decided.
NEVER = 1e9
SELL_SIZE, BUY_SIZE = _AT["sell_size"], _AT["buy_size"]
Z_ALPHA, Z_VOLATILITY = _AT["z_alpha"], _AT["z_volatility"]
SEED_LOW, SEED_HIGH, EPISODE = _AT["seed_low"], _AT["seed_high"], _AT["episode"]
ACTION_BID, ACTION_ASK = _AT["action_bid"], _AT["action_ask"]
Z_PRICE, Z_NOISE, REACH_BID, REACH_ASK = _AT["z_price"], _AT["z_noise"], _AT["reach_bid"], _AT["reach_ask"]
LEAVING, OLDEST, FEATURE = _AT["leaving"], _AT["oldest"], _AT[f"feature_{FEATURE_NAMES[0]}"]


class State(NamedTuple):
    """What one market carries from tick to tick."""

    mid: float  # quote currency
    inventory: float  # units
    cash: float  # quote currency
    tick: float  # ticks since the start of the episode; the counter of its draws
    age: float  # ticks since reset; differs from `tick` only if the episode was entered late
    anchor: float  # price from which the window's sums are measured
    sum_x: float  # over the window's prices: x = price - anchor
    sum_xx: float
    sum_r: float  # over the returns between them
    sum_rr: float


class Market(NamedTuple):
    """What the outside world does in one tick: simulated, or read from a tape."""

    half_spread: float  # now, quote currency
    low: float  # the lowest price at which this tick's sell orders trade; a resting bid at or above it is filled
    high: float  # the highest price at which this tick's buy orders trade
    sell_size: float  # how much of a bid those sell orders take at most, units
    buy_size: float
    next_mid: float
    next_half_spread: float


class Orders(NamedTuple):
    """What the agent has in the market in one tick: absolute prices and units."""

    bid: float
    ask: float
    bid_size: float
    ask_size: float
    new: float  # 1: arriving in this tick, so that they may cross; 0: resting there already


class Executed(NamedTuple):
    """What the agent's orders did in one tick before the mid moved, in quote currency and units."""

    bid: float  # the quotes that were in force last
    ask: float
    bought: float
    sold: float
    bid_left: float  # what still rests
    ask_left: float
    cash: float  # after it
    fees: float
    spread_capture: float


class Outcome(NamedTuple):
    """What one tick did to the account, in quote currency and units."""

    quote_bid: float
    quote_ask: float
    fill_bid: float  # units bought
    fill_ask: float  # units sold
    fees: float
    spread_capture: float
    inventory_pnl: float
    equity: float
    reward: float
    terminated: float  # 0 or 1
    truncated: float


class Params(NamedTuple):
    """EnvParams as the kernel reads them: floats only, divisions done beforehand."""

    initial_price: float
    initial_cash: float
    arithmetic: float  # 1: moves are fractions of the initial price; 0: of the price itself
    binary: float  # 1: steps of plus or minus one standard deviation
    sigma: float
    sigma_noise: float
    half_spread: float  # relative
    log_intensity: float  # ln A
    per_decay: float  # 1 / kappa
    linear: float  # 1: the linear fill convention
    full: float  # 1 if any of the features below is on: the full form of the tick is run
    drift: float  # relative, per tick
    mean_reversion: float
    jump_probability: float
    jump_mean: float
    jump_volatility: float
    volatility_of_volatility: float
    volatility_kept: float  # 1 - reversion
    regime_switching: float
    regime_drift: float  # relative, per tick
    regime_volatility: float
    alpha_volatility: float  # relative, per tick
    alpha_kept: float
    excitation: float
    excitation_kept: float
    maker_fee: float  # fraction of the value
    taker_fee: float
    market_order_size: float
    trade_through: float  # 1: on
    level_depth: float  # inf where the touch has no end
    per_level_depth: float
    level_spacing: float  # half-spreads
    late: float  # 1: orders or data take time
    order_latency: float  # ticks
    latency_jitter: float  # ticks
    latency_per_tail: float  # 1 / exponent
    latency_longest: float  # ticks
    data_latency: float  # ticks
    order_size: float
    sized: float  # 1: the action has sizes
    terminal_phi: float  # quote currency per unit^2
    martingale_free: float  # 1: the reward leaves the inventory's gains out
    risk_aversion: float  # 0: no utility
    per_risk_aversion: float
    inventory_limit: float
    offset_low: float
    offset_range: float
    phi: float  # quote currency per unit^2 per tick
    horizon: float
    max_steps: float  # truncation, inf for none
    window: float
    per_window: float  # 1 / prices in the window
    per_returns: float  # 1 / returns between them
    per_limit: float  # 1 / inventory limit
    per_half_horizon: float  # 2 / horizon
    per_volatility: float  # 1 / nominal volatility, 0 if there is none
    per_momentum: float  # 1 / (nominal volatility of the whole window)


def pack(params: EnvParams, *, max_steps: float = math.inf) -> np.ndarray:
    """Return `params` as the float64 vector that the kernels read, in the order of `Params`."""
    nominal = params.nominal_volatility
    return np.array(
        Params(
            initial_price=params.initial_price,
            initial_cash=params.initial_cash,
            arithmetic=float(params.price_model == "arithmetic"),
            binary=float(params.price_steps == "binary"),
            sigma=params.volatility,
            sigma_noise=params.volatility * params.microstructure_noise,
            half_spread=params.spread / 2,
            log_intensity=math.log(params.arrival_intensity) if params.arrival_intensity > 0 else -math.inf,
            per_decay=1 / params.fill_decay,
            linear=float(params.fill_model == "linear"),
            full=float(is_full(params)),
            drift=params.drift,
            mean_reversion=params.mean_reversion,
            jump_probability=params.jump_probability,
            jump_mean=params.jump_mean,
            jump_volatility=params.jump_volatility,
            volatility_of_volatility=params.volatility_of_volatility,
            volatility_kept=1 - params.volatility_reversion,
            regime_switching=params.regime_switching,
            regime_drift=params.regime_drift * params.volatility,
            regime_volatility=params.regime_volatility,
            alpha_volatility=params.alpha_volatility * params.volatility,
            alpha_kept=1 - params.alpha_reversion,
            excitation=params.excitation,
            excitation_kept=1 - params.excitation_decay,
            maker_fee=params.maker_fee_bps * 1e-4,
            taker_fee=params.taker_fee_bps * 1e-4,
            market_order_size=params.market_order_size if params.market_order_size > 0 else math.inf,
            trade_through=float(params.trade_through),
            level_depth=params.level_depth if params.level_depth > 0 else math.inf,
            per_level_depth=1 / params.level_depth if params.level_depth > 0 else 0.0,
            level_spacing=params.level_spacing,
            late=float(params.longest_latency > 0 or params.data_latency > 0),
            order_latency=float(params.order_latency),
            latency_jitter=params.order_latency_jitter,
            latency_per_tail=1 / params.order_latency_tail,
            latency_longest=float(params.longest_latency),
            data_latency=float(params.data_latency),
            order_size=params.order_size,
            sized=float(params.sized_actions),
            terminal_phi=params.terminal_penalty * params.half_spread,
            martingale_free=float(params.reward == "martingale_free"),
            risk_aversion=params.risk_aversion,
            per_risk_aversion=1 / params.risk_aversion if params.risk_aversion > 0 else 0.0,
            inventory_limit=float(params.inventory_limit),
            offset_low=params.offset_low,
            offset_range=params.offset_high - params.offset_low,
            phi=params.phi,
            horizon=float(params.horizon),
            max_steps=max_steps,
            window=float(params.window),
            per_window=1 / params.window,
            per_returns=1 / (params.window - 1),
            per_limit=1 / params.inventory_limit,
            per_half_horizon=2 / params.horizon,
            per_volatility=1 / nominal if nominal > 0 else 0.0,
            per_momentum=1 / (nominal * math.sqrt(params.window - 1)) if nominal > 0 else 0.0,
        ),
        dtype=np.float64,
    )


# Switched on by any other value than the default.
_FULL = (
    *("drift", "mean_reversion", "jump_probability", "volatility_of_volatility", "regime_drift", "regime_volatility"),
    *("alpha_volatility", "excitation", "market_order_size", "trade_through", "level_spacing", "sized_actions"),
    *("terminal_penalty", "reward", "order_latency", "order_latency_jitter", "data_latency"),
)


def is_full(params: EnvParams) -> bool:
    """Return whether the plain form of the tick leaves something out that these parameters ask for."""
    plain = EnvParams()
    return any(getattr(params, name) != getattr(plain, name) for name in _FULL)


def ring_sizes(params: EnvParams) -> tuple[int, int, int]:
    """Return the float64 numbers per environment of the rings: prices, decisions, market data."""
    if params.longest_latency == 0 == params.data_latency:
        return params.window, 0, 0
    return params.window, (params.longest_latency + 1) * ORDER_ROWS, (params.data_latency + 1) * DATA_ROWS
