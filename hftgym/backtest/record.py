"""What every backtest leaves behind, in one form: plain arrays that metrics and pictures read."""

import math
from dataclasses import dataclass

import numpy as np

from hftgym.backtest.result import REASONS, Backtest, Fills
from hftgym.backtest.statistics import Floats, summed_by_tick
from hftgym.backtest.zscore import ZScoreBacktest


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Record:
    """The path of one policy over n ticks. Row i is the state at the start of tick i; fills of tick i lie after it.

    Attributes:
        symbol: What was traded.
        tick_s: Seconds per tick.
        mid: float64 (n + 1,), quote currency.
        half_spread: float64 (n + 1,), of the market, quote currency.
        inventory: float64 (n + 1,), units; 0 in the first row.
        equity: float64 (n + 1,), quote currency.
        fills: The fill log.
        inventory_limit: The largest position, units.
        quoted_bid: Units posted to buy; an order that keeps its place in the queue is not counted again. NaN
            where nothing rests.
        quoted_ask: Units posted to sell.

    Raises:
        ValueError: Two columns differ in length, a fill lies outside of the path, or the path is empty.
    """

    symbol: str
    tick_s: float
    mid: Floats
    half_spread: Floats
    inventory: Floats
    equity: Floats
    fills: Fills
    inventory_limit: float
    quoted_bid: float
    quoted_ask: float

    def __post_init__(self) -> None:
        for name in ("half_spread", "inventory", "equity"):
            if len(getattr(self, name)) != len(self.mid):
                raise ValueError(f"{name} must have {len(self.mid)} rows as mid has, got {len(getattr(self, name))}")
        if len(self.mid) < 2:
            raise ValueError(f"mid must have at least 2 rows, one tick, got {len(self.mid)}")
        if len(self.fills) and not 0 <= self.fills.tick.min() <= self.fills.tick.max() < self.ticks:
            raise ValueError(f"fills.tick must be from 0 to {self.ticks - 1}, got {self.fills.tick.max()}")

    @property
    def ticks(self) -> int:
        """How many ticks the path has."""
        return len(self.mid) - 1

    @property
    def time_s(self) -> Floats:
        """Seconds since the first tick, (n + 1,)."""
        return np.arange(len(self.mid), dtype=np.float64) * self.tick_s

    @property
    def fees(self) -> Floats:
        """Fees per tick, (n,), quote currency."""
        return summed_by_tick(self.fills.tick, self.fills.fee, self.ticks)


def record_of_backtest(result: Backtest) -> Record:
    """Return the record of `hftgym.backtest.backtest`'s result."""
    return Record(
        symbol=result.params.symbol,
        tick_s=result.params.tick_s,
        mid=result.mid,
        half_spread=(result.ask - result.bid) / 2,
        inventory=result.inventory,
        equity=result.equity,
        fills=result.fills,
        inventory_limit=result.params.inventory_limit,
        quoted_bid=float(result.quoted_bid.sum()),
        quoted_ask=float(result.quoted_ask.sum()),
    )


def record_of_zscore(result: ZScoreBacktest, *, tick_s: float = 1.0, symbol: str = "prices") -> Record:
    """Return the record of one path of `hftgym.backtest.backtest_zscore`.

    There, tick i trades at price i and what it holds is marked at the same price; here, row i is the state before that
    trade, so what it holds is marked at price i + 1, and the last price stands for the one that never came.

    Args:
        result: The result, of a single path.
        tick_s: Seconds per tick.
        symbol: What was traded.

    Raises:
        ValueError: The result is of several paths.
    """
    prices, trades = result.prices, result.trades
    if prices.ndim != 1:
        raise ValueError(f"result must be of one path, got prices of shape {prices.shape}")
    mid = np.append(prices, prices[-1])
    count = len(trades)
    fills = Fills(
        tick=trades.tick,
        time_ns=np.round(trades.tick * (tick_s * 1e9)).astype(np.int64),
        side=trades.side,
        price=trades.price,
        size=trades.size.astype(np.float64),
        fee=trades.fee,
        mid=prices[trades.tick],
        reason=np.full(count, REASONS.index("crossed"), dtype=np.int8),
        ahead=np.zeros(count),
        waited_s=np.zeros(count),
    )
    return Record(
        symbol=symbol,
        tick_s=tick_s,
        mid=mid,
        half_spread=0.5 * result.spread * mid,
        inventory=np.append(0.0, result.inventory),
        equity=np.append(result.cash[0], result.cash + result.inventory * mid[1:]),  # no window is full at first
        fills=fills,
        inventory_limit=result.inventory_limit,
        quoted_bid=math.nan,
        quoted_ask=math.nan,
    )
