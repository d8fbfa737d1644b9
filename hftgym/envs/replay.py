"""The environment on recorded ticks: one market that was, from random starts."""

import dataclasses
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from hftgym.envs.checks import RESET_OPTIONS, refuse_unknown_options, start_states
from hftgym.envs.market_making import MarketMakingEnv
from hftgym.envs.vector import MarketMakingVectorEnv
from hftgym.market import batch
from hftgym.market.layout import LANES
from hftgym.market.replay import Track, fill_log
from hftgym.market.single import reset_replay, step_replay
from hftgym.params import EnvParams, as_params
from hftgym.tape import Tape, read_tape
from hftgym.tape.calibration import calibrate
from hftgym.tape.parquet import TapeFile
from hftgym.tape.track import latency_of, whole_track

_DEFAULT_HORIZON = 1_000
_OPTIONS = (*RESET_OPTIONS, "start")


class MarketMakingReplayEnv(MarketMakingEnv):
    """Quote both sides of a recorded market.

    ## Description
    `MarketMaking-v0` with the market taken from a tape of quotes and trades: the same actions, observations and
    rewards, so that an agent trained in the simulator steps straight in. An episode is `params.horizon` ticks of
    `params.tick_s` seconds, cut from the tape at a random start. In every tick the agent sees the last quotes received,
    decides, and its orders arrive `latency_s` later, rounded away from the mid to the price grid.

    A resting order stands in a queue. It joins behind the size that is shown at its price; trades at that price use up
    what stands before it and then fill it, in parts; the queue is never longer than what is shown; cancellations are
    taken to come from behind. At a price behind the best one its place is unknown until the best price comes there.
    A trade through its price fills it up to the trade's size, an opposite best price that reaches it fills it. An order
    at an unchanged price keeps its place with what is left of it. One that arrives at or beyond the opposite best price
    takes what is shown there and pays the taker fee; its rest is cancelled.

    **Own orders never change the recorded market.** What was taken stays there and may be taken again; nobody reacts to
    a quote. Results are the better the smaller the orders are beside those recorded: `tape.in_units_of(0.001)` makes a
    unit a thousandth of a coin.

    ## Action Space
    As `MarketMaking-v0`; offsets are multiples of half the recorded spread at the time of the decision.

    ## Observation Space
    As `MarketMaking-v0`.

    ## Rewards
    As `MarketMaking-v0`, except that "martingale_free" is refused: after a fill a recorded price moves against it.
    `spread_capture` counts fills against the mid at the start of their tick.

    ## Starting State
    A start drawn uniformly by the seed, or `reset(options={"start": i})` at tick i of the tape; `tick` and `inventory`
    as in `MarketMaking-v0`. No order is in the market, and the rolling window is empty.

    ## Episode End
    As `MarketMaking-v0`.

    ## Arguments
    >>> import gymnasium as gym, hftgym
    >>> from hftgym.tape import calibrate, read_tape
    >>> tape = read_tape("capture.gz")                                                       # doctest: +SKIP
    >>> env = gym.make("MarketMakingReplay-v0", tape=tape, latency_s=0.005)                  # doctest: +SKIP

    | Parameter | Type | Default | Description |
    |-----------|------|---------|-------------|
    | `tape` | `Tape` or path | required | what `hftgym.tape.read_tape` gives or reads |
    | `params` | `EnvParams`, mapping or None | calibrated, horizon 1,000 | fees, limits, penalties, length of a tick |
    | `latency_s` | float or None | `order_latency` ticks | seconds from a decision to its arrival (round trip) |
    | `price_step` | float or None | the tape's | grid that quotes are rounded to; 0 for none |
    | `render_mode` | "human", "rgb_array" or None | None | the live two-pane chart |

    ## Vectorized environment
    `gym.make_vec("MarketMakingReplay-v0", num_envs=N, tape=tape)` is a native batch over one shared tape: environment i
    of `reset(seed=s)` equals this environment under `reset(seed=s + i)` bit for bit.

    ## Version History
    * v0: observation version 1.
    """

    def __init__(
        self,
        *,
        tape: Tape | str | PathLike[str] | None = None,
        params: EnvParams | Mapping[str, Any] | None = None,
        latency_s: float | None = None,
        price_step: float | None = None,
        render_mode: str | None = None,
    ) -> None:
        params, self._track = _recorded(tape, params, latency_s, price_step)
        super().__init__(params=params, render_mode=render_mode)
        self._orders = np.zeros(self._track.order_rows)
        self._log = fill_log(self._track)

    def _start(self, options: dict[str, Any] | None) -> np.ndarray:
        return _starts(options, _OPTIONS, self.params, self._track, 1)

    def _begin(self, start: np.ndarray) -> None:
        reset_replay(self._memory, self._observation, start[0], start[1], start[2], self._orders, self._track)

    def _run(self, action: np.ndarray) -> tuple[float, bool]:
        return step_replay(self._memory, action, self._observation, self._orders, self._track, self._log)


class MarketMakingReplayVectorEnv(MarketMakingVectorEnv):
    """N environments of `MarketMakingReplayEnv`'s kind over one tape, stepped by one call into compiled code.

    Args:
        num_envs: N, at least 1.
        tape: As in the single environment.
        params: As in the single environment.
        latency_s: As in the single environment.
        price_step: As in the single environment.
        max_episode_steps: As in `MarketMakingVectorEnv`, and so the rest.
        render_mode: None.
        autoreset_mode: When episodes start anew.
        check_actions: Raise for actions outside [-1, 1].
        num_threads: Threads that share the batch.

    Raises:
        ValueError: An argument is outside its range; the message names it.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        tape: Tape | str | PathLike[str] | None = None,
        params: EnvParams | Mapping[str, Any] | None = None,
        latency_s: float | None = None,
        price_step: float | None = None,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        check_actions: bool = False,
        num_threads: int = 1,
    ) -> None:
        params, self._track = _recorded(tape, params, latency_s, price_step)
        super().__init__(
            num_envs,
            params=params,
            max_episode_steps=max_episode_steps,
            render_mode=render_mode,
            autoreset_mode=autoreset_mode,
            check_actions=check_actions,
            num_threads=num_threads,
        )
        self._orders = np.zeros(self._tiles * LANES * self._track.order_rows)

    def _start(self, options: dict[str, Any] | None, count: int) -> np.ndarray:
        return _starts(options, (*_OPTIONS, "reset_mask"), self.params, self._track, count)

    def _begin(self, lanes: np.ndarray, start: np.ndarray) -> None:
        batch.reset_replay_lanes(self._memory, lanes, start, self._tiles, self._turn, self._orders, self._track)

    def _kernel(self) -> tuple[Callable[..., int], tuple[Any, ...]]:
        return batch.step_replay_tiles, (self._orders, self._track)


def _recorded(
    tape: Tape | str | PathLike[str] | None,
    params: EnvParams | Mapping[str, Any] | None,
    latency_s: float | None,
    price_step: float | None,
) -> tuple[EnvParams, Track]:
    """Return the params and the tape made ready for them."""
    if tape is None:
        raise ValueError(
            'tape must be a Tape or the path of a recording: gym.make("MarketMakingReplay-v0", tape="capture.gz")'
        )
    if isinstance(tape, TapeFile):
        raise ValueError(
            "tape must be a Tape or the path of a recording, got a TapeFile: episodes start anywhere, so the rows must "
            f"be in memory: tape=read_tape({str(tape.path)!r})"
        )
    tape = tape if isinstance(tape, Tape) else read_tape(tape)
    if params is None:
        market = calibrate(tape)
        market = dataclasses.replace(market, horizon=min(market.horizon, _DEFAULT_HORIZON))
    else:
        market = as_params(params)
    if market.reward == "martingale_free":
        raise ValueError('reward must be "pnl" or "cara" on recorded ticks, where prices move against fills')
    latency = latency_of(market, latency_s)
    track = whole_track(tape, tick_s=market.tick_s, latency_s=latency, price_step=price_step).track
    ticks = len(track.ticks) - 1
    if market.horizon > ticks:
        raise ValueError(
            f"horizon must be at most the {ticks} ticks of {market.tick_s} s of the tape, got {market.horizon}"
        )
    return market, track


def _starts(
    options: dict[str, Any] | None, known: tuple[str, ...], params: EnvParams, track: Track, count: int
) -> np.ndarray:
    """Return (3, count) float64: tick of the tape (-1: to be drawn), ticks gone, inventory."""
    refuse_unknown_options(options, known)
    rest = start_states(options, params, count)
    first = np.full((1, count), -1.0)
    if options and "start" in options:
        last = len(track.ticks) - 1 - params.horizon
        wanted = np.asarray(options["start"])
        whole = np.issubdtype(wanted.dtype, np.integer)
        if not (whole and wanted.shape in ((), (count,)) and np.all((wanted >= 0) & (wanted <= last))):
            raise ValueError(f"options['start'] must be a whole number from 0 to {last}, got {options['start']!r}")
        first[0] = wanted
    return np.concatenate([first, rest])
