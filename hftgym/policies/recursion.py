"""The exact optimum of the market, and the exact value of any quotes, by backward recursion over (tick, inventory).

One tick, in the order of `hftgym.market.step`, seen from inventory q with a value V after it: the bid fills with
probability b and earns g_b, the ask with probability a and earns g_a, independently; the penalty is on the inventory
after the fills. With W(q) = V(q) - phi q^2, U = W(q+1) - W(q) and D = W(q-1) - W(q), the value before the tick is

    W(q) + b (g_b + U) + a (g_a + D) - a b (U + D).

The mid is a martingale, so the inventory's gains have mean zero, and a quote in half-spreads earns in proportion to a
price whose mean is the initial one: the price drops out. (Left out: ruin, and the floor of the arithmetic price.) What
is optimal here is optimal among all policies that do not look at the price.

Values are in half-spreads at the initial price inside, in quote currency outside. A quote is an offset in half-spreads
from the mid, -1 for one that crosses the spread (an order at the opposite touch trades at once) and +inf for none.
"""

import dataclasses
import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hftgym.extremes import farthest_move
from hftgym.market.price import PRICE_FLOOR
from hftgym.observation import FEATURE_NAMES, N_FEATURES
from hftgym.params import EnvParams, as_params
from hftgym.policies.base import TOUCH, Policy, quote_of_action
from hftgym.policies.recursion_kernel import Flow, Side, evaluate, optimise
from hftgym.policies.search import maximise

_COVERED = frozenset(
    {
        *("symbol", "tick_s", "initial_price", "price_model", "price_steps", "volatility", "microstructure_noise"),
        *("spread", "fill_model", "arrival_intensity", "fill_decay", "maker_fee_bps", "taker_fee_bps"),
        *("inventory_limit", "initial_cash", "inventory_penalty", "horizon", "window", "offset_low", "offset_high"),
    }
)
LARGEST_TABLE = 5_000_000  # states; about a minute, and three float64 tables of 40 MB


@dataclass(frozen=True)
class Solution:
    """The optimum of one market. Arrays are read-only; column j is the inventory j - inventory_limit.

    Attributes:
        value: Expected reward from tick t on, (T + 1, 2Q + 1) in quote currency.
        bid_offset: Best bid, (T, 2Q + 1) in half-spreads from the mid; -1 crosses, +inf is withdrawn.
        ask_offset: Best ask, likewise.
    """

    value: NDArray[np.float64]
    bid_offset: NDArray[np.float64]
    ask_offset: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Protect the arrays."""
        for array in (self.value, self.bid_offset, self.ask_offset):
            array.flags.writeable = False

    @property
    def optimum(self) -> float:
        """J*, the expected reward of an episode that starts without inventory, in quote currency."""
        return float(self.value[0, self.value.shape[1] // 2])


def solve(params: EnvParams | None = None) -> Solution:
    """Return the optimal quotes and values of a market.

    Raises:
        ValueError: The market has a feature that the recursion does not cover, or too many states.
    """
    params = covered(params)
    horizon, limit = params.horizon, params.inventory_limit
    value = np.zeros((horizon + 1, 2 * limit + 1))
    bid, ask = np.empty((2, horizon, 2 * limit + 1))
    optimise(side_of(params, 1.0), side_of(params, -1.0), flow_of(params), params.inventory_penalty, value, bid, ask)
    return Solution(value * params.half_spread, bid, ask)


def value_table(params: EnvParams | None, bid_offset: ArrayLike, ask_offset: ArrayLike) -> NDArray[np.float64]:
    """Return the exact value (T + 1, 2Q + 1), in quote currency, of quotes that depend on tick and inventory.

    Args:
        params: Market; None is the default one.
        bid_offset: Half-spreads from the mid, (2Q + 1,) if the same in every tick or (T, 2Q + 1); -1 and below
            crosses, +inf withdraws. A quote that could breach the inventory limit is not posted, whatever it says.
        ask_offset: Likewise.

    Raises:
        ValueError: A table has another shape or holds a NaN, or the recursion does not cover the market.
    """
    params = covered(params)
    fills = [
        _fills(name, offset, side, params)
        for name, offset, side in (("bid_offset", bid_offset, 1.0), ("ask_offset", ask_offset, -1.0))
    ]
    value = np.zeros((params.horizon + 1, 2 * params.inventory_limit + 1))
    evaluate(*fills[0], *fills[1], params.inventory_penalty, value)
    return value * params.half_spread


def value_of(params: EnvParams | None, bid_offset: ArrayLike, ask_offset: ArrayLike) -> float:
    """Return the exact J of quotes, in quote currency per episode without inventory at its start; see `value_table`."""
    table = value_table(params, bid_offset, ask_offset)
    return float(table[0, table.shape[1] // 2])


def quotes_of(policy: Policy, params: EnvParams | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (bid, ask) offsets (T, 2Q + 1) that a policy quotes at every tick and inventory.

    With `value_of` this is the exact value of any deterministic policy that looks at inventory and time alone.

    Raises:
        ValueError: The policy looks at another feature (seen by showing it some), or the market is not covered.
    """
    params = covered(params)
    horizon, limit = params.horizon, params.inventory_limit
    observations = np.zeros((horizon, 2 * limit + 1, N_FEATURES), dtype=np.float32)
    observations[..., FEATURE_NAMES.index("inventory")] = np.arange(-limit, limit + 1) / limit
    observations[..., FEATURE_NAMES.index("time_left")] = 1.0 - 2.0 * np.arange(horizon)[:, None] / horizon
    flat = observations.reshape(-1, N_FEATURES)
    actions, _ = policy.predict(flat)
    noisy = np.random.default_rng(0).uniform(-1.0, 1.0, flat.shape).astype(np.float32)
    for name in ("inventory", "time_left"):
        noisy[:, FEATURE_NAMES.index(name)] = flat[:, FEATURE_NAMES.index(name)]
    if not np.array_equal(policy.predict(noisy)[0], actions):
        raise ValueError(f"{type(policy).__name__} must look at inventory and time alone for an exact value")
    quotes = quote_of_action(actions, params).reshape(horizon, 2 * limit + 1, 2)
    return quotes[..., 0], quotes[..., 1]


def unseen(params: EnvParams | None) -> EnvParams:
    """Return the market as it is to a policy that looks at inventory and time alone: a regime's drift averages out."""
    return dataclasses.replace(as_params(params), regime_drift=0.0, regime_switching=0.0)


def best_constant(params: EnvParams | None = None) -> tuple[float, float]:
    """Return (offset, J) of the best symmetric quote that never changes: half-spreads, quote currency per episode."""
    params = covered(params)
    flow = flow_of(params)
    everywhere = np.ones(2 * params.inventory_limit + 1)

    def worth(offset: float) -> float:
        return value_of(params, offset * everywhere, offset * everywhere)

    (offset,), best = maximise(worth, [(flow.low, _farthest_fill(flow))], points=61)
    return offset, best


def best_linear_skew(params: EnvParams | None = None) -> tuple[float, float, float]:
    """Return (base, skew, J) of the best quotes base +/- skew q, limited to the offset range.

    The bid rests at base + skew q and the ask at base - skew q half-spreads from the mid, q the inventory in units; J
    is in quote currency per episode.
    """
    params = covered(params)
    flow = flow_of(params)
    inventory = np.arange(-params.inventory_limit, params.inventory_limit + 1)

    def worth(base: float, skew: float) -> float:
        bid, ask = (np.clip(base + side * skew * inventory, flow.low, flow.high) for side in (1.0, -1.0))
        return value_of(params, bid, ask)

    high = _farthest_fill(flow)
    # A constant quote is a linear skew too, and where fills die off quickly its hump lies between the grid's points.
    constant = (best_constant(params)[0], 0.0)
    (base, skew), best = maximise(worth, [(flow.low, high), (0.0, high - flow.low)], points=25, also=[constant])
    return base, skew, best


def _farthest_fill(flow: Flow) -> float:
    """Return the offset, in half-spreads and within the range, beyond which fills are rarer than once in e^25."""
    return min(flow.high, max(flow.low + 1.0, (flow.log_intensity + 25.0) / flow.decay))


def covered(params: EnvParams | None, *, also: Collection[str] = ()) -> EnvParams:
    """Return the parameters, or raise if the recursion would be wrong or too large for them.

    Args:
        params: Market; None is the default one.
        also: Parameters that the caller takes care of.

    Raises:
        ValueError: The recursion does not cover a parameter, which the message names, or there are too many states.
    """
    params = as_params(params)
    for field in dataclasses.fields(params):
        value = getattr(params, field.name)
        # A parameter that this file does not know is a feature of the market that is off by default.
        if field.name not in _COVERED and field.name not in also and value != field.default:
            raise ValueError(
                f"the exact recursion does not cover {field.name}: it must be {field.default!r}, got {value!r}"
            )
    states = (params.horizon + 1) * (2 * params.inventory_limit + 1)
    if states > LARGEST_TABLE:
        raise ValueError(
            f"(horizon + 1) * (2 * inventory_limit + 1) must be at most {LARGEST_TABLE} for the exact recursion, got "
            f"horizon={params.horizon}, inventory_limit={params.inventory_limit}"
        )
    _check_no_early_end(params)
    return params


def _check_no_early_end(params: EnvParams) -> None:
    """Raise if an account could be ruined or a price reach its floor: the recursion knows neither."""
    move = farthest_move(params)
    geometric = params.price_model == "geometric"
    if move >= (-math.log(PRICE_FLOOR) if geometric else 1.0):
        raise ValueError(
            "the exact recursion does not cover prices that can reach their floor: lower the drifts, the volatilities "
            f"or horizon={params.horizon}"
        )
    at_risk = params.inventory_limit * params.initial_price * (math.expm1(move) if geometric else move)
    if at_risk >= params.initial_cash:
        raise ValueError(
            f"the exact recursion does not cover ruin: initial_cash must be above {at_risk:,.0f}, what a full "
            f"inventory could lose in an episode, got {params.initial_cash:g}"
        )


def flow_of(params: EnvParams) -> Flow:
    """Return the market orders as the kernel reads them."""
    intensity = params.arrival_intensity
    return Flow(
        linear=params.fill_model == "linear",
        log_intensity=math.log(intensity) if intensity > 0 else -math.inf,
        decay=params.fill_decay,
        # Just inside the touch a quote rests; on it, it crosses.
        low=max(params.offset_low, math.nextafter(TOUCH, math.inf)),
        high=params.offset_high,
    )


def side_of(params: EnvParams, side: float) -> Side:
    """Return what fills of the bid (+1) or the ask (-1) earn.

    A fee of f on the traded price S (1 - side x offset x s/2), s the relative spread, is 2f/s - side x offset x f
    half-spreads: a better price pays a smaller fee for a bid and a larger one for an ask.
    """
    maker, taker = params.maker_fee_bps * 1e-4, params.taker_fee_bps * 1e-4
    return Side(
        slope=1.0 + side * maker,
        base=-2.0 * maker / params.spread,
        cross=TOUCH * (1.0 + side * taker) - 2.0 * taker / params.spread,
    )


def fill_terms(
    offset: NDArray[np.float64], side: float, params: EnvParams
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the probability of a fill and its gain in half-spreads for quotes of one side.

    Args:
        offset: Half-spreads from the mid, (..., 2Q + 1) with the inventory last; -1 and below crosses, +inf withdraws.
        side: +1 for bids, -1 for asks.
        params: The market.
    """
    earns, flow = side_of(params, side), flow_of(params)
    crosses, absent = offset <= TOUCH, offset == np.inf
    rests = np.where(crosses | absent, 0.0, offset)
    intensity = np.exp(flow.log_intensity - flow.decay * rests)
    resting = np.minimum(1.0, intensity) if flow.linear else -np.expm1(-intensity)
    probability = np.where(absent, 0.0, np.where(crosses, 1.0, resting))
    probability[..., -1 if side > 0 else 0] = 0.0  # no room at the limit
    return probability, np.where(crosses, earns.cross, earns.slope * rests + earns.base)


def _fills(
    name: str, offset: ArrayLike, side: float, params: EnvParams
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the probability of a fill and its gain in half-spreads, each (1 or T, 2Q + 1), for one side's quotes."""
    table = np.asarray(offset, dtype=np.float64)
    columns = 2 * params.inventory_limit + 1
    if table.shape not in ((columns,), (params.horizon, columns)):
        raise ValueError(f"{name} must have the shape ({columns},) or ({params.horizon}, {columns}), got {table.shape}")
    if np.isnan(table).any():
        raise ValueError(f"{name} must hold offsets in half-spreads (-1 crosses, inf withdraws), got a NaN")
    probability, gain = fill_terms(table, side, params)
    return np.atleast_2d(probability), np.atleast_2d(gain)
