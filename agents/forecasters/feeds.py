"""Series of moves to forecast: simulated by the market's own kernel, or sampled from a recorded tape.

The label of a tick is the sign of the mid's move in the next tick. Where the price does not move (most ticks of a
recorded market; the last one of a path) there is none: such ticks stay in the windows of moves, but nothing is trained
or scored on them. A forecast is therefore the probability of an up move *given that the price moves*.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from agents.forecasters.oracles import bayes_proba
from hftgym.envs.vector import MarketMakingVectorEnv
from hftgym.observation import CLIP_SD, FEATURE_NAMES
from hftgym.params import EnvParams
from hftgym.policies.base import WITHDRAW
from hftgym.policies.signal import WINDOW, on_grid
from hftgym.tape.calibration import calibrate
from hftgym.tape.measure import quotes_at, tick_times
from hftgym.tape.types import Tape

# Ticks that a label looks ahead.
HORIZON = 1
_GBM = EnvParams(microstructure_noise=0.0)
_REVERSION = 0.02


def _alpha(snr: float) -> EnvParams:
    """Return a market whose hidden drift has a standard deviation of `snr` times the volatility."""
    shocks = snr * math.sqrt(1.0 - (1.0 - _REVERSION) ** 2)
    return dataclasses.replace(_GBM, alpha_volatility=shocks, alpha_reversion=_REVERSION)


# The default market without microstructure noise, and what is hidden in it.
MARKETS: Mapping[str, EnvParams] = MappingProxyType(
    {
        "gbm": _GBM,
        "regime": dataclasses.replace(_GBM, regime_drift=0.5, regime_switching=0.02),
        "regime-weak": dataclasses.replace(_GBM, regime_drift=0.25, regime_switching=0.02),
        "alpha": _alpha(0.5),
        "alpha-weak": _alpha(0.1),
    }
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Feed:
    """Moves and labels of P paths of T ticks each; the paths follow each other in time.

    Attributes:
        name: For tables.
        params: The market that the moves are scaled by, and that a forecaster is traded in.
        moves: The feature last_return on the forecasters' grid, float32 (P, T).
        labels: Sign of the next move, int8 (P, T): +1, -1, or 0 where there is none.
        zscore: The feature zscore, float32 (P, T), for the rule that a forecaster is to beat.
        bayes: Probability of an up move by the Bayes filter, float64 (P, T), where one is known.
    """

    name: str
    params: EnvParams
    moves: NDArray[np.float32]
    labels: NDArray[np.int8]
    zscore: NDArray[np.float32]
    bayes: NDArray[np.float64] | None = None

    @property
    def embargo(self) -> int:
        """Ticks between training and test that share no move: a window and what a label looks ahead."""
        return WINDOW + HORIZON

    def references(self) -> dict[str, NDArray[np.float64]]:
        """Return P(up) (P T,) of what needs no training: the Bayes filter, and the bet against the z-score (0 or 1)."""
        known = {} if self.bayes is None else {"Bayes filter": self.bayes.ravel()}
        return known | {"z-score": (self.zscore < 0.0).astype(np.float64).ravel()}

    def examples(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (windows (n, 50), 1 where the next move is up and 0 where it is down (n,)) of ticks with a label."""
        path, tick = np.divmod(rows, self.moves.shape[1])
        return windows(self.moves)[path, tick], (self.labels.ravel()[rows] > 0).astype(np.float32)


def windows(moves: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the last 50 moves at every tick, (P, T, 50), the newest last, zeros before a path's start; a view."""
    return sliding_window_view(np.pad(moves, ((0, 0), (WINDOW - 1, 0))), WINDOW, axis=1)


def simulated_feed(name: str, *, paths: int, ticks: int = 1_000, seed: int = 0) -> Feed:
    """Return paths of the market `MARKETS[name]`, seeds `seed` to `seed + paths - 1`.

    Args:
        name: One of `MARKETS`.
        paths: P, at least 1.
        ticks: T, at least 2.
        seed: Of the first path.

    Raises:
        ValueError: There is no market of that name.
    """
    if name not in MARKETS:
        raise ValueError(f"feed must be one of {', '.join(MARKETS)}, got {name!r}")
    params = MARKETS[name]
    returns, seen = played(dataclasses.replace(params, horizon=ticks + HORIZON), paths, seed)
    return Feed(
        name=name,
        params=params,
        moves=on_grid(seen["last_return"][:, :ticks]),
        labels=np.sign(returns[:, HORIZON:]).astype(np.int8),
        zscore=seen["zscore"][:, :ticks],
        bayes=bayes_proba(returns[:, :ticks], params),
    )


def played(params: EnvParams, paths: int, seed: int) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float32]]]:
    """Return the returns (P, T) of `params.horizon` ticks in which nobody quotes, and the market's features (P, T)."""
    envs = MarketMakingVectorEnv(paths, params=params, autoreset_mode=AutoresetMode.DISABLED)
    _, info = envs.reset(seed=seed)
    mids = np.empty((params.horizon + 1, paths))
    names = ("last_return", "zscore")
    columns = [FEATURE_NAMES.index(name) for name in names]
    seen = np.empty((params.horizon, len(names), paths), dtype=np.float32)
    mids[0] = info["mid"]
    idle = np.full((paths, 2), WITHDRAW, dtype=np.float32)
    for t in range(params.horizon):
        observations, _, _, _, info = envs.step(idle)
        mids[t + 1], seen[t] = info["mid"], observations[:, columns].T
    envs.close()
    returns = (mids[1:] / mids[:-1] - 1.0).T
    return returns, {name: np.ascontiguousarray(seen[:, i].T) for i, name in enumerate(names)}


def tape_feed(tape: Tape, *, tick_s: float = 0.1, scale_share: float = 0.5) -> Feed:
    """Return a tape's mid in ticks of `tick_s` seconds, one path.

    The spread of the market that forecasters are traded in is that of the whole tape; none of them sees it.

    Args:
        tape: Recorded quotes.
        tick_s: Seconds per tick.
        scale_share: The volatility that moves are scaled by is that of the first ticks, this share of all: none that is
            tested on may help to scale.

    Raises:
        ValueError: The tape is too short, or its price did not move in the ticks that set the scale.
    """
    bid, ask = quotes_at(tape, tick_times(tape, tick_s))
    mid = (bid + ask) / 2
    returns = mid[1:] / mid[:-1] - 1.0
    scale = float(np.sqrt(np.mean(returns[: int(scale_share * len(returns))] ** 2)))
    if not scale > 0:
        raise ValueError(f"{tape.symbol}: the mid did not move in the first {scale_share:.0%} of the tape")
    params = calibrate(tape, tick_s=tick_s)
    params = dataclasses.replace(params, volatility=scale / math.hypot(1.0, params.microstructure_noise))
    moves = np.clip(returns / params.nominal_volatility / CLIP_SD, -1.0, 1.0).astype(np.float32)
    labels = np.sign(np.append(returns[HORIZON:], np.zeros(HORIZON))).astype(np.int8)
    return Feed(
        name=f"{tape.venue} {tape.symbol}",
        params=params,
        moves=on_grid(moves)[None],
        labels=labels[None],
        zscore=_zscore(mid, params.window)[None],
    )


def _zscore(mid: NDArray[np.float64], window: int) -> NDArray[np.float32]:
    """Return the feature zscore of a series of mids (n + 1,) after each move, (n,)."""
    result = np.zeros(len(mid) - 1, dtype=np.float32)
    prices = sliding_window_view(mid, window)
    std = prices.std(axis=1)
    moved = std > 1e-9 * mid[0]
    z = np.where(moved, prices[:, -1] - prices.mean(axis=1), 0.0) / np.where(moved, std, 1.0)
    result[window - 2 :] = np.clip(z / CLIP_SD, -1.0, 1.0)
    return result
