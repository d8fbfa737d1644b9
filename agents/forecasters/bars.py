"""Bars: open, high, low, close and volume of every minute, and the features that charts are read by.

Every feature is a function of the last 51 bars alone, computed from a window of them: none can look ahead. The label of
a bar is the sign of the next bar's close less its own; bars after which the close does not change, and those without a
full window, have none.
"""

import dataclasses
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from agents.forecasters.feeds import HORIZON
from hftgym.envs.vector import MarketMakingVectorEnv
from hftgym.params import EnvParams
from hftgym.policies.base import action_of_offset
from hftgym.tape.types import Tape

BAR_S = 60.0
# Bars in a window: 50 moves between closes.
BARS = 51
_RETURNS = (1, 2, 5, 10, 20)
_AVERAGES = (5, 10, 20, 50)
NAMES: tuple[str, ...] = (
    *(f"return_{span}" for span in _RETURNS),
    *(f"over_mean_{span}" for span in _AVERAGES),
    *("body", "upper_shadow", "lower_shadow", "range", "rsi_14", "macd", "macd_histogram", "stochastic_14", "volume"),
    "volume_trend",
)
# A hidden trend that turns about every ten minutes; ticks of a second.
_TREND = EnvParams(
    tick_s=1.0,
    volatility=0.0002,
    microstructure_noise=0.0,
    regime_drift=0.1,
    regime_switching=1 / 600,
    market_order_size=1.0,
    inventory_limit=2**53,
    initial_cash=1e12,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Bars:
    """Bars of P paths of B bars each, float64 (P, B): prices in quote currency, volume in units.

    Attributes:
        name: For tables.
        open: First price.
        high: Highest price.
        low: Lowest price.
        close: Last price.
        volume: Units traded.
    """

    name: str
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]

    @property
    def embargo(self) -> int:
        """Bars between training and test that share nothing: a window and what a label looks ahead."""
        return BARS + HORIZON

    @property
    def labels(self) -> NDArray[np.int8]:
        """Sign of the next close less this one, int8 (P, B)."""
        labels = np.zeros(self.close.shape, dtype=np.int8)
        labels[:, BARS - 1 : -HORIZON] = np.sign(self.close[:, BARS:] - self.close[:, BARS - 1 : -HORIZON])
        return labels

    def references(self) -> dict[str, NDArray[np.float64]]:
        """Return the classic bet that the close returns to its mean of 50: P(up) is 0 or 1, (P B,)."""
        mean = sliding_window_view(np.pad(self.close, ((0, 0), (49, 0)), mode="edge"), 50, axis=1).mean(axis=2)
        return {"z-score": (self.close < mean).astype(np.float64).ravel()}

    def examples(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (features (n, 19), 1 where the next close is higher and 0 where lower (n,)) of bars with a label."""
        path, bar = np.divmod(rows, self.close.shape[1])
        series = (self.open, self.high, self.low, self.close, self.volume)
        parts = [sliding_window_view(x, BARS, axis=1)[path, bar - BARS + 1] for x in series]
        return bar_features(*parts), (self.labels.ravel()[rows] > 0).astype(np.float32)


def bar_features(
    opened: NDArray[np.float64],
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    close: NDArray[np.float64],
    volume: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return the features `NAMES` of windows of 51 bars (n, 51), the newest last: float32 (n, 19), free of scale."""
    log_close = np.log(close)
    moves = np.diff(log_close, axis=1)
    unit = _positive(moves.std(axis=1))
    span = _positive((high - low)[:, -14:].mean(axis=1))
    latest = close[:, -1]
    gains, losses = np.maximum(moves, 0.0)[:, -14:].sum(axis=1), np.maximum(-moves, 0.0)[:, -14:].sum(axis=1)
    top, bottom = high[:, -14:].max(axis=1), low[:, -14:].min(axis=1)
    macd = _ewma(log_close, 12) - _ewma(log_close, 26)  # (n, 9): the last nine bars
    columns = [
        *((log_close[:, -1] - log_close[:, -1 - span_]) / (unit * np.sqrt(span_)) for span_ in _RETURNS),
        *((latest / close[:, -span_:].mean(axis=1) - 1.0) / (unit * np.sqrt(span_)) for span_ in _AVERAGES),
        (latest - opened[:, -1]) / span,
        (high[:, -1] - np.maximum(latest, opened[:, -1])) / span,
        (np.minimum(latest, opened[:, -1]) - low[:, -1]) / span,
        (high[:, -1] - low[:, -1]) / span,
        gains / _positive(gains + losses),
        macd[:, -1] / unit,
        (macd[:, -1] - macd.mean(axis=1)) / unit,
        (latest - bottom) / _positive(top - bottom),
        np.log1p(volume[:, -1] / _positive(volume[:, -20:].mean(axis=1))),
        np.log1p(volume[:, -5:].mean(axis=1) / _positive(volume[:, -50:].mean(axis=1))),
    ]
    return np.column_stack(columns).astype(np.float32)


def _ewma(x: NDArray[np.float64], span: int) -> NDArray[np.float64]:
    """Return exponentially weighted means (n, 9) at the last nine of 51 bars, each over the 43 bars up to it."""
    length = x.shape[1] - 8
    decay = (1.0 - 2.0 / (span + 1.0)) ** np.arange(length)[::-1]
    return sliding_window_view(x, length, axis=1) @ (decay / decay.sum())


def _positive(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x, and 1 where it is 0: what is divided by it is then 0 too."""
    return np.where(x > 0.0, x, 1.0)


def simulated_bars(
    *, paths: int, bars: int = 500, seed: int = 0, trending: bool = True, ticks_per_bar: int = 60
) -> Bars:
    """Return minutes of a market with a hidden trend that turns about every ten of them, or of a random walk.

    The volume is that of the market orders of both sides that a quote at the mid meets.

    Args:
        paths: P.
        bars: B.
        seed: Of the first path.
        trending: Whether there is a trend.
        ticks_per_bar: Ticks, of a second each, in a bar.
    """
    params = dataclasses.replace(_TREND, horizon=bars * ticks_per_bar, regime_drift=0.1 if trending else 0.0)
    envs = MarketMakingVectorEnv(paths, params=params, autoreset_mode=AutoresetMode.DISABLED)
    _, info = envs.reset(seed=seed)
    mids, volume = np.empty((params.horizon + 1, paths)), np.empty((params.horizon, paths))
    mids[0] = info["mid"]
    at_mid = np.full((paths, 2), action_of_offset(0.0, params))
    for t in range(params.horizon):
        _, _, _, _, info = envs.step(at_mid)
        mids[t + 1], volume[t] = info["mid"], info["fill_bid"] + info["fill_ask"]
    envs.close()
    inside = mids[1:].T.reshape(paths, bars, ticks_per_bar)
    first = mids[:-1].T.reshape(paths, bars, ticks_per_bar)[:, :, 0]
    return Bars(
        name="minute bars, hidden trend" if trending else "minute bars, random walk",
        open=first,
        high=np.maximum(inside.max(axis=2), first),
        low=np.minimum(inside.min(axis=2), first),
        close=inside[:, :, -1],
        volume=volume.T.reshape(paths, bars, ticks_per_bar).sum(axis=2),
    )


def tape_bars(tape: Tape, *, bar_s: float = BAR_S) -> Bars:
    """Return the bars of a tape's trades, one path; a bar without a trade stands still at the last price.

    Args:
        tape: A tape with trades.
        bar_s: Seconds per bar.

    Raises:
        ValueError: There are too few bars for a window and a label.
    """
    received = np.maximum.accumulate(tape.trades.local_ns)
    count = int((received[-1] - received[0]) / (bar_s * 1e9)) if len(received) else 0
    if count <= BARS:
        raise ValueError(
            f"{tape.symbol}: a window needs {BARS + HORIZON} bars of {bar_s:g} s, and the tape holds {count}; "
            "record more, or choose shorter bars"
        )
    bar = ((received - received[0]) / (bar_s * 1e9)).astype(np.int64)
    edges = np.searchsorted(bar, np.arange(count + 1))
    price, size = tape.trades.price, tape.trades.size
    rows = np.empty((5, count))
    before = price[0]
    for i, (first, last) in enumerate(pairwise(edges)):
        inside = price[first:last] if last > first else np.array([before])
        rows[:, i] = inside[0], inside.max(), inside.min(), inside[-1], size[first:last].sum()
        before = inside[-1]
    opened, high, low, close, volume = rows[:, None, :]
    name = f"{tape.venue} {tape.symbol}, bars of {bar_s:g} s"
    return Bars(name=name, open=opened, high=high, low=low, close=close, volume=volume)
