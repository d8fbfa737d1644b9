"""The inner loops of the exact recursion: values backwards in time, and the best pair of quotes of one tick.

The formulas are derived in `hftgym.policies.recursion`; everything here is in half-spreads.
"""

import math
from typing import NamedTuple

import numpy as np

from hftgym.market.compile import formula, kernel


class Flow(NamedTuple):
    """Market orders as the recursion needs them."""

    linear: bool
    log_intensity: float  # ln A
    decay: float  # kappa per half-spread
    low: float  # range of resting offsets
    high: float


class Side(NamedTuple):
    """What a fill on one side earns in half-spreads: `slope` times the offset plus `base` resting, `cross` crossing."""

    slope: float
    base: float
    cross: float


@kernel
def evaluate(bid_fill, bid_gain, ask_fill, ask_gain, penalty, value):
    """Fill `value` from its last row backwards, for given fill probabilities and gains."""
    columns = value.shape[1]
    limit = columns // 2
    carried = np.empty(columns)
    for t in range(value.shape[0] - 2, -1, -1):
        row = t if bid_fill.shape[0] > 1 else 0
        ask_row = t if ask_fill.shape[0] > 1 else 0
        for j in range(columns):
            carried[j] = value[t + 1, j] - penalty * (j - limit) ** 2
        for j in range(columns):
            up = carried[j + 1] - carried[j] if j + 1 < columns else 0.0
            down = carried[j - 1] - carried[j] if j > 0 else 0.0
            b, a = bid_fill[row, j], ask_fill[ask_row, j]
            earned = b * (bid_gain[row, j] + up) + a * (ask_gain[ask_row, j] + down)
            value[t, j] = carried[j] + earned - a * b * (up + down)


@formula
def _fill_probability(offset, flow):
    intensity = math.exp(flow.log_intensity - flow.decay * offset)
    if flow.linear:
        return min(1.0, intensity)
    return -math.expm1(-intensity)


@formula
def _best_resting(extra, slope, flow):
    """Return the offset in [low, high] that maximises p(offset) (slope offset + extra).

    The objective has one hump, so the free maximum is limited to the range. Poisson: with x = A exp(-kappa offset) the
    condition of the maximum is ln x + expm1(x) / x = c, c = ln A + kappa extra / slope. The left side is convex and
    rising in u = ln x, so Newton's method from above the root descends to it without a safeguard.
    """
    if flow.log_intensity == -math.inf:
        return flow.high
    if flow.linear:
        free = max(1.0 / flow.decay - extra / slope, flow.log_intensity / flow.decay)
    else:
        c = flow.log_intensity + flow.decay * extra / slope
        # expm1(x) / x is at least 1, and at least exp(x / 2): two bounds above the root.
        u = c - 1.0
        if c > math.e:
            u = min(u, math.log(2.0 * math.log(c)))
        step = 1.0
        while step > 1e-9 * max(1.0, abs(u)):
            x = math.exp(u)
            ratio = math.expm1(x) / x if x > 1e-300 else 1.0
            step = (u + ratio - c) / (1.0 + math.exp(x) - ratio)
            u -= step
        free = (flow.log_intensity - u) / flow.decay
    return min(max(free, flow.low), flow.high)


@formula
def _respond(other, change, bend, side, flow, allowed):
    """Return one side's best (offset, probability, gain per fill) when the other side fills with probability `other`.

    `change` is the value of the unit that a fill moves, and `bend` = U + D what both fills together take back.
    """
    if not allowed:
        return math.inf, 0.0, 0.0
    moved = change - other * bend
    offset = _best_resting(side.base + moved, side.slope, flow)
    probability = _fill_probability(offset, flow)
    gain = side.slope * offset + side.base
    best = probability * (gain + moved)
    if not best > 0.0:
        offset, probability, gain, best = math.inf, 0.0, 0.0, 0.0
    if side.cross + moved > best:
        offset, probability, gain = -1.0, 1.0, side.cross
    return offset, probability, gain


@formula
def _same(x, y):
    return (x == y) | (abs(x - y) < 1e-9)


@formula
def _ascend(a, up, down, bid, ask, flow, can_buy, can_sell):
    """Return (bid offset, ask offset, gain) once each side answers the other best, from an ask that fills with a.

    A bid that stays where it was gets the same answer again.
    """
    bid_offset = ask_offset = math.nan
    gain = 0.0
    for _ in range(60):
        bid_before = bid_offset
        bid_offset, b, bid_gain = _respond(a, up, up + down, bid, flow, can_buy)
        ask_offset, a, ask_gain = _respond(b, down, up + down, ask, flow, can_sell)
        gain = b * (bid_gain + up) + a * (ask_gain + down) - a * b * (up + down)
        if _same(bid_offset, bid_before):
            break
    return bid_offset, ask_offset, gain


@formula
def _best_pair(up, down, bid, ask, flow, can_buy, can_sell):
    """Return the (bid offset, ask offset, gain) that maximise the gain of one tick.

    The two probabilities enter with one product, so a larger one always moves the other's best answer the same way:
    answering in turn from no ask and from a sure ask ends in the two outermost pairs of mutual best answers. If they
    are one, it is the maximum. If not (a heavy penalty, a large taker rebate), asks between them are tried: answering
    never loses, so the nearest one to the maximum comes out above or within the square of its distance.
    """
    best = _ascend(0.0, up, down, bid, ask, flow, can_buy, can_sell)
    for start in range(1, 102):
        other = _ascend((102.0 - start) / 101.0, up, down, bid, ask, flow, can_buy, can_sell)
        if (start == 1) & _same(best[0], other[0]):
            return best
        if other[2] > best[2]:
            best = other
    return best


@kernel
def optimise(bid, ask, flow, penalty, value, bid_offset, ask_offset):
    """Fill the tables from the last tick backwards."""
    columns = value.shape[1]
    limit = columns // 2
    carried = np.empty(columns)
    for t in range(value.shape[0] - 2, -1, -1):
        for j in range(columns):
            carried[j] = value[t + 1, j] - penalty * (j - limit) ** 2
        for j in range(columns):
            can_buy, can_sell = j + 1 < columns, j > 0
            up = carried[j + 1] - carried[j] if can_buy else 0.0
            down = carried[j - 1] - carried[j] if can_sell else 0.0
            bid_offset[t, j], ask_offset[t, j], gain = _best_pair(up, down, bid, ask, flow, can_buy, can_sell)
            value[t, j] = carried[j] + gain


@kernel
def optimise_tick(carried, bid, ask, flow, value, bid_offset, ask_offset):
    """Fill the tables of one tick, all (2Q + 1, n): n problems that differ in the values `carried` out of the tick."""
    columns, problems = carried.shape
    for j in range(columns):
        can_buy, can_sell = j + 1 < columns, j > 0
        for i in range(problems):
            up = carried[j + 1, i] - carried[j, i] if can_buy else 0.0
            down = carried[j - 1, i] - carried[j, i] if can_sell else 0.0
            bid_offset[j, i], ask_offset[j, i], gain = _best_pair(up, down, bid, ask, flow, can_buy, can_sell)
            value[j, i] = carried[j, i] + gain
