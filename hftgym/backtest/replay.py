"""Any policy on a recorded tape, tick by tick, through the same tick and the same observation as in the simulator."""

import dataclasses
from typing import Any

import numpy as np

from hftgym.backtest.result import Backtest
from hftgym.market import layout as at
from hftgym.market.layout import N_INFO
from hftgym.market.single import FIELDS_AT, allocate, reset_recorded, step_recorded
from hftgym.observation import N_FEATURES
from hftgym.params import EnvParams
from hftgym.tape.measure import measured_params, quotes_at, tick_times
from hftgym.tape.types import Tape


def backtest(policy: Any, tape: Tape, params: EnvParams | None = None) -> Backtest:
    """Play a policy over a tape and return its path.

    At the start of every tick of `params.tick_s` seconds the policy sees the last quotes received and quotes for one
    unit a side. A crossing quote executes at the opposite touch. A resting quote is filled if during the tick a trade
    goes through it, at a price strictly worse than its own: at the same price it would have stood behind the queue.
    Own orders change nothing in the recorded market; there is no latency and no rounding to the price grid.

    Args:
        policy: Anything with SB3's `predict(observation, state, episode_start, deterministic) -> (action, state)`.
        tape: The recorded quotes and trades.
        params: The market as the policy is to see it; measured from the tape if None. Its horizon limits the ticks.

    Raises:
        ValueError: The tape is shorter than one tick, or the policy returned something else than (bid, ask).
    """
    params = params or measured_params(tape)
    times = tick_times(tape, params.tick_s)[: params.horizon + 1]
    markets, mid, bid, ask = _markets(tape, times)
    count = len(markets)
    memory = allocate(dataclasses.replace(params, horizon=count))
    observation = np.zeros(N_FEATURES, dtype=np.float32)
    reset_recorded(memory, observation, mid[0], markets[0, 0])
    account = memory[FIELDS_AT : FIELDS_AT + N_INFO]
    log, rewards = np.zeros((count + 1, N_INFO)), np.zeros(count)
    log[0] = account
    state, start = None, np.ones(1, dtype=bool)
    for k in range(count):
        action, state = policy.predict(observation.copy(), state=state, episode_start=start, deterministic=True)
        start = np.zeros(1, dtype=bool)
        rewards[k], _ = step_recorded(memory, _checked(action, policy), observation, markets[k])
        log[k + 1] = account
    return Backtest(
        params=params,
        time_s=(times - times[0]) * 1e-9,
        mid=mid,
        bid=bid,
        ask=ask,
        inventory=log[:, at.INVENTORY].copy(),
        cash=log[:, at.CASH].copy(),
        equity=log[:, at.EQUITY].copy(),
        fill_bid=log[1:, at.FILL_BID].copy(),
        fill_ask=log[1:, at.FILL_ASK].copy(),
        spread_capture=log[1:, at.SPREAD_CAPTURE].copy(),
        inventory_pnl=log[1:, at.INVENTORY_PNL].copy(),
        fees=log[1:, at.FEES].copy(),
        reward=rewards,
    )


def _markets(tape: Tape, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the recorded `Market` of every tick, float64 (n, 5), and mid, bid, ask at the tick times (n + 1,)."""
    bid, ask = quotes_at(tape, times)
    mid, half = (bid + ask) / 2, (ask - bid) / 2
    received = np.maximum.accumulate(tape.trades.local_ns)
    low, high = np.full(len(times) - 1, np.inf), np.full(len(times) - 1, -np.inf)
    tick = np.searchsorted(times, received, side="left") - 1  # a trade at a tick's own time belongs to the tick before
    inside = (tick >= 0) & (tick < len(low))
    price, seller = tape.trades.price, tape.trades.taker_side < 0
    np.minimum.at(low, tick[inside & seller], price[inside & seller])
    np.maximum.at(high, tick[inside & ~seller], price[inside & ~seller])
    # Strictly through: the nearest price that a trade at the extreme has passed.
    low, high = np.nextafter(low, np.inf), np.nextafter(high, -np.inf)
    return np.column_stack([half[:-1], low, high, mid[1:], half[1:]]), mid, bid, ask


def _checked(action: Any, policy: Any) -> np.ndarray:
    action = np.asarray(action, dtype=np.float64)
    if action.shape != (2,) or not (np.abs(action) <= 1).all():
        raise ValueError(f"{type(policy).__name__} must return two numbers in [-1, 1] (bid, ask), got {action}")
    return action
