"""The z-score backtest: its speed against the usual ways to write it, and its exactness on a path that decays far."""

import math
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from hftgym.backtest import backtest_zscore, zscore_grid, zscore_kernel
from hftgym.backtest.zscore_kernel import Paths
from hftgym.backtest.zscore_rule import checked_rule
from scripts.benchmarks.figure import Figure, interleaved_seconds

# The slow ones get shorter paths: a round of all jobs should be over before the machine's load has changed.
TICKS, BOOK_TICKS, LOOP_TICKS = 10_000_000, 200_000, 5_000
WINDOW, ENTRY, LIMIT, CASH, SPREAD = 50, 1.5, 10, 10_000.0, 0.0005


def decaying(ticks: int, *, seed: int = 0) -> np.ndarray:
    """Return a GBM from 257 with volatility 0.002 per tick that falls to about 1e-10 in 10 million ticks."""
    steps = np.random.default_rng(seed).standard_normal(ticks)
    return 257.0 * np.exp(np.cumsum(0.002 * steps - 29.0 / TICKS))


def pandas_signals(prices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return z-scores and signals as one writes them with pandas."""
    series = pd.Series(prices)
    window = series.rolling(WINDOW)
    z = ((series - window.mean()) / window.std(ddof=0)).to_numpy()
    return z, np.where(z < -ENTRY, 1, np.where(z > ENTRY, -1, 0))


def pandas_and_book(prices: np.ndarray) -> list[float]:
    """Trade the signals of pandas in a plain loop and return the equity."""
    z, signals = pandas_signals(prices)
    cash, held, equity = CASH, 0, []
    for price, side, score in zip(prices.tolist(), signals.tolist(), z.tolist(), strict=True):
        if side and side * held < LIMIT:
            size = min(int(2 * abs(score)), LIMIT - side * held)
            cash, held = cash - side * size * price * (1 + side * SPREAD / 2), held + side * size
        equity.append(cash + held * price)
    return equity


def plain_loop(prices: np.ndarray) -> list[float]:
    """Trade tick by tick with a deque and numpy's mean and deviation, and return the equity."""
    recent: deque[float] = deque(maxlen=WINDOW)
    cash, held, equity = CASH, 0, []
    for price in prices.tolist():
        recent.append(price)
        deviation = np.std(recent) if len(recent) == WINDOW else 0.0
        z = (price - np.mean(recent)) / deviation if deviation > 0 else 0.0
        side = 1 if z < -ENTRY else -1 if z > ENTRY else 0
        if side and side * held < LIMIT:
            size = min(int(2 * abs(z)), LIMIT - side * held)
            cash, held = cash - side * size * price * (1 + side * SPREAD / 2), held + side * size
        equity.append(cash + held * price)
    return equity


def zscore_figures() -> Iterator[Figure]:
    """Yield speed and exactness of the z-score backtest."""
    prices = decaying(TICKS)
    yield from _speed(prices)
    yield from _exactness(prices)
    yield _grid(prices)


def _speed(prices: np.ndarray) -> Iterator[Figure]:
    jobs: dict[str, tuple[int, Callable[[], object]]] = {
        "ours": (TICKS, lambda: backtest_zscore(prices)),
        "into memory in use": (TICKS, _into_memory_in_use(prices)),
        "pandas signals": (TICKS, lambda: pandas_signals(prices)),
        "pandas and book": (BOOK_TICKS, lambda: pandas_and_book(prices[:BOOK_TICKS])),
        "loop": (LOOP_TICKS, lambda: plain_loop(prices[:LOOP_TICKS])),
    }
    seconds = interleaved_seconds({name: job for name, (_, job) in jobs.items()}, rounds=9)
    rates = {name: ticks / seconds[name] / 1e6 for name, (ticks, _) in jobs.items()}
    yield Figure(
        name="z-score backtest, 10 M ticks, full path and trades",
        value=rates["ours"],
        unit="M ticks/s",
        bar=200.0,
        note="the operating system's work for 290 MB of fresh memory included",
    )
    yield Figure(
        name="the same without trades, into memory in use",
        value=rates["into memory in use"],
        unit="M ticks/s",
        bar=200.0,
    )
    for name, bar in (("pandas signals", 8.0), ("pandas and book", 40.0), ("loop", 3_000.0)):
        note = f"{rates[name]:.3g} M ticks/s; {rates['into memory in use'] / rates[name]:.3g} x into memory in use"
        yield Figure(name=f"against {name}", value=rates["ours"] / rates[name], unit="x its rate", bar=bar, note=note)


def _into_memory_in_use(prices: np.ndarray) -> Callable[[], object]:
    """Return a job that plays the path into arrays that have been written before."""
    kinds = (float, np.int8, np.int32, float, float)
    out = Paths(*(np.zeros(len(prices), kind) for kind in kinds))
    rule = checked_rule(
        spread=SPREAD,
        window=WINDOW,
        entry=ENTRY,
        inventory_limit=LIMIT,
        initial_cash=CASH,
        sizing="deviation",
        taker_fee_bps=0.0,
    )
    return lambda: zscore_kernel.play(prices, rule, out)


def _exactness(prices: np.ndarray) -> Iterator[Figure]:
    """Compare with numpy's two passes over every window, and with the plain loop."""
    result = backtest_zscore(prices)
    worst, wrong = 0.0, 0
    windows = np.lib.stride_tricks.sliding_window_view(prices, WINDOW)
    for first in range(0, len(windows), 100_000):
        piece = windows[first : first + 100_000]
        z = (piece[:, -1] - piece.mean(axis=1)) / piece.std(axis=1)
        ours = slice(first + WINDOW - 1, first + WINDOW - 1 + len(z))
        worst = max(worst, float(np.abs(result.zscore[ours] - z).max()))
        signals = np.where(z < -ENTRY, 1, np.where(z > ENTRY, -1, 0))
        wrong += int((result.signal[ours] != signals).sum())
        wrong += int((np.floor(2 * np.abs(result.zscore[ours])) != np.floor(2 * np.abs(z))).sum())
    note = f"10 M ticks of GBM from {prices[0]:.0f} to {prices[-1]:.0e}, against numpy's two passes"
    yield Figure(name="largest error of z", value=worst, unit="", bar=1e-11, lower_is_better=True, note=note)
    yield Figure(name="wrong signals and sizes", value=wrong, unit="", bar=0.0, lower_is_better=True)
    ticks = 200_000
    off = float(np.abs(result.equity[:ticks] - np.array(plain_loop(prices[:ticks]))).max())
    note = f"the first {ticks:,} ticks"
    yield Figure(name="equity against the loop's", value=off, unit="", bar=1e-9, lower_is_better=True, note=note)


def _grid(prices: np.ndarray) -> Figure:
    sets = {
        "windows": np.unique(np.geomspace(10, 1_000, 10).astype(int)).tolist(),
        "entries": np.linspace(0.5, 2.75, 10).tolist(),
        "limits": [1, 2, 3, 5, 8, 10, 15, 20, 50, 100],
    }
    count, path = math.prod(map(len, sets.values())), prices[:1_000_000]
    seconds = interleaved_seconds({"grid": lambda: zscore_grid(path, **sets)}, rounds=3)["grid"]
    return Figure(
        name=f"grid, {count:,} sets x 1 M ticks",
        value=count * len(path) / seconds / 1e6,
        unit="M tick-evaluations/s",
        bar=100.0,
    )
