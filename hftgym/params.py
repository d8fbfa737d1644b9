"""The parameters of a market and of the task in it: checked at construction, to and from JSON, with named presets."""

import dataclasses
import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, Self, get_args

from hftgym.extremes import farthest_move

PriceModel = Literal["geometric", "arithmetic"]
PriceSteps = Literal["gaussian", "binary"]
FillModel = Literal["poisson", "linear"]
Reward = Literal["pnl", "martingale_free", "cara"]

_CHOICES = MappingProxyType(
    {"price_model": PriceModel, "price_steps": PriceSteps, "fill_model": FillModel, "reward": Reward}
)
_SWITCHES = ("trade_through", "sized_actions")
_INTEGERS = ("inventory_limit", "horizon", "window", "order_latency", "order_latency_longest", "data_latency")

# name -> (lowest, is the lowest itself allowed, highest allowed)
_BOUNDS: Mapping[str, tuple[float, bool, float]] = MappingProxyType(
    {
        "tick_s": (0.0, False, math.inf),
        "initial_price": (0.0, False, 1e12),
        "volatility": (0.0, True, 0.1),
        "microstructure_noise": (0.0, True, 100.0),
        "drift": (-0.01, True, 0.01),
        "mean_reversion": (0.0, True, 1.0),
        "jump_probability": (0.0, True, 1.0),
        "jump_mean": (-0.1, True, 0.1),
        "jump_volatility": (0.0, True, 0.1),
        "volatility_of_volatility": (0.0, True, 1.0),
        "volatility_reversion": (0.0, True, 1.0),
        "regime_switching": (0.0, True, 1.0),
        "regime_drift": (0.0, True, 10.0),
        "regime_volatility": (0.0, False, 100.0),
        "alpha_volatility": (0.0, True, 10.0),
        "alpha_reversion": (0.0, True, 1.0),
        "spread": (0.0, False, 1.0),
        "arrival_intensity": (0.0, True, 1e6),
        "fill_decay": (0.0, False, 1e6),
        "excitation": (0.0, True, 100.0),
        "excitation_decay": (0.0, True, 1.0),
        "market_order_size": (0.0, True, 1e9),
        "level_depth": (0.0, True, 1e9),
        "level_spacing": (0.0, True, 1e6),
        "order_size": (0.0, False, 1e9),
        "order_latency": (0, True, 10_000),
        "order_latency_jitter": (0.0, True, 1e6),
        "order_latency_tail": (0.0, False, 100.0),
        "order_latency_longest": (0, True, 10_000),
        "data_latency": (0, True, 10_000),
        "terminal_penalty": (0.0, True, 1e9),
        "risk_aversion": (0.0, True, 1e6),
        "maker_fee_bps": (-1_000.0, True, 1_000.0),
        "taker_fee_bps": (-1_000.0, True, 1_000.0),
        "inventory_limit": (1, True, 2**53),
        "initial_cash": (0.0, False, 1e18),
        "inventory_penalty": (0.0, True, 1e9),
        "horizon": (1, True, 2**32 - 1),
        "window": (2, True, 1_000_000),
        "offset_low": (-1.0, True, 1e6),
        "offset_high": (-1.0, False, 1e6),
    }
)
# A parameter that means nothing unless another one is above zero.
_NEEDS: Mapping[str, str] = MappingProxyType(
    {
        "jump_mean": "jump_probability",
        "jump_volatility": "jump_probability",
        "volatility_of_volatility": "volatility_reversion",
        "alpha_volatility": "alpha_reversion",
        "excitation": "excitation_decay",
        "level_spacing": "level_depth",
    }
)
# Box-Muller on 32-bit words cannot return more than sqrt(2 ln 2^33).
_LARGEST_NORMAL = 6.77
# A price of 100 at the start stays within 1e-128 to 1e132.
_LARGEST_LOG_MOVE = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvParams:
    """Everything that defines a market and the task in it. Immutable; `dataclasses.replace` makes a variant.

    Prices are in quote currency, inventory in units of the base asset, and one order is for one unit. Offsets are
    distances from the mid in half-spreads. "Per tick" is one step of the environment, `tick_s` seconds of market time.

    Attributes:
        symbol: Name of the instrument, used in plots and logs only.
        tick_s: Length of one tick in seconds (> 0); a label for time axes, no formula depends on it.
        initial_price: Mid price at tick 0 (> 0).
        price_model: "geometric" moves the mid by a fraction of itself (GBM), "arithmetic" by a fraction of
            `initial_price` (Brownian motion, as in Avellaneda & Stoikov 2008).
        price_steps: "gaussian", or "binary" steps of plus or minus one standard deviation.
        volatility: Standard deviation of one tick's relative price move, 0 to 0.1.
        microstructure_noise: Standard deviation of the second shock of the price update, as a multiple of `volatility`.
        drift: Mean relative price move per tick, -0.01 to 0.01.
        mean_reversion: Share of the distance to `initial_price` that the mid moves back per tick, 0 to 1: an
            Ornstein-Uhlenbeck process if `price_model` is "arithmetic".
        jump_probability: Probability of a jump per tick (Merton 1976).
        jump_mean: Mean relative size of a jump.
        jump_volatility: Standard deviation of the relative size of a jump.
        volatility_of_volatility: Standard deviation per tick of the shocks to the log of the volatility, which starts
            at 0 and is pulled back to it; its stationary variance is that of an AR(1) process.
        volatility_reversion: Share of the log-volatility that is lost per tick.
        regime_switching: Probability per tick that the hidden regime, +1 or -1, changes its sign; the first one is
            drawn.
        regime_drift: Drift in the regime +1, and minus that in -1, in multiples of `volatility`.
        regime_volatility: Factor on the volatility in the regime +1.
        alpha_volatility: Standard deviation per tick of the shocks to a hidden drift, in multiples of `volatility`.
        alpha_reversion: Share of the hidden drift that is lost per tick.
        spread: Relative bid-ask spread (> 0): best bid and ask are mid * (1 -/+ spread / 2).
        fill_model: How intensity becomes a probability per tick: "poisson" 1 - exp(-lambda), "linear" min(1, lambda).
        arrival_intensity: A, the intensity of fills at distance 0, per tick and side (>= 0).
        fill_decay: kappa, the decay of the intensity A * exp(-kappa * distance) per half-spread (> 0).
        excitation: What a market order adds to the relative intensity of its side (Hawkes 1971): the intensity is
            A (1 + e) with e gaining this at every order.
        excitation_decay: Share of e that is lost per tick.
        market_order_size: Mean size of the market orders that meet a quote, exponentially distributed, in units: a
            quote is filled for no more than that. 0 means that they are always large enough.
        trade_through: Whether a resting quote that the new opposite touch has reached or passed is filled at its own
            price, which by then is a bad one: adverse selection.
        level_depth: Units at each price level of the book that a crossing order walks; 0 means no end of them at the
            touch.
        level_spacing: Half-spreads between two levels of that book.
        order_size: Units of one order, the largest one if `sized_actions`.
        sized_actions: Whether an action has four components, (bid, ask, bid size, ask size); a size runs linearly from
            nothing at -1 to `order_size` at +1.
        order_latency: Ticks from a decision to its arrival in the market. Quotes are absolute prices: one that arrives
            late stands where the price was. Until the first one arrives there is none.
        order_latency_jitter: Scale, in ticks, of a random delay on top, which grows with the last move of the price in
            standard deviations. While it lasts the old orders stay, with what is left of them.
        order_latency_tail: Exponent of that delay's Pareto law; below 2 its variance is infinite.
        order_latency_longest: Most ticks that an order can take in all (needed with jitter).
        data_latency: Ticks by which the agent sees the market late: the features zscore, volatility, last_return and
            momentum, and the mid that its quotes are placed around. Its own fills it knows at once.
        maker_fee_bps: Fee on resting fills in basis points of the value traded; negative is a rebate.
        taker_fee_bps: Fee on crossing orders in basis points of the value traded.
        inventory_limit: Largest absolute inventory in units (>= 1).
        initial_cash: Cash at tick 0 (> 0).
        inventory_penalty: Charge on inventory^2 per tick, in half-spreads at the initial price (>= 0). Relative, so
            that the problem is the same at every price level; `phi` is the same number in currency.
        terminal_penalty: Charge on inventory^2 at the end of the episode, in half-spreads at the initial price.
        reward: "pnl" is the change of equity; "martingale_free" leaves out `inventory_pnl`, whose mean is zero on a
            martingale; "cara" is the change of (1 - exp(-risk_aversion * gain)) / risk_aversion, which adds up to the
            utility of the final gain. The penalties are taken from each of them.
        risk_aversion: Absolute risk aversion of "cara", per quote currency (> 0 there, 0 elsewhere).
        horizon: Ticks per episode (>= 1).
        window: Prices in the rolling window, the current one included (>= 2).
        offset_low: Offset that an action just above -1 asks for (>= -1, which is the opposite touch).
        offset_high: Offset that an action just below +1 asks for (> offset_low).

    Raises:
        ValueError: A value is outside its range; the message names the parameter, the value and what is allowed.
        TypeError: A value is not of its parameter's type.
    """

    symbol: str = "BTC-USDT"
    tick_s: float = 0.01
    initial_price: float = 100.0
    price_model: PriceModel = "geometric"
    price_steps: PriceSteps = "gaussian"
    volatility: float = 0.002
    microstructure_noise: float = 0.1
    drift: float = 0.0
    mean_reversion: float = 0.0
    jump_probability: float = 0.0
    jump_mean: float = 0.0
    jump_volatility: float = 0.0
    volatility_of_volatility: float = 0.0
    volatility_reversion: float = 0.0
    regime_switching: float = 0.0
    regime_drift: float = 0.0
    regime_volatility: float = 1.0
    alpha_volatility: float = 0.0
    alpha_reversion: float = 0.0
    spread: float = 0.0005
    fill_model: FillModel = "poisson"
    arrival_intensity: float = 1.0
    fill_decay: float = 0.5
    excitation: float = 0.0
    excitation_decay: float = 0.0
    market_order_size: float = 0.0
    trade_through: bool = False
    level_depth: float = 0.0
    level_spacing: float = 0.0
    order_size: float = 1.0
    sized_actions: bool = False
    order_latency: int = 0
    order_latency_jitter: float = 0.0
    order_latency_tail: float = 2.0
    order_latency_longest: int = 0
    data_latency: int = 0
    maker_fee_bps: float = 0.0
    taker_fee_bps: float = 1.0
    inventory_limit: int = 10
    initial_cash: float = 10_000.0
    inventory_penalty: float = 0.008
    terminal_penalty: float = 0.0
    reward: Reward = "pnl"
    risk_aversion: float = 0.0
    horizon: int = 1_000
    window: int = 50
    offset_low: float = -1.0
    offset_high: float = 5.0

    def __post_init__(self) -> None:
        """Check every field, and what they must satisfy together."""
        if not isinstance(self.symbol, str):
            raise TypeError(f"symbol must be a string, got {self.symbol!r}")
        for name, choice in _CHOICES.items():
            if not isinstance(getattr(self, name), str) or getattr(self, name) not in get_args(choice):
                raise ValueError(f"{name} must be one of {', '.join(get_args(choice))}, got {getattr(self, name)!r}")
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False, got {getattr(self, name)!r}")
        for name in _BOUNDS:
            object.__setattr__(self, name, _checked_number(name, getattr(self, name)))
        if self.offset_high <= self.offset_low:
            raise ValueError(f"offset_high must be above offset_low = {self.offset_low}, got {self.offset_high}")
        for name, needed in _NEEDS.items():
            if getattr(self, name) != 0 and getattr(self, needed) == 0:
                raise ValueError(f"{name} needs {needed} > 0, got {name}={getattr(self, name)} with {needed}=0")
        for name in ("order_latency", "order_latency_longest", "data_latency"):
            if getattr(self, name) >= self.horizon:
                raise ValueError(f"{name} must be below horizon = {self.horizon}, got {getattr(self, name)}")
        if self.order_latency_jitter > 0 and self.order_latency_longest <= self.order_latency:
            raise ValueError(
                f"order_latency_longest must be above order_latency = {self.order_latency} with jitter, got "
                f"{self.order_latency_longest}"
            )
        if self.level_depth > 0 and self.order_size / self.level_depth * self.level_spacing * self.spread >= 1:
            raise ValueError(
                "level_depth must be larger: an order of order_size would walk the book down to a price below 0, got "
                f"level_depth={self.level_depth} with order_size={self.order_size}, level_spacing={self.level_spacing}"
            )
        if (self.risk_aversion > 0) != (self.reward == "cara"):
            raise ValueError(
                'risk_aversion must be above 0 if and only if reward is "cara", got '
                f"risk_aversion={self.risk_aversion} with reward={self.reward!r}"
            )
        if max(-self.offset_low, self.offset_high) * self.spread / 2 >= 1:
            raise ValueError(
                f"offset_low and offset_high must be within {2 / self.spread:g} (2 / spread) half-spreads, so that "
                f"every quote has a price above 0, got {self.offset_low} and {self.offset_high} with "
                f"spread={self.spread}"
            )
        if self.price_model == "geometric":
            self._check_growth()

    def _check_growth(self) -> None:
        """Raise if a geometric price could turn negative in one tick, or leave the range of float64 in an episode."""
        largest_move = self.volatility * (1 + self.microstructure_noise) * max(1.0, self.regime_volatility)
        if largest_move * _LARGEST_NORMAL >= 1:
            raise ValueError(
                "volatility * (1 + microstructure_noise), times regime_volatility if that is larger than 1, must be "
                f"below {1 / _LARGEST_NORMAL:.4f} so that no price can become negative, got volatility="
                f"{self.volatility}, microstructure_noise={self.microstructure_noise}, "
                f"regime_volatility={self.regime_volatility}"
            )
        if (move := farthest_move(self)) > _LARGEST_LOG_MOVE:
            raise ValueError(
                f"the price could move by a factor of e^{move:.3g} in an episode, and e^{_LARGEST_LOG_MOVE:.0f} is the "
                f"most: lower the drifts, the volatilities or their persistence, the jumps, or horizon={self.horizon}"
            )

    @property
    def is_martingale(self) -> bool:
        """Whether the expected move of the mid is zero, whatever is known: only then is `inventory_pnl` mere noise."""
        pulled = self.drift != 0 or self.mean_reversion != 0 or self.jump_probability * self.jump_mean != 0
        return not (pulled or self.regime_drift != 0 or self.alpha_volatility != 0)

    @property
    def longest_latency(self) -> int:
        """Most ticks from a decision to its arrival in the market."""
        return self.order_latency_longest if self.order_latency_jitter > 0 else self.order_latency

    @property
    def half_spread(self) -> float:
        """Half the bid-ask spread at the initial price, in quote currency."""
        return self.initial_price * self.spread / 2

    @property
    def phi(self) -> float:
        """Inventory penalty in quote currency per unit^2 per tick."""
        return self.inventory_penalty * self.half_spread

    @property
    def nominal_volatility(self) -> float:
        """Standard deviation of one tick's relative price move, both shocks together."""
        return self.volatility * math.hypot(1.0, self.microstructure_noise)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary of plain Python values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build parameters from a mapping; absent fields keep their defaults.

        Raises:
            ValueError: A key is not a parameter; the message proposes the nearest name.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        for key in values:
            if key not in names:
                near = difflib.get_close_matches(str(key), names, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; the parameters are {', '.join(names)}"
                raise ValueError(f"{key!r} is not a parameter of EnvParams{hint}")
        return cls(**values)

    def to_json(self) -> str:
        """Return the parameters as one line of JSON; `from_json` is the exact inverse."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Build parameters from `to_json`'s text.

        Raises:
            ValueError: The text is not a JSON object of known parameters.
        """
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError(f"parameters must be a JSON object, got {type(values).__name__}")
        return cls.from_dict(values)


def as_params(params: EnvParams | Mapping[str, Any] | None) -> EnvParams:
    """Accept what `gym.make(..., params=)` accepts: an EnvParams, its dictionary (from a JSON spec), or None."""
    if params is None:
        return EnvParams()
    if isinstance(params, EnvParams):
        return params
    if isinstance(params, Mapping):
        return EnvParams.from_dict(params)
    raise TypeError(f"params must be an EnvParams, a mapping of its fields or None, got {type(params).__name__}")


def _checked_number(name: str, value: Any) -> float | int:
    """Return `value` as int or float, as the parameter wants, or raise naming it, the value and what is allowed."""
    low, low_allowed, high = _BOUNDS[name]
    integer = name in _INTEGERS
    try:
        number = float(value) if not isinstance(value, (bool, str, bytes)) else None
    except (TypeError, ValueError):
        number = None
    except OverflowError:  # an integer beyond every float
        raise ValueError(f"{name} must be from {low:g} to {high:g}, got an integer beyond 1e308") from None
    if number is None or (integer and math.isfinite(number) and number != int(number)):
        raise TypeError(f"{name} must be {'an integer' if integer else 'a number'}, got {value!r}")
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value!r}")
    if number < low or (number == low and not low_allowed):
        raise ValueError(f"{name} must be {'at least' if low_allowed else 'greater than'} {low:g}, got {value!r}")
    if number > high:
        raise ValueError(f"{name} must be at most {high:g}, got {value!r}")
    return int(number) if integer else number
