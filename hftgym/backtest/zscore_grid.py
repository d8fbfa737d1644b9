"""The z-score rule with many parameters on one path: one row of figures per set."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hftgym.backtest import zscore_grid_kernel as at
from hftgym.backtest.zscore_kernel import Rule, fill_scores
from hftgym.backtest.zscore_rule import Sizing, checked_prices, checked_rule, refuse_bad_prices, whole

# Sets per task: each computes the z-scores of its window for itself, which costs it a few per cent.
_SETS_PER_TASK = 4 * at.SETS


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ZScoreGrid:
    """One row per parameter set, windows outermost, then entries, then limits; columns of equal length k.

    A figure is that of `backtest_zscore` with the same parameters, over the n - 1 ticks after the first price.

    Attributes:
        window: int64 (k,), ticks.
        entry: float64 (k,).
        inventory_limit: int64 (k,), units.
        pnl: float64 (k,), equity at the end less equity at the start, quote currency.
        trades: int64 (k,).
        max_drawdown: float64 (k,), deepest fall of the equity below its running maximum, quote currency.
        turnover: float64 (k,), value traded, quote currency.
        fees: float64 (k,), quote currency; the spread is not in it.
        inventory_rms: float64 (k,), root mean square inventory, units.
        sharpe: float64 (k,), mean over standard deviation of the PnL per tick, never annualised; NaN without a trade.
        sharpe_se: float64 (k,), its standard error if ticks are independent and normal, sqrt((1 + sharpe^2 / 2) /
            (n - 1)): A. W. Lo, "The statistics of Sharpe ratios", Financial Analysts Journal 58(4), 2002, eq. 9. The
            best of many sets is no estimate of what it will earn, whatever this says.
    """

    window: np.ndarray
    entry: np.ndarray
    inventory_limit: np.ndarray
    pnl: np.ndarray
    trades: np.ndarray
    max_drawdown: np.ndarray
    turnover: np.ndarray
    fees: np.ndarray
    inventory_rms: np.ndarray
    sharpe: np.ndarray
    sharpe_se: np.ndarray

    def __len__(self) -> int:
        return len(self.pnl)


def zscore_grid(
    prices: ArrayLike,
    *,
    windows: Iterable[int] = (50,),
    entries: Iterable[float] = (1.5,),
    limits: Iterable[int] = (10,),
    spread: float = 0.0005,
    initial_cash: float = 10_000.0,
    sizing: Sizing = "deviation",
    taker_fee_bps: float = 0.0,
    num_threads: int = 1,
    on_progress: Callable[[float], Any] | None = None,
) -> ZScoreGrid:
    """Play every combination of windows, entries and limits over one path.

    Args:
        prices: Mid prices (n,), as in `backtest_zscore`.
        windows: Windows in ticks, at least one.
        entries: Thresholds on |z|, each above 0, at least one.
        limits: Inventory limits in units, at least one.
        spread: Relative bid-ask spread.
        initial_cash: Quote currency.
        sizing: "deviation" or "unit".
        taker_fee_bps: Fee in basis points of the value traded.
        num_threads: Threads that share the sets; the results do not depend on it.
        on_progress: Told the share done, 0 to 1, after each group of sets.

    Raises:
        ValueError: An argument is outside its range, or a price is none; the message names it.
    """
    array = checked_prices(prices)
    if array.ndim != 1:
        raise ValueError(f"prices must have the shape (n,), got {array.shape}; call once per path")
    lists = {"windows": list(windows), "entries": list(entries), "limits": list(limits)}
    for name, values in lists.items():
        if not values:
            raise ValueError(f"{name} must hold at least one value, got none")
    threads = whole("num_threads", num_threads, 1, 1_024)

    def rule_of(window: int, entry: float, limit: int) -> Rule:
        return checked_rule(
            spread=spread,
            window=window,
            entry=entry,
            inventory_limit=limit,
            initial_cash=initial_cash,
            sizing=sizing,
            taker_fee_bps=taker_fee_bps,
        )

    rules = [[rule_of(w, e, q) for e, q in product(*list(lists.values())[1:])] for w in lists["windows"]]
    tasks = [group[i : i + _SETS_PER_TASK] for group in rules for i in range(0, len(group), _SETS_PER_TASK)]
    states: list[np.ndarray] = []
    with ThreadPoolExecutor(threads) as pool:
        for state in (map if threads == 1 else pool.map)(partial(_play, array), tasks):
            states.append(state)
            if on_progress is not None:
                on_progress(len(states) / len(tasks))
    return _table(np.concatenate(states, axis=1), list(product(*lists.values())), initial_cash, len(array) - 1)


def _play(prices: np.ndarray, rules: Sequence[Rule]) -> np.ndarray:
    """Play sets of one window and return their fields, float64 (N_FIELDS, sets)."""
    zscore = np.empty(len(prices))
    if fill_scores(prices, rules[0].window, zscore):
        refuse_bad_prices(prices)
    states: list[np.ndarray] = []
    for first in range(0, len(rules), at.SETS):
        group = rules[first : first + at.SETS]
        sets = np.zeros((at.N_FIELDS, at.SETS))
        sets[at.ENTRY // at.SETS] = np.inf  # who is not there never trades
        sets[at.ENTRY // at.SETS, : len(group)] = [rule.entry for rule in group]
        sets[at.LIMIT // at.SETS, : len(group)] = [rule.limit for rule in group]
        for start in (at.CASH, at.EQUITY, at.PEAK):
            sets[start // at.SETS] = group[0].cash
        at.play_sets(prices, zscore, group[0], sets.reshape(-1))
        states.append(sets[:, : len(group)])
    return np.concatenate(states, axis=1)


def _table(state: np.ndarray, sets: Sequence[tuple[int, float, int]], cash: float, ticks: int) -> ZScoreGrid:
    """Return the figures of all sets from their fields."""

    def field(start: int) -> np.ndarray:
        return state[start // at.SETS]

    window, entry, limit = zip(*sets, strict=True)
    pnl = field(at.EQUITY) - cash
    deviation = np.sqrt(np.maximum(field(at.SQUARES) / ticks - (pnl / ticks) ** 2, 0.0))
    sharpe = np.divide(pnl / ticks, deviation, out=np.full(len(pnl), np.nan), where=deviation > 0.0)
    return ZScoreGrid(
        window=np.array(window, dtype=np.int64),
        entry=np.array(entry, dtype=np.float64),
        inventory_limit=np.array(limit, dtype=np.int64),
        pnl=pnl,
        trades=field(at.TRADES).astype(np.int64),
        max_drawdown=field(at.DRAWDOWN),
        turnover=field(at.TURNOVER),
        fees=field(at.FEES),
        inventory_rms=np.sqrt(field(at.INVENTORY_SQUARES) / ticks),
        sharpe=sharpe,
        sharpe_se=np.sqrt((1.0 + 0.5 * sharpe**2) / ticks),
    )
