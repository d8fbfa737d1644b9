"""The simulator's market written as ticks: a tape whose true parameters are known."""

import dataclasses
import math
from decimal import Decimal
from pathlib import Path

import numpy as np

from hftgym.market import layout as at
from hftgym.market.layout import N_FIELDS, is_full
from hftgym.market.single import FIELDS_AT, allocate, reset_single, set_seed, step_full_single, step_single
from hftgym.observation import N_FEATURES
from hftgym.params import EnvParams
from hftgym.tape.report import Findings, TapeReport
from hftgym.tape.types import Quotes, Tape, Trades

START_NS = 1_700_000_000_000_000_000
"""When a simulated tape begins, ns since 1970."""

_NOTHING = Findings(count=0, first=())
_NOW_AT = FIELDS_AT + N_FIELDS
# What is read of every tick, (before it, after it): the touch, and what attracts orders; how far they went, their size.
_BEFORE = tuple(FIELDS_AT + i for i in (at.MID, at.BID, at.ASK, at.EXCITEMENT_BID, at.EXCITEMENT_ASK))
_AFTER = tuple(_NOW_AT + i for i in (at.REACH_BID, at.REACH_ASK, at.SELL_SIZE, at.BUY_SIZE))


def simulate_tape(params: EnvParams, *, ticks: int, seed: int, price_step: float | None = None) -> Tape:
    """Return the market that an environment with this seed plays in, as recorded ticks.

    Prices and the furthest market order of every tick and side are the environment's own, under the same seed: a quote
    that rests d half-spreads from the mid, d >= 1, is passed by a trade in the ticks in which the environment fills it,
    which has the probability 1 - exp(-A (1 + e) exp(-kappa d)). The orders that go less far are added by the same law:
    a Poisson number with exponential distances. Those that do not come as far as the touch leave no trade, so there is
    none at d < 1. With `fill_model="linear"` there is the furthest order alone, because that law has no others.

    Quotes come at the start of every tick and once at the end, trades at times uniform within their tick; both clocks
    are the same. Every order is one trade, for `market_order_size` units on average, `order_size` where that is 0 and
    orders are always large enough. At the touch stand `level_depth` units, or else twice the inventory limit.

    Args:
        params: The market; only what concerns prices and order flow is used.
        ticks: Ticks of `params.tick_s` seconds, at least 1; the tape has one quote more.
        seed: Seed of the market, 0 to 2^64 - 1.
        price_step: Price grid in quote currency; None leaves prices as they are. Best prices are rounded away from the
            mid, and trades to the last price that their order reached; one that does not come as far as the rounded
            best price leaves no trade. So a quote on the grid is reached with the probability above.

    Raises:
        ValueError: An argument is outside its range, or the price could leave that of float64 within so many ticks.
    """
    _check(ticks, seed, price_step, params)
    before, after = _play(params, ticks, seed)
    rng = np.random.default_rng(seed)
    bid, ask = before[:, 1], before[:, 2]
    time_ns = START_NS + np.round(np.arange(ticks + 1) * (params.tick_s * 1e9)).astype(np.int64)
    parts = [_orders(params, before[:-1], after, side, rng) for side in (-1, 1)]
    tick, price, size, taker = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    inside = np.diff(time_ns)[tick] - 1  # neither at the tick's own quote nor at the next one
    at_ns = time_ns[tick] + 1 + (rng.random(len(tick)) * inside).astype(np.int64)
    if price_step is not None:
        bid, ask = _on_grid(np.floor(bid / price_step), price_step), _on_grid(np.ceil(ask / price_step), price_step)
        price = _on_grid(np.where(taker < 0, np.ceil(price / price_step), np.floor(price / price_step)), price_step)
    came = np.where(taker < 0, price <= bid[tick], price >= ask[tick])
    order = np.flatnonzero(came)[np.argsort(at_ns[came], kind="stable")]
    shown = np.full(ticks + 1, params.level_depth or 2.0 * params.inventory_limit)
    return Tape(
        venue="simulated",
        symbol=params.symbol,
        quotes=Quotes(exchange_ns=time_ns, local_ns=time_ns, bid=bid, bid_size=shown, ask=ask, ask_size=shown),
        trades=Trades(
            exchange_ns=at_ns[order],
            local_ns=at_ns[order],
            price=price[order],
            size=size[order],
            taker_side=taker[order],
        ),
        report=_report(seed, ticks + 1, len(order)),
    )


def _play(params: EnvParams, ticks: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `_BEFORE` at the start of every tick and at the end, (ticks + 1, 5), and `_AFTER` of every tick."""
    # Nobody quotes here; the horizon must hold the ticks, because it decides how far a price may go.
    played = dataclasses.replace(params, sized_actions=False, horizon=max(ticks, params.horizon))
    memory, observation, withdrawn = allocate(played), np.zeros(N_FEATURES, dtype=np.float32), np.ones(2)
    set_seed(memory, seed)
    reset_single(memory, observation, 0.0, 0.0)
    step = step_full_single if is_full(played) else step_single
    columns_before, columns_after = np.array(_BEFORE), np.array(_AFTER)
    before, after = np.empty((ticks + 1, len(_BEFORE))), np.empty((ticks, len(_AFTER)))
    for k in range(ticks):
        before[k] = memory[columns_before]
        step(memory, withdrawn, observation)
        after[k] = memory[columns_after]
    before[ticks] = memory[columns_before]
    return before, after


def _orders(
    params: EnvParams, before: np.ndarray, after: np.ndarray, side: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return (tick, furthest price, size, side) of all market orders of one side that came to the touch or beyond."""
    buys = side > 0
    excitement, furthest, drawn_size = before[:, 3 + buys], after[:, 0 + buys], after[:, 2 + buys]
    extreme = np.flatnonzero(furthest >= 1.0)
    # Given the largest point of a Poisson process, those below it are the same process, cut off there.
    kappa = params.fill_decay
    nearest, cut = math.exp(-kappa), np.exp(-kappa * np.maximum(furthest, 1.0))
    mean = params.arrival_intensity * (1.0 + excitement) * (nearest - cut)
    others = rng.poisson(mean) if params.fill_model == "poisson" else np.zeros(len(mean), dtype=np.int64)
    tick = np.concatenate([extreme, np.repeat(np.arange(len(mean)), others)])
    tail = nearest - rng.random(others.sum()) * np.repeat(nearest - cut, others)
    distance = np.concatenate([furthest[extreme], -np.log(tail) / kappa])
    mid = before[tick, 0]
    price = mid + side * distance * (mid * params.spread / 2)
    if params.market_order_size > 0:
        rest = params.market_order_size * rng.standard_exponential(others.sum())
        size = np.concatenate([drawn_size[extreme], rest])
    else:
        size = np.full(len(tick), params.order_size)
    return tick, price, size, np.full(len(tick), side, dtype=np.int8)


def _on_grid(steps: np.ndarray, price_step: float) -> np.ndarray:
    """Return whole numbers of steps as prices, the float64 that their decimals are read as."""
    exponent = Decimal(repr(price_step)).normalize().as_tuple().exponent
    return np.round(steps * price_step, max(0, -int(exponent)))


def _check(ticks: int, seed: int, price_step: float | None, params: EnvParams) -> None:
    for name, value, low, high in (("ticks", ticks, 1, 2**32 - 1), ("seed", seed, 0, 2**64 - 1)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
            raise ValueError(f"{name} must be an integer from {low:,} to {high:,}, got {value!r}")
    if params.tick_s * 1e9 < 2:
        raise ValueError(f"tick_s must be at least 2e-9, two steps of the tape's clock, got {params.tick_s!r}")
    if price_step is not None and not 0 < price_step <= params.initial_price:
        raise ValueError(
            f"price_step must be above 0 and at most initial_price = {params.initial_price:g}, got {price_step!r}"
        )


def _report(seed: int, quotes: int, trades: int) -> TapeReport:
    return TapeReport(
        path=Path(f"simulated, seed {seed}"),
        lines=quotes + trades,
        quotes=quotes,
        trades=trades,
        ignored={},
        bad_lines=_NOTHING,
        crossed_quotes=_NOTHING,
        backwards=_NOTHING,
        gaps=_NOTHING,
    )
