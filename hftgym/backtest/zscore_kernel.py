"""The inner loops of the z-score backtest: windows, orders and account of a path, many strips of it abreast.

A path is cut into strips of `window` ticks. Strips lie side by side in lanes, `[row][lane]`, so that every loop over the
lanes vectorises, even where one tick depends on the one before:

- **windows**: a window that ends in row j of a strip is the strip's own prices up to j and the last ones of the strip
  before it. Both sums are measured from the strip's first price, which is in every one of these windows: no error can
  gather, and a window of equal prices has exactly no variance (van Herk's algorithm, on prices less an anchor);
- **inventory**: a strip maps the inventory x at its start to min(max(x + shift, low), high) at its end, where low and
  high are where the two limits would end; so the starts of all strips are known before any is played;
- **cash**: summed within the strip, then added to what there was at its start.
"""

import math
from typing import NamedTuple

import numpy as np

from hftgym.market.compile import formula, kernel

# Strips abreast. Fewer are unrolled by LLVM instead of vectorised; more leave the cache.
LANES = 32
_WIDTH = LANES + 8  # of a row of prices: the strips and the one before them, full cache lines
# Prices whose squares neither overflow nor lose digits, whatever they are multiplied by here.
LOWEST, HIGHEST = 1e-100, 1e100


class Rule(NamedTuple):
    """The rule and its costs, ready for the kernel."""

    window: int
    entry: float  # least |z| that is no trade
    per_deviation: float  # units per |z|; 0 trades one unit
    limit: float
    cash: float  # at the start
    ask: float  # best ask / price
    bid: float
    fee: float  # share of the value


class Paths(NamedTuple):
    """The results, each (paths, n)."""

    zscore: np.ndarray
    signal: np.ndarray
    inventory: np.ndarray
    cash: np.ndarray
    equity: np.ndarray


@formula
def wanted(z, entry, per_deviation):
    """Return the units that the rule asks for at this z-score: above 0 to buy, below 0 to sell."""
    distance = abs(z)
    size = float(int(per_deviation * distance)) if per_deviation > 0.0 else 1.0
    size = size if distance > entry else 0.0
    return size if z < 0.0 else -size


@formula
def limited(x, low, high):
    """Return x limited to [low, high]."""
    x = x if x < high else high
    return x if x > low else low


@formula
def paid(traded, price, rule):
    """Return what `traded` units cost at this mid price, fee included; negative is earned."""
    value = traded * (price * (rule.ask if traded > 0.0 else rule.bid))
    return value + abs(value) * rule.fee


@formula
def count_bad(prices):
    """Return how many prices are NaN or outside [LOWEST, HIGHEST]."""
    bad = 0
    for i in range(len(prices)):
        bad += 0 if (prices[i] >= LOWEST) & (prices[i] <= HIGHEST) else 1
    return bad


@formula
def turn(span, window, lanes, col):
    """Lay `lanes` + 1 strips side by side; the first one comes before the strips that are to be played."""
    for j in range(window):
        row = col[j * _WIDTH : (j + 1) * _WIDTH]
        for k in range(lanes + 1):
            row[k] = span[k * window + j]


@formula
def sum_before(window, lanes, col, lane, tail, tail2):
    """Fill row j of `tail` with the sums over the rows after j of the strip before, from this strip's first price."""
    anchor, total, total2 = lane[0, :lanes], lane[1, :lanes], lane[2, :lanes]
    for k in range(lanes):
        anchor[k] = col[1 + k]
        total[k] = 0.0
        total2[k] = 0.0
    for i in range(window):
        j = window - 1 - i
        row = col[j * _WIDTH : (j + 1) * _WIDTH]
        out, out2 = tail[j * lanes : (j + 1) * lanes], tail2[j * lanes : (j + 1) * lanes]
        for k in range(lanes):
            out[k] = total[k]
            out2[k] = total2[k]
            x = row[k] - anchor[k]
            total[k] += x
            total2[k] += x * x


@formula
def score(window, lanes, col, lane, tail, tail2, z):
    """Fill `z` with the z-scores: window sums from the strip's own prices and `tail`."""
    anchor, total, total2 = lane[0, :lanes], lane[1, :lanes], lane[2, :lanes]
    size = float(window)
    for k in range(lanes):
        total[k] = 0.0
        total2[k] = 0.0
    for j in range(window):
        row = col[j * _WIDTH + 1 : (j + 1) * _WIDTH]
        before, before2 = tail[j * lanes : (j + 1) * lanes], tail2[j * lanes : (j + 1) * lanes]
        out = z[j * lanes : (j + 1) * lanes]
        for k in range(lanes):
            x = row[k] - anchor[k]
            own = total[k] + x
            own2 = total2[k] + x * x
            total[k] = own
            total2[k] = own2
            both = own + before[k]
            variance = size * (own2 + before2[k]) - both * both  # times window^2
            out[k] = (size * x - both) / math.sqrt(variance) if variance > 0.0 else 0.0


@formula
def ask_for(rule, lanes, lane, z, units):
    """Fill `units` with what the rule asks for, and find what each strip makes of any inventory."""
    shift, low, high = lane[1, :lanes], lane[2, :lanes], lane[3, :lanes]
    for k in range(lanes):
        shift[k] = 0.0
        low[k] = -rule.limit
        high[k] = rule.limit
    for j in range(rule.window):
        score, out = z[j * lanes : (j + 1) * lanes], units[j * lanes : (j + 1) * lanes]
        for k in range(lanes):
            step = wanted(score[k], rule.entry, rule.per_deviation)
            out[k] = step
            shift[k] += step
            low[k] = limited(low[k] + step, -rule.limit, rule.limit)
            high[k] = limited(high[k] + step, -rule.limit, rule.limit)


@formula
def fill(rule, lanes, col, lane, held, units, gains):
    """Play the strips from the inventory `held`: turn `units` into inventories, and fill `gains` with sums of cash."""
    shift, low, high = lane[1, :lanes], lane[2, :lanes], lane[3, :lanes]
    now, gained = lane[4, :lanes], lane[5, :lanes]
    for k in range(lanes):
        now[k] = held
        held = limited(held + shift[k], low[k], high[k])
        gained[k] = 0.0
    for j in range(rule.window):
        row = col[j * _WIDTH + 1 : (j + 1) * _WIDTH]
        step, sums = units[j * lanes : (j + 1) * lanes], gains[j * lanes : (j + 1) * lanes]
        for k in range(lanes):
            after = limited(now[k] + step[k], -rule.limit, rule.limit)
            total = gained[k] - paid(after - now[k], row[k], rule)
            now[k] = after
            gained[k] = total
            step[k] = after
            sums[k] = total


@formula
def add_up(lanes, lane, cash):
    """Turn what the strips gained into the cash before each of them, and return the cash after all."""
    gained = lane[5, :lanes]
    for k in range(lanes):
        before = cash
        cash = cash + gained[k]
        gained[k] = before
    return cash


@formula
def straighten(window, lanes, rows, start, out):
    """Write rows in the order of time, each strip plus its own `start`."""
    for j in range(window):
        row = rows[j * lanes : (j + 1) * lanes]
        for k in range(lanes):
            out[k * window + j] = start[k] + row[k]


@formula
def write(prices, first, count, rule, path, out):
    """Write `count` ticks of the results from tick `first` on; `path` is (z, inventory, cash) in the order of time."""
    z, held, cash = path
    zscore, signal, inventory = out.zscore[first:], out.signal[first:], out.inventory[first:]
    for i in range(count):
        zscore[i] = z[i]
        signal[i] = (1 if z[i] < 0.0 else -1) if abs(z[i]) > rule.entry else 0
        inventory[i] = int(held[i])
    ours, equity, price = out.cash[first:], out.equity[first:], prices[first:]
    for i in range(count):
        ours[i] = cash[i]
        equity[i] = cash[i] + held[i] * price[i]


@formula
def idle(prices, count, rule, out):
    """Write the ticks before the first window is full."""
    for i in range(count):
        out.zscore[i] = 0.0
        out.signal[i] = 0
        out.inventory[i] = 0
        out.cash[i] = rule.cash
        out.equity[i] = rule.cash


@formula
def padded(prices, first, span):
    """Fill `span` with the prices from tick `first` on, and with the nearest price where there is none."""
    last = len(prices) - 1
    for i in range(len(span)):
        span[i] = prices[min(max(first + i, 0), last)]


@kernel
def play(prices, rule, wide, out):
    """Play the rule over one path and return how many prices are bad; the results mean nothing if any is.

    Args:
        prices: Mid prices, float64 (n,).
        rule: The rule.
        wide: None plays one strip at a time, for windows that do not fit the cache `LANES` times.
        out: `Paths` of one row each, written.
    """
    lanes = LANES if wide is not None else 1
    n, window = len(prices), rule.window
    count = lanes * window
    lane = np.zeros((7, LANES))
    col, edge = np.empty(window * _WIDTH), np.empty(count + window)
    tail, tail2, z = np.empty(count), np.empty(count), np.empty(count)
    held, money = 0.0, rule.cash
    bad = count_bad(prices[: min(window, n)])
    idle(prices, min(window - 1, n), rule, out)
    # Strips begin with the first full window, so that a strip's first price is in all of its windows.
    for first in range(window - 1, n, count):
        before = first - window
        if (before < 0) | (first + count > n):
            padded(prices, before, edge)
            span = edge
        else:
            span = prices[before : first + count]
        bad += count_bad(span[window:])
        turn(span, window, lanes, col)
        sum_before(window, lanes, col, lane, tail, tail2)
        score(window, lanes, col, lane, tail, tail2, z)
        ask_for(rule, lanes, lane, z, tail)
        fill(rule, lanes, col, lane, held, tail, tail2)
        held = tail[count - 1]
        money = add_up(lanes, lane, money)
        straighten(window, lanes, z, lane[6], col)
        straighten(window, lanes, tail, lane[6], z)
        straighten(window, lanes, tail2, lane[5], tail)
        write(prices, first, min(count, n - first), rule, (col, z, tail), out)
    return bad
