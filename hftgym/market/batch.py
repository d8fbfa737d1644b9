"""Many environments: the same tick over tiles of 64, in the layout that LLVM vectorises.

Memory is one float64 vector: the packed parameters, then all tiles `[tile][FIELD][64]`, then for each tile its rings:
prices `[window][64]`, and with latency decisions `[slot][row][64]` and market data likewise. All rings turn together,
although the environments reset at different times: one that is younger than a ring ignores what lies in the slots it
has not written. Slices are taken per tile, so that every offset inside is a constant of the compiler; without that,
nothing vectorises.
"""

import math

import numpy as np

from hftgym.market import layout as at
from hftgym.market.compile import formula, kernel
from hftgym.market.delay import clear_rings
from hftgym.market.lane import (
    anchor_add,
    anchor_due,
    anchor_lane,
    anchor_start,
    reset_lane,
    ring_slot,
    unpack,
)
from hftgym.market.layout import DATA_ROWS, LANES, N_FIELDS, N_NOW, ORDER_ROWS, Params, pack, ring_sizes
from hftgym.market.passes import run_tick
from hftgym.market.replay import replay_pass, start_replay
from hftgym.observation import N_FEATURES
from hftgym.params import EnvParams

_PARAMS_SIZE = 64
_TILE = N_FIELDS * LANES
if N_FEATURES != 8:  # not an assert, which -O would drop: the batch would return what happened to lie in memory
    raise RuntimeError(f"write_outputs writes 8 features one by one, and there are {N_FEATURES}: add the new one there")
_ALIGNMENT = 64  # bytes: one cache line, one AVX-512 register


def allocate(params: EnvParams, num_envs: int, *, max_steps: float = math.inf) -> np.ndarray:
    """Return the aligned memory of `num_envs` environments, not yet reset."""
    tiles = -(-num_envs // LANES)
    size = _PARAMS_SIZE + tiles * (_TILE + sum(ring_sizes(params)) * LANES)
    raw = np.zeros(size + _ALIGNMENT // 8, dtype=np.float64)
    first = (-raw.ctypes.data % _ALIGNMENT) // 8
    memory = raw[first : first + size]
    memory[: len(Params._fields)] = pack(params, max_steps=max_steps)
    # Lanes past num_envs are computed too: let them start as sane markets.
    reset_lanes(memory, np.arange(tiles * LANES), np.zeros((2, tiles * LANES)), tiles, 0)
    return memory


def fields(memory: np.ndarray, num_envs: int) -> np.ndarray:
    """Return a view of all fields, shape (tiles, FIELD, 64)."""
    tiles = -(-num_envs // LANES)
    return memory[_PARAMS_SIZE : _PARAMS_SIZE + tiles * _TILE].reshape(tiles, N_FIELDS, LANES)


@formula
def rings(memory, tile, tiles, p):
    """Return the rings of one tile: (prices, decisions, market data, slots of decisions, slots of market data)."""
    window = int(p.window)
    sent, seen = int(p.latency_longest) + 1, int(p.data_latency) + 1
    sent_size, seen_size = sent * ORDER_ROWS * LANES, seen * DATA_ROWS * LANES
    if p.late == 0.0:
        sent_size, seen_size = 0, 0
    begin = _PARAMS_SIZE + tiles * _TILE + tile * (window * LANES + sent_size + seen_size)
    prices = memory[begin : begin + window * LANES]
    begin += window * LANES
    decisions = memory[begin : begin + sent_size]
    begin += sent_size
    return prices, decisions, memory[begin : begin + seen_size], sent, seen


@kernel
def reset_lanes(memory, lanes, start, tiles, turn):
    """Start the next episode in the given environments; `start` holds (ticks gone, inventory) of each."""
    p = unpack(memory)
    head = turn % int(p.window)
    for i in range(lanes.size):
        tile, lane = lanes[i] // LANES, lanes[i] % LANES
        first = _PARAMS_SIZE + tile * _TILE
        f = memory[first : first + _TILE]
        f[at.EPISODE * LANES + lane] += 1.0
        reset_lane(f, LANES, lane, p, p.initial_price, p.initial_price * p.half_spread, start[0, i], start[1, i])
        prices, decisions, data, sent, seen = rings(memory, tile, tiles, p)
        prices[head * LANES + lane] = p.initial_price
        if p.late != 0.0:
            clear_rings(f, LANES, lane, decisions, data, sent, seen)


@kernel
def reset_replay_lanes(memory, lanes, start, tiles, turn, orders, track):
    """Start the next episode on a recorded market; `start` holds (tick of the tape, ticks gone, inventory) of each."""
    p = unpack(memory)
    head = turn % int(p.window)
    for i in range(lanes.size):
        tile, lane = lanes[i] // LANES, lanes[i] % LANES
        first = _PARAMS_SIZE + tile * _TILE
        f = memory[first : first + _TILE]
        o = orders[tile * track.order_rows * LANES :][: track.order_rows * LANES]
        start_replay(f, o, LANES, lane, p, track, start[0, i], start[1, i], start[2, i])
        prices, _, _, _, _ = rings(memory, tile, tiles, p)
        prices[head * LANES + lane] = f[at.MID * LANES + lane]


@kernel
def write_observations(memory, lanes, observations):
    """Copy the features of the given environments into their rows."""
    for i in range(lanes.size):
        first = _PARAMS_SIZE + (lanes[i] // LANES) * _TILE + lanes[i] % LANES
        for k in range(N_FEATURES):
            observations[lanes[i], k] = memory[first + (at.FEATURE + k) * LANES]


@formula
def read_inputs(now, newest, oldest, actions, first, count):
    """Bring the actions and the two ring rows that this tick needs into the tile."""
    for lane in range(LANES):
        now[at.LEAVING * LANES + lane] = newest[lane]
        now[at.OLDEST * LANES + lane] = oldest[lane]
    for lane in range(count):
        now[at.ACTION_BID * LANES + lane] = actions[first + lane, 0]
        now[at.ACTION_ASK * LANES + lane] = actions[first + lane, 1]
    if actions.shape[1] == 4:
        for lane in range(count):
            now[at.ACTION_BID_SIZE * LANES + lane] = actions[first + lane, 2]
            now[at.ACTION_ASK_SIZE * LANES + lane] = actions[first + lane, 3]


@formula
def write_outputs(f, now, newest, first, count, observations, rewards, flags):
    """Copy what the caller sees, and the new price into the ring."""
    for lane in range(LANES):
        newest[lane] = f[at.MID * LANES + lane]
    for lane in range(count):
        row = observations[first + lane]
        # Written out, because a loop here costs 7 % of the whole step.
        row[0] = f[(at.FEATURE + 0) * LANES + lane]
        row[1] = f[(at.FEATURE + 1) * LANES + lane]
        row[2] = f[(at.FEATURE + 2) * LANES + lane]
        row[3] = f[(at.FEATURE + 3) * LANES + lane]
        row[4] = f[(at.FEATURE + 4) * LANES + lane]
        row[5] = f[(at.FEATURE + 5) * LANES + lane]
        row[6] = f[(at.FEATURE + 6) * LANES + lane]
        row[7] = f[(at.FEATURE + 7) * LANES + lane]
    ended = 0.0
    for lane in range(count):
        rewards[first + lane] = now[at.REWARD * LANES + lane]
        flags[0, first + lane] = now[at.TERMINATED * LANES + lane] != 0.0
        flags[1, first + lane] = now[at.TRUNCATED * LANES + lane] != 0.0
        ended += now[at.TERMINATED * LANES + lane] + now[at.TRUNCATED * LANES + lane]
    return ended


@formula
def anchor_tile(f, ring, head, window):
    """Measure the sums anew in the lanes that have reached a multiple of the window."""
    due = 0
    for lane in range(LANES):
        due += 1 if anchor_due(f, LANES, lane, window) else 0
    if due == LANES:
        # The loop over lanes is the inner one here, because that is the one that vectorises.
        for lane in range(LANES):
            anchor_start(f, LANES, lane)
        before = ring_slot(head, 0, window)
        for k in range(window):
            slot = ring_slot(head, k, window)
            prices, prices_before = ring[slot * LANES :][:LANES], ring[before * LANES :][:LANES]
            for lane in range(LANES):
                anchor_add(f, LANES, lane, prices[lane], prices_before[lane])
            before = slot
    elif due > 0:
        for lane in range(LANES):
            if anchor_due(f, LANES, lane, window):
                anchor_lane(f, LANES, lane, ring, head, window)


@formula
def run_tiles(memory, first_tile, last_tile, tiles, turn, actions, observations, rewards, flags, full, recorded):
    """Run one tick of all environments in the tiles [first_tile, last_tile).

    Args:
        memory: From `allocate`.
        first_tile: First tile to run.
        last_tile: One past the last.
        tiles: All tiles in memory.
        turn: Ticks that the memory has run, this one included: where the rings stand.
        actions: float32 (num_envs, 2 or 4); limited to [-1, 1], a NaN withdraws.
        observations: float32 (num_envs, 8), written.
        rewards: float64 (num_envs,), written.
        flags: bool (2, num_envs): terminated and truncated, written.
        full: None for the plain form of the tick.
        recorded: None, or (orders of all tiles, Track): a tape, whose market takes the place of the simulated one.

    Returns:
        How many environments ended.
    """
    num_envs = rewards.size
    p = unpack(memory)
    window = int(p.window)
    head, after = turn % window, (turn + 1) % window
    ended = 0.0
    scratch = np.empty(N_NOW * LANES + _ALIGNMENT // 8)
    lead = (-scratch.ctypes.data % _ALIGNMENT) // 8
    now = scratch[lead : lead + N_NOW * LANES]
    for tile in range(first_tile, last_tile):
        start = _PARAMS_SIZE + tile * _TILE
        f = memory[start : start + _TILE]
        prices, decisions, data, sent, seen = rings(memory, tile, tiles, p)
        newest = prices[head * LANES : head * LANES + LANES]
        oldest = prices[after * LANES : after * LANES + LANES]
        first = tile * LANES
        count = min(LANES, num_envs - first)
        read_inputs(now, newest, oldest, actions, first, count)
        if recorded is None:
            run_tick(f, now, LANES, p, (decisions, data, sent, seen), turn, full)
        else:
            orders, track = recorded
            o = orders[tile * track.order_rows * LANES :][: track.order_rows * LANES]
            for lane in range(count):
                replay_pass(f, now, o, LANES, lane, p, track, turn, None)
        ended += write_outputs(f, now, newest, first, count, observations, rewards, flags)
        anchor_tile(f, prices, head, window)
    return int(ended)


@kernel
def step_tiles(memory, first_tile, last_tile, tiles, turn, actions, observations, rewards, flags):
    """Run one tick where `Params.full` is 0; see `run_tiles`."""
    return run_tiles(memory, first_tile, last_tile, tiles, turn, actions, observations, rewards, flags, None, None)


@kernel
def step_full_tiles(memory, first_tile, last_tile, tiles, turn, actions, observations, rewards, flags):
    """Run one tick with everything that parameters can ask for; see `run_tiles`."""
    return run_tiles(memory, first_tile, last_tile, tiles, turn, actions, observations, rewards, flags, True, None)


@kernel
def step_replay_tiles(memory, first_tile, last_tile, tiles, turn, actions, observations, rewards, flags, orders, track):
    """Run one tick on a recorded market; see `run_tiles`."""
    recorded = (orders, track)
    return run_tiles(memory, first_tile, last_tile, tiles, turn, actions, observations, rewards, flags, None, recorded)
