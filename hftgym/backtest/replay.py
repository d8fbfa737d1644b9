"""Any policy on a recorded tape, tick by tick, through the account and the observation of the simulator."""

import dataclasses
from typing import Any

import numpy as np

from hftgym.backtest.result import Backtest, Fills
from hftgym.market import layout as at
from hftgym.market import replay
from hftgym.market.layout import N_INFO
from hftgym.market.single import FIELDS_AT, allocate, reset_replay, step_replay
from hftgym.observation import N_FEATURES
from hftgym.params import EnvParams
from hftgym.policies.base import checked_action
from hftgym.tape.calibration import calibrate
from hftgym.tape.parquet import TapeFile
from hftgym.tape.track import Clock, Stretch, clock_of, latency_of, stretches
from hftgym.tape.types import Tape


def backtest(
    policy: Any,
    tape: Tape | TapeFile,
    params: EnvParams | None = None,
    *,
    latency_s: float | None = None,
    price_step: float | None = None,
) -> Backtest:
    """Play a policy over a tape and return its path and its fills.

    At the start of every tick of `params.tick_s` seconds the policy sees the last quotes received and quotes. Its
    orders are rounded away from the mid to the price grid and reach the market `latency_s` later; there they replace
    the resting ones, except that an order at an unchanged price keeps its place in the queue with what is left of it.

    An order that arrives at or beyond the opposite best price takes what is shown there, and its rest is cancelled. A
    resting order joins behind the size shown at its price. Trades at its price use up what stands before it and then
    fill it; a trade through its price fills it up to the trade's size; an opposite best price that reaches it fills it.
    Cancellations are taken to come from behind, but the queue before it is never longer than what is shown.

    Own orders change nothing in the recorded market: what was taken stays there, nobody reacts, and one size shown may
    be taken again. The path ends with the tape, with `params.horizon`, or with ruin.

    Args:
        policy: Anything with SB3's `predict(observation, state, episode_start, deterministic) -> (action, state)`. One
            that names no sizes trades the full size where the market has sized actions.
        tape: The recorded quotes and trades, in memory or (`open_tape`) on disk; memory grows with the ticks and fills.
        params: The market as the policy is to see it; if None calibrated from the tape, whose market orders are
            then held. Fees, limits, sizes, penalties and the horizon count; prices and order flow are the tape's.
        latency_s: Seconds from a decision to its arrival in the market, on the clock of the recorder: the way of the
            data here and the way of the order there. `params.order_latency` ticks if None.
        price_step: The price grid; the tape's if None, 0 for none.

    Raises:
        ValueError: The tape is shorter than one tick, an argument is outside its range, or the policy returned
            something else than an action.
    """
    params = params or calibrate(tape)
    clock = clock_of(tape, tick_s=params.tick_s, latency_s=latency_of(params, latency_s))
    count = min(clock.ticks_until(tape.quoted_ns[1]), params.horizon)
    run = _Run(policy, dataclasses.replace(params, horizon=count), clock)
    for stretch in stretches(tape, clock, price_step=price_step):
        if not run.over(stretch):
            break
    return run.result(params)


class _Run:
    """One policy on its way over a tape, stretch by stretch."""

    def __init__(self, policy: Any, params: EnvParams, clock: Clock) -> None:
        self._policy, self._clock = policy, clock
        self._params = params
        self._memory = allocate(params)
        self._observation = np.zeros(N_FEATURES, dtype=np.float32)
        self._orders = np.zeros(0)
        self._state: Any = None
        self._done = 0
        self._count = params.horizon
        self._account = np.zeros((params.horizon + 1, N_INFO))
        self._rewards = np.zeros(params.horizon)
        self._quoted = np.zeros((2, params.horizon))
        self._fills: list[np.ndarray] = []

    def over(self, stretch: Stretch) -> bool:
        """Play a stretch and return whether there is more to play."""
        track = stretch.track
        if self._done == 0:
            self._orders = np.zeros(track.order_rows)
            reset_replay(self._memory, self._observation, 0.0, 0.0, 0.0, self._orders, track)
            self._account[0] = self._memory[FIELDS_AT : FIELDS_AT + N_INFO]
        self._orders[replay.CURSOR] = 0.0
        log = replay.fill_log(track)
        account = self._memory[FIELDS_AT : FIELDS_AT + N_INFO]
        for _ in range(min(len(track.ticks) - 1, self._count - self._done)):
            k = self._done
            action = self._decide()
            reward, terminated = step_replay(self._memory, action, self._observation, self._orders, track, log)
            self._account[k + 1], self._rewards[k] = account, reward
            self._quoted[:, k] = self._orders[replay.QUOTED_BID : replay.QUOTED_ASK + 1]
            if log[0, 0] > 0:
                self._keep(log, stretch)
            self._done += 1
            if terminated:
                return False
        return True

    def _decide(self) -> np.ndarray:
        start = np.array([self._done == 0])
        action, self._state = self._policy.predict(
            self._observation.copy(), state=self._state, episode_start=start, deterministic=True
        )
        return checked_action(action, self._params, name=type(self._policy).__name__)

    def _keep(self, log: np.ndarray, stretch: Stretch) -> None:
        """Copy the fills of this tick, with the numbers of their events replaced by times."""
        rows = log[1 : int(log[0, 0]) + 1].copy()
        arrival = self._clock.arrivals_ns(self._clock.times_ns(self._done, self._done))[0]
        event = rows[:, 1].astype(np.int64)
        since_first = np.where(event < 0, arrival, stretch.received_ns[event]) - self._clock.first_ns
        rows[:, 1] = since_first  # exact in float64 up to 104 days
        self._fills.append(rows)

    def result(self, params: EnvParams) -> Backtest:
        """Return what came of it."""
        n = self._done
        account = self._account[: n + 1]
        return Backtest(
            params=params,
            time_s=(self._clock.times_ns(0, n) - self._clock.first_ns) * 1e-9,
            mid=account[:, at.MID].copy(),
            bid=account[:, at.BID].copy(),
            ask=account[:, at.ASK].copy(),
            inventory=account[:, at.INVENTORY].copy(),
            cash=account[:, at.CASH].copy(),
            equity=account[:, at.EQUITY].copy(),
            fill_bid=account[1:, at.FILL_BID].copy(),
            fill_ask=account[1:, at.FILL_ASK].copy(),
            quoted_bid=self._quoted[0, :n].copy(),
            quoted_ask=self._quoted[1, :n].copy(),
            spread_capture=account[1:, at.SPREAD_CAPTURE].copy(),
            inventory_pnl=account[1:, at.INVENTORY_PNL].copy(),
            fees=account[1:, at.FEES].copy(),
            reward=self._rewards[:n].copy(),
            fills=_fills(self._fills, self._clock),
        )


def _fills(pieces: list[np.ndarray], clock: Clock) -> Fills:
    rows = np.concatenate(pieces) if pieces else np.empty((0, len(replay.LOG_COLUMNS)))
    column = {name: rows[:, i].copy() for i, name in enumerate(replay.LOG_COLUMNS)}
    time_ns = clock.first_ns + column["event"].astype(np.int64)
    joined_ns = clock.arrivals_ns(clock.first_ns + np.round(column["joined"] * (clock.tick_s * 1e9)).astype(np.int64))
    return Fills(
        tick=column["tick"].astype(np.int64),
        time_ns=time_ns,
        side=column["side"].astype(np.int8),
        price=column["price"],
        size=column["size"],
        fee=column["fee"],
        mid=column["mid"],
        reason=column["reason"].astype(np.int8),
        ahead=column["ahead"],
        waited_s=(time_ns - joined_ns) * 1e-9,
    )
