"""What a backtest leaves behind: the path tick by tick, and every fill with its reason."""

from dataclasses import dataclass

import numpy as np

from hftgym.params import EnvParams

REASONS: tuple[str, ...] = ("crossed", "queue", "through", "passed")
"""Why an order was filled; `Fills.reason` is an index into it.

crossed: it arrived at or beyond the opposite best price and took what was shown there (taker fee).
queue: trades at its own price had used up what stood before it.
through: a trade went through its price, to a worse one for the taker.
passed: the opposite best price reached or passed its price without a trade that says so.
"""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fills:
    """The fill log: one row per fill, in the order of time; read-only columns of equal length k.

    Attributes:
        tick: int64 (k,), the tick in which it happened; tick i lies between rows i and i + 1 of the path.
        time_ns: int64 (k,), when the event that filled it was received, ns since 1970.
        side: int8 (k,), +1 bought, -1 sold.
        price: float64 (k,), quote currency.
        size: float64 (k,), units.
        fee: float64 (k,), quote currency; negative is a rebate.
        mid: float64 (k,), mid price just before that event, quote currency.
        reason: int8 (k,), index into REASONS.
        ahead: float64 (k,), units that stood before the order when it joined the queue; 0 where it took, inf where that
            was not to be seen (it joined behind the best price).
        waited_s: float64 (k,), seconds since it reached the market.
    """

    tick: np.ndarray
    time_ns: np.ndarray
    side: np.ndarray
    price: np.ndarray
    size: np.ndarray
    fee: np.ndarray
    mid: np.ndarray
    reason: np.ndarray
    ahead: np.ndarray
    waited_s: np.ndarray

    def __len__(self) -> int:
        return len(self.tick)


@dataclass(frozen=True, kw_only=True, slots=True)
class Backtest:
    """The path of one policy over a tape of n ticks. Money in quote currency, inventory in units."""

    params: EnvParams
    time_s: np.ndarray  # (n + 1,) seconds since the first tick
    mid: np.ndarray  # (n + 1,)
    bid: np.ndarray  # (n + 1,) best bid of the market
    ask: np.ndarray  # (n + 1,)
    inventory: np.ndarray  # (n + 1,)
    cash: np.ndarray  # (n + 1,)
    equity: np.ndarray  # (n + 1,)
    fill_bid: np.ndarray  # (n,) units bought during the tick
    fill_ask: np.ndarray  # (n,)
    quoted_bid: np.ndarray  # (n,) units newly quoted in the tick; an order that keeps its place is not counted again
    quoted_ask: np.ndarray  # (n,)
    spread_capture: np.ndarray  # (n,)
    inventory_pnl: np.ndarray  # (n,)
    fees: np.ndarray  # (n,)
    reward: np.ndarray  # (n,)
    fills: Fills

    def summary(self) -> dict[str, float]:
        """Return the totals: pnl and its parts, J (sum of rewards), fills, and the inventory's root mean square."""
        return {
            "j": float(self.reward.sum()),
            "pnl": float(self.equity[-1] - self.equity[0]),
            "spread_capture": float(self.spread_capture.sum()),
            "inventory_pnl": float(self.inventory_pnl.sum()),
            "fees": float(self.fees.sum()),
            "bought": float(self.fill_bid.sum()),
            "sold": float(self.fill_ask.sum()),
            "inventory_rms": float(np.sqrt(np.mean(self.inventory[1:] ** 2))),
        }
