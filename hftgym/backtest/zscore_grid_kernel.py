"""The inner loop of the parameter grid: many sets abreast through one path whose z-scores are known."""

from hftgym.backtest.zscore_kernel import units_at
from hftgym.market.compile import formula, kernel

# Sets abreast, in one vector `[field][set]`.
SETS = 64
ENTRY, LIMIT, INVENTORY, CASH, EQUITY, PEAK, DRAWDOWN, SQUARES, INVENTORY_SQUARES, TURNOVER, FEES, TRADES = (
    SETS * i for i in range(12)
)
N_FIELDS = 12


@formula
def limited(x, low, high):
    """Return x limited to [low, high]."""
    x = x if x < high else high
    return x if x > low else low


@formula
def _tick(sets, k, units, distance, fill, price, fee):
    """Move set k over one tick: `units` are asked for at |z| = `distance`, at the price `fill`, above 0 to buy."""
    held, limit = sets[INVENTORY + k], sets[LIMIT + k]
    after = limited(held + (units if distance > sets[ENTRY + k] else 0.0), -limit, limit)
    traded = after - held
    value = traded * fill
    fees = abs(value) * fee
    cash = sets[CASH + k] - (value + fees)
    equity = cash + after * price
    gain = equity - sets[EQUITY + k]
    peak = sets[PEAK + k] if sets[PEAK + k] > equity else equity
    fall = peak - equity
    sets[DRAWDOWN + k] = sets[DRAWDOWN + k] if sets[DRAWDOWN + k] > fall else fall
    sets[INVENTORY + k] = after
    sets[CASH + k] = cash
    sets[EQUITY + k] = equity
    sets[PEAK + k] = peak
    sets[SQUARES + k] += gain * gain
    sets[INVENTORY_SQUARES + k] += after * after
    sets[TURNOVER + k] += abs(value)
    sets[FEES + k] += fees
    sets[TRADES + k] += 1.0 if traded != 0.0 else 0.0


@kernel
def play_sets(prices, zscore, rule, sets):
    """Play `SETS` parameter sets of one window over a path.

    Args:
        prices: Mid prices, float64 (n,).
        zscore: Their z-scores, float64 (n,).
        rule: What the sets have in common; its entry and limit are not read.
        sets: float64 (N_FIELDS * SETS,): entries, limits, cash, equity and peak on entry, sums on return.
    """
    for i in range(1, len(prices)):
        z, price = zscore[i], prices[i]
        distance = abs(z)
        units = float(units_at(distance, rule))
        units = units if z < 0.0 else -units
        fill = price * (rule.ask if z < 0.0 else rule.bid)
        for k in range(SETS):
            _tick(sets, k, units, distance, fill, price, rule.fee)
