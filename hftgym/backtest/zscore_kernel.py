"""The inner loops of the z-score backtest: windows, orders and account of a path, many strips of it abreast.

A path is cut into strips of `window` ticks. Strips lie side by side in lanes, `[row][field][lane]`, so that every loop
over the lanes vectorises, even where one tick depends on the one before:

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
_PIECE = 1_024  # ticks searched for trades at a time
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
def row_width(lanes):
    """Return the length of a row: the prices of the strip before and of the strips, and two fields."""
    return 3 * lanes + 8


@formula
def field(lanes, index):
    """Return where in a row a field begins."""
    return (1 + index) * lanes + 8


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
def turn(span, window, lanes, rows):
    """Lay `lanes` + 1 strips side by side; the first one comes before the strips that are to be played."""
    width = row_width(lanes)
    # Eight prices, a line of the cache, at once: strips of 512 ticks lie in the same few places of the cache.
    for first in range(0, window - 7, 8):
        block = rows[first * width : (first + 8) * width]
        for k in range(lanes + 1):
            own = span[k * window + first : k * window + first + 8]
            for j in range(8):
                block[j * width + k] = own[j]
    for j in range(window // 8 * 8, window):
        for k in range(lanes + 1):
            rows[j * width + k] = span[k * window + j]


@formula
def sum_before(window, lanes, rows, lane):
    """Fill the first two fields of row j with sums over the rows after j of the strip before."""
    width = row_width(lanes)
    one, two = field(lanes, 0), field(lanes, 1)
    for k in range(lanes):
        lane[k] = rows[1 + k]  # the anchor
        lane[lanes + k] = 0.0
        lane[2 * lanes + k] = 0.0
    for i in range(window):
        j = window - 1 - i
        row = rows[j * width : (j + 1) * width]
        for k in range(lanes):
            total, total2 = lane[lanes + k], lane[2 * lanes + k]
            row[one + k] = total
            row[two + k] = total2
            x = row[k] - lane[k]
            lane[lanes + k] = total + x
            lane[2 * lanes + k] = total2 + x * x


@formula
def ask_for(rule, lanes, rows, lane):
    """Turn the first two fields of the rows into z-scores and the units that the rule asks for.

    The lanes from 3 on become what each strip makes of any inventory: shift, low, high.
    """
    width = row_width(lanes)
    one, two = field(lanes, 0), field(lanes, 1)
    size = float(rule.window)
    for k in range(lanes):
        lane[lanes + k] = 0.0
        lane[2 * lanes + k] = 0.0
        lane[3 * lanes + k] = 0.0
        lane[4 * lanes + k] = -rule.limit
        lane[5 * lanes + k] = rule.limit
    for j in range(rule.window):
        row = rows[j * width : (j + 1) * width]
        for k in range(lanes):
            x = row[1 + k] - lane[k]
            own = lane[lanes + k] + x
            own2 = lane[2 * lanes + k] + x * x
            lane[lanes + k] = own
            lane[2 * lanes + k] = own2
            both = own + row[one + k]
            variance = size * (own2 + row[two + k]) - both * both  # times window^2
            score = (size * x - both) / math.sqrt(variance) if variance > 0.0 else 0.0
            step = wanted(score, rule.entry, rule.per_deviation)
            row[one + k] = score
            row[two + k] = step
            lane[3 * lanes + k] += step
            lane[4 * lanes + k] = limited(lane[4 * lanes + k] + step, -rule.limit, rule.limit)
            lane[5 * lanes + k] = limited(lane[5 * lanes + k] + step, -rule.limit, rule.limit)


@formula
def fill(rule, lanes, rows, lane, held):
    """Play the strips from the inventory `held`: turn the units into inventories, and the z-scores into cash gained."""
    width = row_width(lanes)
    one, two = field(lanes, 0), field(lanes, 1)
    for k in range(lanes):
        lane[lanes + k] = held
        held = limited(held + lane[3 * lanes + k], lane[4 * lanes + k], lane[5 * lanes + k])
        lane[2 * lanes + k] = 0.0
    for j in range(rule.window):
        row = rows[j * width : (j + 1) * width]
        for k in range(lanes):
            now = lane[lanes + k]
            after = limited(now + row[two + k], -rule.limit, rule.limit)
            gained = lane[2 * lanes + k] - paid(after - now, row[1 + k], rule)
            lane[lanes + k] = after
            lane[2 * lanes + k] = gained
            row[two + k] = after
            row[one + k] = gained
    return held


@formula
def add_up(lanes, lane, cash):
    """Turn what the strips gained into the cash before each of them, and return the cash after all."""
    for k in range(lanes):
        before = cash
        cash = cash + lane[2 * lanes + k]
        lane[2 * lanes + k] = before
    return cash


@formula
def straighten(window, lanes, rows, at, start, out):
    """Write field `at` of the rows in the order of time, each strip plus its own `start`; by eights, as in `turn`."""
    width, place = row_width(lanes), field(lanes, at)
    for first in range(0, window - 7, 8):
        block = rows[first * width + place : (first + 8) * width]
        for k in range(lanes):
            own = out[k * window + first : k * window + first + 8]
            for j in range(8):
                own[j] = start[k] + block[j * width + k]
    for j in range(window // 8 * 8, window):
        for k in range(lanes):
            out[k * window + j] = start[k] + rows[j * width + place + k]


@formula
def write_scores(z, first, count, rule, out):
    """Write z-scores and signals of `count` ticks from tick `first` on."""
    zscore, signal = out.zscore[first:], out.signal[first:]
    for i in range(count):
        zscore[i] = z[i]
        signal[i] = (1 if z[i] < 0.0 else -1) if abs(z[i]) > rule.entry else 0


@formula
def write_inventory(held, first, count, out):
    """Write inventories."""
    inventory = out.inventory[first:]
    for i in range(count):
        inventory[i] = int(held[i])


@formula
def write_account(cash, prices, first, count, out):
    """Write cash and equity; the inventories are there."""
    price, inventory, ours, equity = prices[first:], out.inventory[first:], out.cash[first:], out.equity[first:]
    for i in range(count):
        ours[i] = cash[i]
        equity[i] = cash[i] + inventory[i] * price[i]


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
def lay(prices, first, window, lanes, edge, rows):
    """Lay the strips from tick `first` on side by side and return how many of their prices are bad.

    Where there is no price, the nearest one stands: before the first, which is in no window, and after the last.
    """
    before, last = first - window, len(prices) - 1
    if (before >= 0) & (first + lanes * window <= last):
        span = prices[before : first + lanes * window]
    else:
        span = edge
        for i in range(len(edge)):
            edge[i] = prices[min(max(before + i, 0), last)]
    turn(span, window, lanes, rows)
    return count_bad(span[window:])


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
    lane, rows = np.zeros(7 * lanes), np.empty(window * row_width(lanes))
    column, edge = np.empty(count), np.empty(count + window)
    held, money = 0.0, rule.cash
    bad = count_bad(prices[: min(window, n)])
    idle(prices, min(window - 1, n), rule, out)
    # Strips begin with the first full window, so that a strip's first price is in all of its windows.
    for first in range(window - 1, n, count):
        bad += lay(prices, first, window, lanes, edge, rows)
        sum_before(window, lanes, rows, lane)
        ask_for(rule, lanes, rows, lane)
        ticks = min(count, n - first)
        straighten(window, lanes, rows, 0, lane[6 * lanes :], column)
        write_scores(column, first, ticks, rule, out)
        held = fill(rule, lanes, rows, lane, held)
        straighten(window, lanes, rows, 1, lane[6 * lanes :], column)
        write_inventory(column, first, ticks, out)
        money = add_up(lanes, lane, money)
        straighten(window, lanes, rows, 0, lane[2 * lanes :], column)
        write_account(column, prices, first, ticks, out)
    return bad


@kernel
def fill_scores(prices, rule, wide, zscore):
    """Fill `zscore` (n,) as `play` does, without the rest, and return how many prices are bad."""
    lanes = LANES if wide is not None else 1
    n, window = len(prices), rule.window
    count = lanes * window
    lane, rows = np.zeros(7 * lanes), np.empty(window * row_width(lanes))
    z, edge = np.empty(count), np.empty(count + window)
    bad = count_bad(prices[: min(window, n)])
    zscore[: min(window - 1, n)] = 0.0
    for first in range(window - 1, n, count):
        bad += lay(prices, first, window, lanes, edge, rows)
        sum_before(window, lanes, rows, lane)
        ask_for(rule, lanes, rows, lane)
        straighten(window, lanes, rows, 0, lane[6 * lanes :], z)
        zscore[first : min(first + count, n)] = z[: min(count, n - first)]
    return bad


@kernel
def count_trades(inventory):
    """Return how often the inventory (n,) changes."""
    count = 0
    before, after = inventory[: len(inventory) - 1], inventory[1:]
    for i in range(len(after)):
        count += 1 if before[i] != after[i] else 0
    return count


@kernel
def list_trades(prices, inventory, rule, columns):
    """Fill (tick, side, price, size, fee) with the trades behind an inventory path."""
    where, moved, mid = np.empty(_PIECE, np.int64), np.empty(_PIECE), np.empty(_PIECE)
    before, after = inventory[: len(inventory) - 1], inventory[1:]
    done = 0
    for first in range(0, len(after), _PIECE):
        found = 0
        for i in range(first, min(first + _PIECE, len(after))):
            where[found] = i  # overwritten by the next one if it is none: cheaper than a branch nobody can predict
            found += 1 if after[i] != before[i] else 0
        for j in range(found):
            moved[j] = float(after[where[j]] - before[where[j]])
            mid[j] = prices[where[j] + 1]
        _list_piece(rule, where, moved, mid, found, columns, done)
        done += found


@formula
def _list_piece(rule, where, moved, mid, count, columns, done):
    """Write `count` trades from row `done` on; loops of few arrays, so that they vectorise."""
    tick, side, price, size, fee = columns
    tick, side, price, size, fee = tick[done:], side[done:], price[done:], size[done:], fee[done:]
    for j in range(count):
        tick[j] = where[j] + 1
    for j in range(count):
        side[j] = 1 if moved[j] > 0.0 else -1
        size[j] = int(abs(moved[j]))
    for j in range(count):
        price[j] = mid[j] * (rule.ask if moved[j] > 0.0 else rule.bid)
        fee[j] = abs(moved[j] * price[j]) * rule.fee
