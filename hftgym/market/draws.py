"""What is random in a tick, drawn for all lanes, and what it does to the hidden state.

`f`, `now`, `n` and `lane` as in the module `lane`.
"""

import math

from hftgym.market import layout as at
from hftgym.market.compile import formula
from hftgym.market.matching import next_excitement
from hftgym.market.price import drift, next_alpha, next_log_volatility
from hftgym.market.random import exp
from hftgym.market.step import draw, draw_hidden, draw_more


@formula
def draw_full(f, now, n, p):
    """Draw all that the parameters ask for."""
    if p.excitation > 0.0:
        for lane in range(n):
            draw_pass(f, now, n, lane, p, True)
    else:
        for lane in range(n):
            draw_pass(f, now, n, lane, p, None)
    hidden = (p.jump_probability > 0.0) | (p.regime_switching > 0.0) | (p.alpha_volatility > 0.0)
    if hidden:
        for lane in range(n):
            draw_hidden_pass(f, now, n, lane)
    else:
        for lane in range(n):
            now[at.U_JUMP * n + lane] = 1.0
            now[at.Z_JUMP * n + lane] = 0.0
            now[at.U_REGIME * n + lane] = 1.0
            now[at.Z_ALPHA * n + lane] = 0.0
    if (p.volatility_of_volatility > 0.0) | (p.market_order_size < math.inf):
        for lane in range(n):
            draw_more_pass(f, now, n, lane, p)
    else:
        for lane in range(n):
            now[at.Z_VOLATILITY * n + lane] = 0.0
            now[at.SELL_SIZE * n + lane] = math.inf
            now[at.BUY_SIZE * n + lane] = math.inf
    for lane in range(n):
        drift_pass(f, now, n, lane, p)
    if p.volatility_of_volatility > 0.0:
        for lane in range(n):
            volatility_pass(f, now, n, lane, p)


@formula
def draw_pass(f, now, n, lane, p, full):
    """Draw the tick's random numbers into their fields; with `full`, orders attract orders."""
    excitement_bid = excitement_ask = 0.0
    if full is not None:
        excitement_bid, excitement_ask = f[at.EXCITEMENT_BID * n + lane], f[at.EXCITEMENT_ASK * n + lane]
    z_price, z_noise, reach_bid, reach_ask = draw(
        f[at.SEED_LOW * n + lane],
        f[at.SEED_HIGH * n + lane],
        f[at.EPISODE * n + lane],
        f[at.TICK * n + lane],
        excitement_bid,
        excitement_ask,
        p,
    )
    now[at.Z_PRICE * n + lane] = z_price
    now[at.Z_NOISE * n + lane] = z_noise
    now[at.REACH_BID * n + lane] = reach_bid
    now[at.REACH_ASK * n + lane] = reach_ask
    if full is not None:
        f[at.EXCITEMENT_BID * n + lane] = next_excitement(excitement_bid, reach_bid, p)
        f[at.EXCITEMENT_ASK * n + lane] = next_excitement(excitement_ask, reach_ask, p)


@formula
def draw_hidden_pass(f, now, n, lane):
    """Draw what moves the hidden state."""
    u_jump, z_jump, u_regime, z_alpha = draw_hidden(
        f[at.SEED_LOW * n + lane], f[at.SEED_HIGH * n + lane], f[at.EPISODE * n + lane], f[at.TICK * n + lane]
    )
    now[at.U_JUMP * n + lane] = u_jump
    now[at.Z_JUMP * n + lane] = z_jump
    now[at.U_REGIME * n + lane] = u_regime
    now[at.Z_ALPHA * n + lane] = z_alpha


@formula
def draw_more_pass(f, now, n, lane, p):
    """Draw the volatility's shock and the sizes of the market orders."""
    z_volatility, sell, buy = draw_more(
        f[at.SEED_LOW * n + lane], f[at.SEED_HIGH * n + lane], f[at.EPISODE * n + lane], f[at.TICK * n + lane], p
    )
    now[at.Z_VOLATILITY * n + lane] = z_volatility
    now[at.SELL_SIZE * n + lane] = sell
    now[at.BUY_SIZE * n + lane] = buy


@formula
def drift_pass(f, now, n, lane, p):
    """Find what drifts, regimes and jumps do to the price, and move the hidden drifts on."""
    mid, regime, alpha = f[at.MID * n + lane], f[at.REGIME * n + lane], f[at.ALPHA * n + lane]
    now[at.DRIFT * n + lane] = drift(mid, regime, alpha, now[at.U_JUMP * n + lane], now[at.Z_JUMP * n + lane], p)
    now[at.SCALE * n + lane] = p.regime_volatility if regime > 0.0 else 1.0
    f[at.REGIME * n + lane] = -regime if now[at.U_REGIME * n + lane] < p.regime_switching else regime
    f[at.ALPHA * n + lane] = next_alpha(alpha, now[at.Z_ALPHA * n + lane], p)


@formula
def volatility_pass(f, now, n, lane, p):
    """Find what the hidden volatility does to the price, and move it on."""
    log_volatility = f[at.LOG_VOLATILITY * n + lane]
    now[at.SCALE * n + lane] *= exp(log_volatility)
    f[at.LOG_VOLATILITY * n + lane] = next_log_volatility(log_volatility, now[at.Z_VOLATILITY * n + lane], p)
