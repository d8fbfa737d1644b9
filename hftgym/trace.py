"""One path through one market, as pictures show it: simulated or recorded, with every fill at its price."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from hftgym.params import EnvParams, as_params
from hftgym.policies.base import quote_of_action
from hftgym.rollout import Predicts, actions_of

if TYPE_CHECKING:
    from hftgym.backtest import Backtest


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Trace:
    """The path of one policy over n ticks; float64, time in seconds, money in `currency`, inventory in units.

    Attributes:
        label: What is shown.
        currency: The quote currency's name.
        time_s: (n + 1,).
        mid: (n + 1,).
        equity: (n + 1,).
        inventory: (n + 1,).
        buy_time_s: One per buy.
        buy_price: One per buy.
        sell_time_s: One per sell.
        sell_price: One per sell.
    """

    label: str
    currency: str
    time_s: NDArray[np.float64]
    mid: NDArray[np.float64]
    equity: NDArray[np.float64]
    inventory: NDArray[np.float64]
    buy_time_s: NDArray[np.float64]
    buy_price: NDArray[np.float64]
    sell_time_s: NDArray[np.float64]
    sell_price: NDArray[np.float64]

    @property
    def result(self) -> str:
        """PnL, trades and largest inventory in one line."""
        pnl = f"{self.equity[-1] - self.equity[0]:+,.2f}".replace("-", "\N{MINUS SIGN}")
        largest = f"{np.abs(self.inventory).max():g}"
        return (
            f"PnL {pnl}   ·   {len(self.buy_price)} buys, {len(self.sell_price)} sells   ·   inventory up to {largest}"
        )


def trace_episode(
    policy: Predicts, *, seed: int = 0, params: EnvParams | None = None, env_id: str = "MarketMaking-v0", name: str = ""
) -> Trace:
    """Play one episode and return its path.

    Args:
        policy: Anything with Stable-Baselines3's `predict`.
        seed: The episode's seed: episode i of `evaluate(seed=s)` is `seed=s + i`.
        params: The market.
        env_id: A registered market.
        name: What the picture and errors call the policy; its class if empty.

    Raises:
        ValueError: The policy returned something else than actions in [-1, 1].
    """
    params = as_params(params)
    name = name or type(policy).__name__
    env = gym.make(env_id, params=params)
    observation, info = env.reset(seed=seed)
    infos, quotes = [info], []
    state, start, ended = None, np.ones(1, dtype=bool), False
    while not ended:
        actions, state = actions_of(policy, observation[None], state=state, start=start, name=name)
        observation, _, terminated, truncated, info = env.step(np.asarray(actions[0], dtype=np.float32))
        infos.append(info)
        quotes.append(quote_of_action(actions[0], params))
        start, ended = np.zeros(1, dtype=bool), terminated or truncated
    env.close()
    column = {key: np.array([info[key] for info in infos], dtype=np.float64) for key in info}
    time_s = np.arange(len(infos), dtype=np.float64) * params.tick_s
    half = (column["ask"] - column["bid"])[:-1] / 2
    # A quote at or beyond the opposite touch trades there; quote_of_action says -1 for it.
    distance = np.maximum(np.array(quotes), -1.0) * half[:, None]
    mid = column["mid"][:-1]
    bought, sold = column["fill_bid"][1:] > 0, column["fill_ask"][1:] > 0
    return Trace(
        label=f"{name}, seed {seed:,}",
        currency=quote_currency(params.symbol),
        time_s=time_s,
        mid=column["mid"],
        equity=column["equity"],
        inventory=column["inventory"],
        # A quote meets the market before the mid moves, so a fill belongs to the price at the start of its tick.
        buy_time_s=time_s[:-1][bought],
        buy_price=(mid - distance[:, 0])[bought],
        sell_time_s=time_s[:-1][sold],
        sell_price=(mid + distance[:, 1])[sold],
    )


def trace_backtest(backtest: "Backtest", *, name: str = "") -> Trace:
    """Return the path of a backtest on recorded ticks: every fill of its log, at its price and the start of its tick.

    Args:
        backtest: From `hftgym.backtest.backtest`.
        name: What the picture calls the policy.
    """
    symbol, fills = backtest.params.symbol, backtest.fills
    bought = fills.side > 0
    at = backtest.time_s[fills.tick]
    return Trace(
        label=f"{name} on {symbol}".strip(),
        currency=quote_currency(symbol),
        time_s=backtest.time_s,
        mid=backtest.mid,
        equity=backtest.equity,
        inventory=backtest.inventory,
        buy_time_s=at[bought],
        buy_price=fills.price[bought],
        sell_time_s=at[~bought],
        sell_price=fills.price[~bought],
    )


def quote_currency(symbol: str) -> str:
    """Return the currency that prices of a symbol such as "BTC-USDT" are in, or "quote currency" where it is not said.

    >>> quote_currency("BTC-USDT"), quote_currency("BTCUSDT")
    ('USDT', 'quote currency')
    """
    return symbol.rpartition("-")[2] if "-" in symbol else "quote currency"
