"""Time between the agent and the market: when a decision arrives, and what is known when it is made.

Nothing overtakes: the orders in force are those of the newest decision that has arrived, and they stay, with what is
left of them, until a newer one arrives.
"""

from hftgym.market.compile import formula
from hftgym.market.random import exp, log


@formula
def latency(u, last_move, p):
    """Return this tick's latency of orders in ticks, a whole number.

    A constant, and a Pareto variable of exponent a beyond 0, jitter (u^(-1/a) - 1), times the size of the last move in
    standard deviations: networks and exchanges are slow when everybody trades.
    """
    heavy = p.latency_jitter * (exp(-log(u) * p.latency_per_tail) - 1.0)
    extra = heavy * (last_move if last_move >= 0.0 else -last_move)
    longest = p.latency_longest - p.order_latency
    extra = extra if extra < longest else longest
    return p.order_latency + float(int(extra))


@formula
def lag_after(lag, delay):
    """Return the age in ticks of the decision in force: that of the newest which has arrived, never an older one."""
    return delay if delay < lag + 1.0 else lag + 1.0


@formula
def ring_slot_before(head, ticks, slots):
    """Return the slot that was written `ticks` ago, where `head` is being written now."""
    slot = head - ticks
    return slot + slots if slot < 0 else slot
