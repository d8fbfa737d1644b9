"""From a tape to the parameters of a simulated market like it, with standard errors."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from hftgym.params import EnvParams
from hftgym.presets import VENUE_FEES_BPS
from hftgym.tape import estimators
from hftgym.tape.estimators import UNIT_ROOT, Estimate
from hftgym.tape.flow import MarketOrders, market_orders
from hftgym.tape.measure import median_shown_size, quotes_at, tick_times
from hftgym.tape.parquet import TapeFile
from hftgym.tape.types import Tape

FEWEST_TICKS = 4
"""Ticks that a tape must have at least."""

_FEWEST_ORDERS = 20  # that go past the best price, and that end before distances do: for A and kappa
_QUANTILES = (0.05, 0.25, 0.75, 0.95)
# From here on a market is no longer like the simulated one, whose numbers are 3 and 1 but for chance.
_HEAVY_TAILS, _CLUSTERED = 6.0, 1.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """What was found on a tape, per tick of `params.tick_s` seconds.

    Attributes:
        params: The market; what is not measured is that of `base`.
        estimates: By name, as measured, also where `params` keeps another value: `nominal_volatility` (both shocks of
            the price together), `noise` (variance of the transient noise of the recorded mid, as a share of the
            volatility's square: nothing in EnvParams stands for it), `spread` (the median), `arrival_intensity`,
            `fill_decay`, `mean_reversion`. NaN where there is too little to tell.
        statistics: By name, plain descriptions: `spread_mean`, `spread_q05` to `spread_q95` (relative, sampled at the
            ticks), `return_autocorrelation` (lag 1), `return_kurtosis`, `still_share` (of the ticks in which the mid
            does not move), `orders` per tick and side, `orders_dispersion` (their variance over their mean, 1 for
            Poisson), `orders_share` (of the ticks and sides with an order, which Poisson has at 1 - exp(-orders)),
            `order_size` (mean), `order_size_median`, `shown_size` (median at the best prices).
        price_step: The price grid in quote currency, None for none.
        size_step: The grid of sizes in units, None for none.
        ticks: Ticks of the tape.
        orders: Market orders that A and kappa were estimated from.
        warnings: What could not be measured, or does not fit, in words.
    """

    params: EnvParams
    estimates: Mapping[str, Estimate]
    statistics: Mapping[str, float]
    price_step: float | None
    size_step: float | None
    ticks: int
    orders: int
    warnings: tuple[str, ...]


def calibrate(tape: Tape | TapeFile, *, tick_s: float = 0.1, base: EnvParams | None = None) -> EnvParams:
    """Return the parameters of a market like the recorded one; see `estimate`, which tells how sure they are."""
    return estimate(tape, tick_s=tick_s, base=base).params


def estimate(tape: Tape | TapeFile, *, tick_s: float = 0.1, base: EnvParams | None = None) -> Calibration:
    """Measure a tape.

    Price, spread and order flow are measured, see `hftgym.tape.estimators`. Everything else is that of `base`, jumps,
    regimes and the like included: they are not told apart from the volatility. In particular

    - `microstructure_noise` is the base's. In the simulated price its shock stays for good, so that no path of mids can
      tell it from `volatility`: only their sum is measured, and shared out as in `base`.
    - `mean_reversion` is 0 unless a random walk is rejected at 1 %; then `initial_price` is the level it goes back to.
      Most pulls that are found on a few minutes are not there, and an agent would learn to live off them.
    - `arrival_intensity` and `fill_decay` are those of the law `fill_model="poisson"` without excitation. Distances are
      told apart up to the base's `offset_high`, where the agent's quotes end.
    - Sizes are not measured into the parameters: which of them is one unit is the user's choice.

    Args:
        tape: The tape, in memory or (`open_tape`) on disk; one on disk is read four times, and what is held of it are
            the ticks, the market orders and the distinct sizes, never all quotes or trades.
        tick_s: Length of one tick in seconds.
        base: Where fees, limits, penalty, latency and window come from. If None: the defaults, with the venue's own
            fees and `trade_through`, because on a recorded market a price that has passed a quote has filled it.

    Raises:
        ValueError: The tape is shorter than 4 ticks, its price never moved, its median spread is not positive, or
            what was measured is outside what EnvParams allows.
    """
    base = base or _base(tape)
    times = tick_times(tape, tick_s)
    ticks = len(times) - 1
    if ticks < FEWEST_TICKS:
        raise ValueError(f"{tape.symbol}: the tape must last at least {FEWEST_TICKS} ticks of {tick_s} s, got {ticks}")
    bid, ask = quotes_at(tape, times)
    mid = (bid + ask) / 2
    spreads = (ask - bid) / mid
    spread = estimators.median(spreads)
    if spread.value <= 0:
        counts = [(int((quotes.bid >= quotes.ask).sum()), len(quotes)) for quotes, _ in tape.chunks()]
        crossed, rows = (sum(column) for column in zip(*counts, strict=True))
        raise ValueError(
            f"{tape.symbol}: the median spread must be above 0 in ticks of {tick_s} s, got {spread.value:.3g}: "
            f"{crossed:,} of {rows:,} quotes have bid >= ask; are the columns of bid and ask swapped?"
        )
    if not np.diff(mid).any():
        raise ValueError(f"{tape.symbol}: the mid never moved in ticks of {tick_s} s")
    orders, tick = _orders_in(tape, times)
    price = _price(mid, base)
    flow = _flow(orders, tick, ticks=ticks, spread=spread.value, price_step=tape.price_step, base=base)
    values = {
        "symbol": tape.symbol,
        "tick_s": tick_s,
        "spread": spread.value,
        "horizon": ticks,
        # Enough to hold the limit twice over: cash is no constraint in the simulator either.
        "initial_cash": max(base.initial_cash, 2 * base.inventory_limit * float(mid[0])),
    }
    statistics = _price_statistics(mid, spreads, tape) | _order_statistics(orders, tick, ticks)
    return Calibration(
        params=EnvParams.from_dict(base.to_dict() | values | price.values | flow.values),
        estimates={"spread": spread, **price.estimates, **flow.estimates},
        statistics=statistics,
        price_step=tape.price_step,
        size_step=tape.size_step,
        ticks=ticks,
        orders=len(orders),
        warnings=(*price.warnings, *flow.warnings, *_misfits(statistics)),
    )


class _Part(NamedTuple):
    """What one part of the market adds to a calibration."""

    estimates: dict[str, Estimate]
    values: dict[str, Any]  # of EnvParams' fields
    warnings: tuple[str, ...] = ()


def _base(tape: Tape | TapeFile) -> EnvParams:
    plain = EnvParams(trade_through=True)
    if tape.venue not in VENUE_FEES_BPS:
        return plain
    maker, taker = VENUE_FEES_BPS[tape.venue]
    return replace(plain, maker_fee_bps=maker, taker_fee_bps=taker)


def _orders_in(tape: Tape | TapeFile, times: np.ndarray) -> tuple[MarketOrders, np.ndarray]:
    """Return the market orders within the ticks, and the tick of each."""
    orders = market_orders(tape)
    tick = np.searchsorted(times, orders.time_ns, side="left") - 1  # at a tick's own time: the tick before
    inside = (tick >= 0) & (tick < len(times) - 1)
    columns = {field.name: getattr(orders, field.name)[inside] for field in dataclasses.fields(orders)}
    return MarketOrders(**columns), tick[inside]


def _price(mid: np.ndarray, base: EnvParams) -> _Part:
    """Measure how the price moves."""
    reversion = estimators.mean_reversion(mid)
    moves, pulled = np.diff(mid), reversion.ratio < UNIT_ROOT and reversion.rate.value > 0
    if pulled:  # what is left of a move without the pull
        moves = moves + reversion.rate.value * (mid[:-1] - reversion.level)
    relative = moves / (mid[0] if base.price_model == "arithmetic" else mid[:-1])
    volatility, noise = estimators.volatility(relative)
    warnings, sigma = (), volatility.value
    if not sigma > 0:
        sigma = float(np.sqrt(np.mean(relative**2)))
        warnings = ("the price moves back and forth and goes nowhere: volatility is that of single ticks",)
    values = {
        "initial_price": reversion.level if pulled else float(mid[0]),
        "volatility": sigma / math.hypot(1.0, base.microstructure_noise),
        "mean_reversion": reversion.rate.value if pulled else 0.0,
    }
    estimates = {"nominal_volatility": volatility, "noise": noise, "mean_reversion": reversion.rate}
    return _Part(estimates, values, warnings)


def _flow(
    orders: MarketOrders, tick: np.ndarray, *, ticks: int, spread: float, price_step: float | None, base: EnvParams
) -> _Part:
    """Measure how often market orders come and how far they go."""
    unit = orders.mid * spread / 2
    if price_step is not None and len(orders):  # steps of the grid are of one size, whatever the price
        unit = np.full(len(orders), np.median(unit))
    grid = price_step / unit[0] if price_step is not None and len(orders) else 0.0
    beyond, furthest = orders.beyond / unit, max(base.offset_high - 1.0, 1.0)
    if grid > 0:
        beyond, furthest = grid * np.rint(beyond / grid), grid * max(1, round(furthest / grid))
    ended = int((beyond < furthest).sum())
    passed = int((beyond > max(grid / 2, 1e-9)).sum())
    if min(ended, passed) < _FEWEST_ORDERS:
        unknown = {name: Estimate(math.nan, math.nan) for name in ("arrival_intensity", "fill_decay")}
        found = f"{len(orders)} market orders, {passed} of them beyond the best price; {_FEWEST_ORDERS} are needed"
        return _Part(unknown, {}, (f"too few trades, arrival_intensity and fill_decay are the base's: {found}",))
    intensity, decay = estimators.order_flow(tick, beyond, ticks=ticks, grid=grid, furthest=furthest)
    swept, expected = float(np.mean(beyond >= furthest)), math.exp(-decay.value * furthest)
    warnings, chance = (), 4 * math.sqrt(expected * (1 - expected) / len(orders))
    if swept > max(1.25 * expected, expected + chance):
        warnings = (
            f"the exponential law is fitted up to {furthest + 1:.3g} half-spreads from the mid and fails beyond: "
            f"{swept:.1%} of the orders go further, {expected:.1%} by the law",
        )
    law = {"fill_model": "poisson", "excitation": 0.0, "excitation_decay": 0.0}
    return _Part(
        {"arrival_intensity": intensity, "fill_decay": decay},
        {"arrival_intensity": intensity.value, "fill_decay": decay.value, **law},
        warnings,
    )


def _price_statistics(mid: np.ndarray, spreads: np.ndarray, tape: Tape | TapeFile) -> dict[str, float]:
    moves = np.diff(mid) / mid[:-1]
    square = float(np.mean(moves**2))
    return {
        "spread_mean": float(spreads.mean()),
        **{f"spread_q{100 * q:02.0f}": float(np.quantile(spreads, q)) for q in _QUANTILES},
        "return_autocorrelation": float(np.mean(moves[1:] * moves[:-1])) / square,
        "return_kurtosis": float(np.mean(moves**4)) / square**2,
        "still_share": float(np.mean(moves == 0)),
        "shown_size": median_shown_size(tape),
    }


def _order_statistics(orders: MarketOrders, tick: np.ndarray, ticks: int) -> dict[str, float]:
    if not len(orders):
        return {"orders": 0.0}
    sides = [np.bincount(tick[orders.side == side], minlength=ticks) for side in (-1, 1)]
    count = np.concatenate(sides)
    return {
        "orders": float(count.mean()),
        "orders_dispersion": float(count.var() / count.mean()),
        "orders_share": float(np.mean(count > 0)),
        "order_size": float(orders.size.mean()),
        "order_size_median": float(np.median(orders.size)),
    }


def _misfits(statistics: Mapping[str, float]) -> Iterator[str]:
    """Say where the recorded market is not like any that price and order flow alone can simulate."""
    if statistics["return_kurtosis"] > _HEAVY_TAILS:
        yield (
            f"the price stands still in {statistics['still_share']:.0%} of the ticks and jumps in others: kurtosis of "
            f"its moves {statistics['return_kurtosis']:.0f}, and 3 in the simulated market"
        )
    if statistics.get("orders_dispersion", 1.0) > _CLUSTERED:
        law = 1.0 - math.exp(-statistics["orders"])
        yield (
            f"orders come in clusters: {statistics['orders_share']:.0%} of the ticks and sides have one, and {law:.0%} "
            "by the law of as many"
        )
