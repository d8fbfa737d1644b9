"""The inner loops of the z-score backtest: windows, orders and account of a path, a piece of it at a time.

A loop in which one tick waits for the one before it is slow, and does that alone; what every tick can do by itself
has loops of its own, which the compiler vectorises. Between them a piece of the path stays in the cache.

- **windows** (van Herk's algorithm, on prices less an anchor): a path is cut into strips of `window` ticks. A window
  that ends in a strip is the strip's own prices so far and the last ones of the strip before it. Both sums are measured
  from the strip's first price, which is in every one of these windows: no error can gather, and a window of equal
  prices has exactly no variance;
- **orders**: what the rule asks for at each z-score, and at what price it would get it;
- **account**: inventory and cash, tick after tick, and then the equity.
"""

import math
from typing import NamedTuple

import numpy as np

from hftgym.market.compile import formula, kernel

_PIECE = 4_096  # ticks at a time, whole strips: they fit a cache of 256 kB, and shorter ones break off too often
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


class _Sums(NamedTuple):
    """The sums behind the windows of a piece; x is a price less its strip's first one."""

    x: np.ndarray  # (piece,)
    own: np.ndarray  # (2 * piece,): sum of x and of x^2, in turn, over the strip up to here
    before: np.ndarray  # (2 * piece,): the same over what the window still holds of the strip before


@formula
def piece_of(window):
    """Return how many ticks are played at a time."""
    return window * max(1, _PIECE // window)


@formula
def new_sums(piece):
    """Return room for the sums of a piece."""
    return _Sums(np.empty(piece), np.empty(2 * piece), np.empty(2 * piece))


@formula
def count_bad(prices):
    """Return how many prices are NaN or outside [LOWEST, HIGHEST]."""
    bad = 0
    for i in range(len(prices)):
        bad += 0 if (prices[i] >= LOWEST) & (prices[i] <= HIGHEST) else 1
    return bad


@formula
def add_up(strip, last, x, own, before):
    """Sum up one strip, of as many prices as there are, and the window - 1 prices that come before it."""
    anchor = strip[0]
    total, total2 = 0.0, 0.0
    for i in range(len(strip)):
        x[i] = strip[i] - anchor
        total += x[i]
        total2 += x[i] * x[i]
        # Side by side: five arrays would keep the core waiting for its store buffer.
        own[2 * i] = total
        own[2 * i + 1] = total2
    total, total2 = 0.0, 0.0
    before[2 * len(last)] = 0.0
    before[2 * len(last) + 1] = 0.0
    for i in range(len(last) - 1, -1, -1):
        distance = last[i] - anchor
        total += distance
        total2 += distance * distance
        before[2 * i] = total
        before[2 * i + 1] = total2


@formula
def score(prices, first, end, window, sums, zscore):
    """Write the z-scores of the ticks from `first`, where a strip begins, to `end`."""
    for start in range(first, end, window):
        strip, last = prices[start : min(start + window, end)], prices[start + 1 - window : start]
        at = start - first
        add_up(strip, last, sums.x[at:], sums.own[2 * at :], sums.before[2 * at :])
    x, own, before = sums
    z, size = zscore[first:end], float(window)
    for i in range(len(z)):
        total = own[2 * i] + before[2 * i]
        variance = size * (own[2 * i + 1] + before[2 * i + 1]) - total * total  # times window^2
        z[i] = (size * x[i] - total) / math.sqrt(variance) if variance > 0.0 else 0.0


@formula
def units_at(distance, rule):
    """Return how many units the rule trades at this |z|, if it trades; |z| is below the root of the window."""
    return np.int32(rule.per_deviation * distance) if rule.per_deviation > 0.0 else np.int32(1)


@formula
def order(z, prices, rule, signal, units, fill):
    """Write the signals, the units that the rule asks for, above 0 to buy, and the price of each unit."""
    for i in range(len(z)):
        distance = abs(z[i])
        size = units_at(distance, rule) if distance > rule.entry else np.int32(0)
        units[i] = size if z[i] < 0.0 else -size
        signal[i] = (1 if z[i] < 0.0 else -1) if distance > rule.entry else 0
        fill[i] = prices[i] * (rule.ask if z[i] < 0.0 else rule.bid)


@formula
def trade(units, fill, rule, held, money, inventory, cash):
    """Trade what the limit allows, write inventory and cash, and return the last of both."""
    limit = np.int64(rule.limit)
    for i in range(len(inventory)):
        asked = np.int64(units[i])
        # Both limits are held against the inventory before the trade: the next tick then waits for three operations.
        after = held + asked
        after = after if held < limit - asked else limit
        after = after if held > -limit - asked else -limit
        value = float(after - held) * fill[i]
        money -= value + abs(value) * rule.fee
        held = after
        inventory[i] = held
        cash[i] = money
    return held, money


@formula
def appraise(prices, inventory, cash, equity):
    """Write the equity."""
    for i in range(len(equity)):
        equity[i] = cash[i] + inventory[i] * prices[i]


@formula
def idle(prices, count, rule, out):
    """Write the ticks before the first window is full."""
    for i in range(count):
        out.zscore[i] = 0.0
        out.signal[i] = 0
        out.inventory[i] = 0
        out.cash[i] = rule.cash
        out.equity[i] = rule.cash


@kernel
def play(prices, rule, out):
    """Play the rule over one path and return how many prices are bad; the results mean nothing if any is.

    Args:
        prices: Mid prices, float64 (n,).
        rule: The rule.
        out: `Paths` of one row each, written.
    """
    n, piece, idle_ticks = len(prices), piece_of(rule.window), min(rule.window - 1, len(prices))
    sums, units, fill = new_sums(piece), np.empty(piece, np.int32), np.empty(piece)
    held, money = 0, rule.cash
    bad = count_bad(prices[:idle_ticks])
    idle(prices, idle_ticks, rule, out)
    # Strips begin with the first full window, so that what comes before a strip is always there.
    for first in range(rule.window - 1, n, piece):
        end = min(first + piece, n)
        price, inventory, cash = prices[first:end], out.inventory[first:end], out.cash[first:end]
        bad += count_bad(price)
        score(prices, first, end, rule.window, sums, out.zscore)
        order(out.zscore[first:end], price, rule, out.signal[first:end], units, fill)
        held, money = trade(units, fill, rule, held, money, inventory, cash)
        appraise(price, inventory, cash, out.equity[first:end])
    return bad


@kernel
def fill_scores(prices, window, zscore):
    """Fill `zscore` (n,) as `play` does, without the rest, and return how many prices are bad."""
    n, piece = len(prices), piece_of(window)
    sums = new_sums(piece)
    zscore[: min(window - 1, n)] = 0.0
    for first in range(window - 1, n, piece):
        score(prices, first, min(first + piece, n), window, sums, zscore)
    return count_bad(prices)


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
