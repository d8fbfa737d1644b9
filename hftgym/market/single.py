"""One environment alone: the tick of the batch on one lane, in one float64 vector.

A numba call costs more than the tick itself, and each array argument adds to it: everything lies in one vector,
`[turn, parameters, fields, now, rings]`.
"""

import math

import numpy as np

from hftgym.market import layout as at
from hftgym.market.compile import formula, kernel
from hftgym.market.delay import clear_rings
from hftgym.market.lane import anchor_due, anchor_lane, reset_lane, unpack
from hftgym.market.layout import N_FIELDS, N_NOW, ORDER_ROWS, Params, pack, ring_sizes
from hftgym.market.passes import run_tick
from hftgym.market.replay import replay_pass, start_replay
from hftgym.observation import N_FEATURES
from hftgym.params import EnvParams

_PARAMS = 1
FIELDS_AT = _PARAMS + len(Params._fields)
_HALF_SPREAD = _PARAMS + Params._fields.index("half_spread")
_NOW_AT = FIELDS_AT + N_FIELDS
_RING_AT = _NOW_AT + N_NOW


def allocate(params: EnvParams) -> np.ndarray:
    """Return the memory of one environment, not yet reset."""
    memory = np.zeros(_RING_AT + sum(ring_sizes(params)), dtype=np.float64)
    memory[_PARAMS:FIELDS_AT] = pack(params)
    return memory


def set_seed(memory: np.ndarray, seed: int) -> None:
    """Key the draws with a 64-bit seed; the next reset starts episode 0."""
    memory[FIELDS_AT + at.SEED_LOW] = seed & 0xFFFFFFFF
    memory[FIELDS_AT + at.SEED_HIGH] = seed >> 32
    memory[FIELDS_AT + at.EPISODE] = -1.0


@formula
def parts_of(memory):
    """Return (Params, fields, scratch of one tick)."""
    return unpack(memory[_PARAMS:FIELDS_AT]), memory[FIELDS_AT:_NOW_AT], memory[_NOW_AT:_RING_AT]


@formula
def rings_of(memory, p):
    """Return (prices, decisions, market data, slots of decisions, slots of market data)."""
    sent, seen = int(p.latency_longest) + 1, int(p.data_latency) + 1
    first = _RING_AT + int(p.window)
    if p.late == 0.0:
        return memory[_RING_AT:], memory[first:], memory[first:], sent, seen
    middle = first + sent * ORDER_ROWS
    return memory[_RING_AT:first], memory[first:middle], memory[middle:], sent, seen


@formula
def start_single(memory, observation, mid, half_spread, ticks, inventory):
    """Start the next episode at a price and write the first observation."""
    p, f, _ = parts_of(memory)
    turn = int(memory[0])
    f[at.EPISODE] += 1.0
    reset_lane(f, 1, 0, p, mid, half_spread, ticks, inventory)
    prices, decisions, data, sent, seen = rings_of(memory, p)
    prices[turn % prices.size] = mid
    if p.late != 0.0:
        clear_rings(f, 1, 0, decisions, data, sent, seen)
    for i in range(N_FEATURES):
        observation[i] = f[at.FEATURE + i]


@formula
def turn_ring(memory, now, prices):
    """Move the rings on, fetch the two prices that the window needs, and return the number of the turn."""
    turn = int(memory[0]) + 1
    memory[0] = turn
    now[at.LEAVING] = prices[turn % prices.size]
    now[at.OLDEST] = prices[(turn + 1) % prices.size]
    return turn


@formula
def _read_action(now, action):
    now[at.ACTION_BID], now[at.ACTION_ASK] = action[0], action[1]
    if action.size == 4:
        now[at.ACTION_BID_SIZE], now[at.ACTION_ASK_SIZE] = action[2], action[3]


@formula
def finish_tick(f, prices, turn, observation):
    """Keep the new price, measure the sums anew when that is due, and write the observation."""
    head = turn % prices.size
    prices[head] = f[at.MID]
    if anchor_due(f, 1, 0, prices.size):
        anchor_lane(f, 1, 0, prices, head, prices.size)
    for i in range(N_FEATURES):
        observation[i] = f[at.FEATURE + i]


@kernel
def reset_single(memory, observation, ticks, inventory):
    """Start the next episode and write its first observation."""
    mid = memory[_PARAMS]
    start_single(memory, observation, mid, mid * memory[_HALF_SPREAD], ticks, inventory)


@formula
def _step(memory, action, observation, full):
    """Run one tick; write the observation and return (reward, terminated). NaN reward: an action is not in [-1, 1]."""
    for i in range(action.size):
        if not abs(action[i]) <= 1.0:
            return math.nan, False
    p, f, now = parts_of(memory)
    prices, decisions, data, sent, seen = rings_of(memory, p)
    turn = turn_ring(memory, now, prices)
    _read_action(now, action)
    run_tick(f, now, 1, p, (decisions, data, sent, seen), turn, full)
    finish_tick(f, prices, turn, observation)
    return now[at.REWARD], now[at.TERMINATED] != 0.0


@kernel
def step_single(memory, action, observation):
    """Run one tick where `Params.full` is 0; see `_step`."""
    return _step(memory, action, observation, None)


@kernel
def step_full_single(memory, action, observation):
    """Run one tick with everything that parameters can ask for; see `_step`."""
    return _step(memory, action, observation, True)


@kernel
def reset_replay(memory, observation, start, ticks, inventory, orders, track):
    """Start the next episode on a recorded market: at tick `start`, or at a drawn one if that is negative."""
    p, f, _ = parts_of(memory)
    start_replay(f, orders, 1, 0, p, track, start, ticks, inventory)
    prices, _, _, _, _ = rings_of(memory, p)
    prices[int(memory[0]) % prices.size] = f[at.MID]
    for i in range(N_FEATURES):
        observation[i] = f[at.FEATURE + i]


@kernel
def step_replay(memory, action, observation, orders, track, log):
    """Run one tick on a recorded market and write every fill into `log` (`replay.LOG_COLUMNS`); see `_step`."""
    log[0, 0] = 0.0
    for i in range(action.size):
        if not abs(action[i]) <= 1.0:
            return math.nan, False
    p, f, now = parts_of(memory)
    prices, _, _, _, _ = rings_of(memory, p)
    turn = turn_ring(memory, now, prices)
    _read_action(now, action)
    replay_pass(f, now, orders, 1, 0, p, track, turn, log)
    finish_tick(f, prices, turn, observation)
    return now[at.REWARD], now[at.TERMINATED] != 0.0
