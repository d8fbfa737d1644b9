"""The single environment."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded

from hftgym.envs.checks import RESET_OPTIONS, JsonSpec, checked_seed, refuse_unknown_options, start_states
from hftgym.envs.spaces import action_space, observation_space
from hftgym.market import layout as at
from hftgym.market.layout import N_INFO, is_full
from hftgym.market.single import FIELDS_AT, allocate, reset_single, set_seed, step_full_single, step_single
from hftgym.observation import N_FEATURES
from hftgym.params import EnvParams, as_params

_FLOAT32 = np.dtype(np.float32)


# `spec` is a plain attribute of Gymnasium's base and a property here.
class MarketMakingEnv(JsonSpec, gym.Env[np.ndarray, np.ndarray]):  # pyright: ignore[reportIncompatibleVariableOverride]
    """Quote both sides of a market, earn the spread, and carry as little inventory as possible.

    ## Description
    A market maker posts a bid and an ask around the mid price of one instrument. Market orders hit the quotes, more
    often the closer they are; every fill earns its distance from the mid and leaves inventory, whose value moves with
    the price. The problem is that of Avellaneda & Stoikov, "High-frequency trading in a limit order book" (2008), with
    the running inventory penalty of Cartea & Jaimungal, in discrete ticks, with fees, crossing and withdrawing.

    The mid follows a geometric Brownian motion with microstructure noise, S' = S (1 + sigma Z1 + eta sigma Z2); best
    bid and ask are S (1 -/+ spread / 2). In every tick the quotes decided from the last observation meet the market,
    then the mid moves, then the account is marked to it. A resting quote at a distance of d half-spreads is filled with
    probability 1 - exp(-lambda) (or min(1, lambda)) with lambda = A exp(-kappa d), independently on both sides.

    All that real trading charges can be switched on in `params`, each at zero by default: drift, mean reversion, jumps,
    stochastic volatility, hidden regimes and hidden drift; self-exciting order flow; market orders and orders of
    different sizes; a book of finite depth; fills by trade-through; latency of orders and of market data; a terminal
    penalty and CARA utility. Other ids are this environment in other markets (`hftgym.PRESETS`).

    ## Action Space
    `Box(-1, 1, (2,), float32)`

    | Num | Action | -1 | between | +1 |
    |-----|--------|----|---------|----|
    | 0 | bid | cross: buy at the best ask, as taker | offset below the mid | withdraw the bid |
    | 1 | ask | cross: sell at the best bid, as taker | offset above the mid | withdraw the ask |

    Between the ends the offset runs linearly from `offset_low` to `offset_high` half-spreads: 2 + 3 a by default.
    Orders are for one unit, less where the inventory limit leaves less room. NaN and values outside [-1, 1] raise (the
    batch limits them instead, unless it is asked to check).
    With `sized_actions` there are two more components, the sizes of bid and ask, from nothing at -1 to `order_size` at
    +1.

    ## Observation Space
    `Box(-1, 1, (8,), float32)`; the names are `hftgym.FEATURE_NAMES`.

    | Num | Observation | Min | Max | Unit |
    |-----|-------------|-----|-----|------|
    | 0 | `inventory`: inventory / inventory_limit | -1 | 1 | limits |
    | 1 | `time_left`: 1 at the start, -1 at the end | -1 | 1 | - |
    | 2 | `zscore`: (mid - mean) / std of the last `window` mids | -1 | 1 | 5 std |
    | 3 | `volatility`: std of the window's returns / nominal - 1 | -1 | 1 | nominal |
    | 4 | `last_return`: last relative move / nominal volatility | -1 | 1 | 5 std |
    | 5 | `momentum`: relative move over the window / its nominal std | -1 | 1 | 5 std |
    | 6 | `bid_fill`: units bought in the last tick | -1 | 1 | units |
    | 7 | `ask_fill`: units sold in the last tick | -1 | 1 | units |

    Features are clipped to the bounds; 2, 3 and 5 are 0 until the window is full.

    ## Rewards
    change of equity - phi * inventory^2, in quote currency, with equity = cash + inventory * mid, the inventory at the
    end of the tick, and phi = `inventory_penalty` half-spreads. The change of equity is `spread_capture` +
    `inventory_pnl` - `fees`, each of them in `info`. `spread_capture` is what the fills earned against the mid at
    which they happened, slippage included; fills by trade-through count against the mid that ran through them.
    `params.reward` and `terminal_penalty` choose other rewards.

    ## Starting State
    `initial_price`, `initial_cash`, no inventory, an empty window. `reset(options={"tick": t, "inventory": q})` starts
    an episode at tick t with inventory q (bought at the mid, so equity is still `initial_cash`).

    The draws are Philox4x32-10 numbers keyed by the seed and counted by (tick, episode): an unseeded `reset` starts the
    next episode of the same stream, and `reset(seed=s)` starts again at the first.

    ## Episode End
    1. Termination: the horizon is reached (it is part of the problem: `time_left` is observed).
    2. Termination: equity is not positive any more.

    Nothing is truncated unless a wrapper such as `TimeLimit` (`gym.make(..., max_episode_steps=)`) does it.

    ## Arguments
    >>> import gymnasium as gym, hftgym
    >>> env = gym.make("MarketMaking-v0", params=hftgym.EnvParams(horizon=500, maker_fee_bps=-0.5))
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step([0.1, 0.1])
    >>> sorted(info)[:4]
    ['ask', 'bid', 'cash', 'equity']

    | Parameter | Type | Default | Description |
    |-----------|------|---------|-------------|
    | `params` | `EnvParams`, mapping or None | `EnvParams()` | the market and the task; see `hftgym.EnvParams` |
    | `render_mode` | "human", "rgb_array" or None | None | the live two-pane chart |

    `info` of every reset and step has the keys mid, bid, ask (the market's touch), inventory, cash, equity, fill_bid,
    fill_ask (units), fees, spread_capture, inventory_pnl (this tick, quote currency).

    ## Vectorized environment
    `gym.make_vec("MarketMaking-v0", num_envs=N)` gives `MarketMakingVectorEnv`, a native batch: environment i of
    `reset(seed=s)` equals this environment under `reset(seed=s + i)` bit for bit.

    ## Version History
    * v0: observation version 1.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "render_fps": 10}  # noqa: RUF012 (gymnasium's)

    def __init__(self, *, params: EnvParams | Mapping[str, Any] | None = None, render_mode: str | None = None) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(
                f"render_mode must be one of {', '.join(self.metadata['render_modes'])} or None, got {render_mode!r}"
            )
        self.params = as_params(params)
        self.render_mode = render_mode
        self.action_space = action_space(self.params)
        self._action_shape = self.action_space.shape
        self.observation_space = observation_space()
        self._full = is_full(self.params)
        self._attach(allocate(self.params))
        self._seeded = False
        self._running = False
        self._chart: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode; see the class page for seeds and options.

        Raises:
            ValueError: The seed or an option is outside its range.
        """
        start = self._start(options)
        if seed is not None:
            seed = checked_seed(seed)
        super().reset(seed=seed)
        if seed is not None or not self._seeded:
            set_seed(self._memory, int(self.np_random.integers(2**63)) if seed is None else seed)
            self._seeded = True
        self._running = True
        self._begin(start[:, 0])
        if self.render_mode is not None:
            self._draw(restart=True)
        return self._observation.copy(), self._info()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Quote for one tick.

        Args:
            action: (bid, ask) in [-1, 1]; see the class page.

        Returns:
            observation float32 (8,), reward in quote currency, terminated, truncated (always False), info.

        Raises:
            ValueError: The action is not two numbers in [-1, 1].
            gymnasium.error.ResetNeeded: The episode has not been started, or has ended.
        """
        if not self._running:
            raise ResetNeeded("call reset() before step(): the episode has not been started, or it has ended")
        if not (type(action) is np.ndarray and action.dtype is _FLOAT32 and action.shape == self._action_shape):
            action = _as_action(action, self._action_shape)
        reward, terminated = self._run(action)
        if reward != reward:  # the kernel's sign for an action outside [-1, 1], tested there because it is faster
            raise ValueError(f"action must be {len(action)} numbers in [-1, 1], got {action.tolist()}")
        if terminated:
            self._running = False
        if self.render_mode is not None:
            self._draw(restart=False)
        return self._observation.copy(), reward, terminated, False, self._info()

    def render(self) -> np.ndarray | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the chart as uint8 (height, width, 3) in "rgb_array" mode; a "human" window draws itself."""
        if self.render_mode is None:
            gym.logger.warn(
                'render() does nothing without a render_mode: gym.make("MarketMaking-v0", render_mode="rgb_array")'
            )
            return None
        if self._chart is None:
            raise ResetNeeded("call reset() before render()")
        return self._chart.frame() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Close the chart, if there is one; harmless when repeated."""
        if self._chart is not None:
            self._chart.close()
            self._chart = None

    def _start(self, options: dict[str, Any] | None) -> np.ndarray:
        """Return where the episode starts, float64 (numbers, 1), from checked reset options."""
        refuse_unknown_options(options, RESET_OPTIONS)
        return start_states(options, self.params, 1)

    def _begin(self, start: np.ndarray) -> None:
        """Start the next episode and write its first observation."""
        reset_single(self._memory, self._observation, start[0], start[1])

    def _run(self, action: np.ndarray) -> tuple[float, bool]:
        """Run one tick, write the observation, and return (reward, terminated)."""
        step = step_full_single if self._full else step_single
        return step(self._memory, action, self._observation)

    def _attach(self, memory: np.ndarray) -> None:
        """Make `memory` the state of this environment, with the views that every step reads."""
        self._memory = memory
        self._info_values = memory[FIELDS_AT : FIELDS_AT + N_INFO]
        self._observation = np.zeros(N_FEATURES, dtype=np.float32)

    def _info(self) -> dict[str, Any]:
        # In the order of INFO_KEYS (a test holds it to that). Written out: a zip takes twice the time of the tick.
        mid, bid, ask, inventory, cash, equity, bought, sold, fees, capture, drift = self._info_values.tolist()
        return {
            "mid": mid,
            "bid": bid,
            "ask": ask,
            "inventory": inventory,
            "cash": cash,
            "equity": equity,
            "fill_bid": bought,
            "fill_ask": sold,
            "fees": fees,
            "spread_capture": capture,
            "inventory_pnl": drift,
        }

    def _draw(self, *, restart: bool) -> None:
        """Add the tick to the chart, and show it in "human" mode."""
        if self._chart is None:
            from hftgym.render import LiveChart  # matplotlib is needed only by those who look

            self._chart = LiveChart(self.params)
        if restart:
            self._chart.restart()
        self._chart.append(
            self._info(),
            quote_bid=float(self._memory[FIELDS_AT + at.QUOTE_BID]),
            quote_ask=float(self._memory[FIELDS_AT + at.QUOTE_ASK]),
        )
        if self.render_mode == "human":
            self._chart.show(fps=self.metadata["render_fps"])

    def __getstate__(self) -> dict[str, Any]:
        """Pickle everything but the window on a screen."""
        return {**self.__dict__, "_chart": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the views into the memory, which pickle would turn into copies."""
        self.__dict__.update(state)
        self._attach(self._memory)


def _as_action(action: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return any array-like as float32 of the wanted shape, or raise."""
    try:
        array = np.asarray(action, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"action must be {shape[0]} numbers in [-1, 1], got {action!r}") from error
    if array.shape != shape:
        raise ValueError(f"action must have the shape {shape}, got {array.shape}")
    return np.ascontiguousarray(array)
