"""What one tick is worth to the agent, term by term."""

from hftgym.market.compile import formula
from hftgym.market.random import exp


@formula
def pnl(spread_capture, inventory_pnl, fees):
    """Return the change of equity in quote currency.

    Summed from its parts rather than as a difference of two equities, which would lose five digits to the cash.
    """
    return spread_capture + inventory_pnl - fees


@formula
def utility_gained(gain, marginal, p):
    """Return (U(w + gain) - U(w), marginal utility after it) for the CARA utility U(w) = (1 - exp(-gamma w)) / gamma.

    w is the wealth gained since the start of the episode, in quote currency, and exp(-gamma w) the marginal utility:
    carrying that along saves an exponential, and the digits that a difference of two utilities would lose.
    """
    kept = exp(-p.risk_aversion * gain)
    return marginal * (1.0 - kept) * p.per_risk_aversion, marginal * kept


@formula
def terminal_penalty(inventory, p):
    """Return the charge on the inventory left at the end of the episode (Cartea & Jaimungal 2015)."""
    return p.terminal_phi * inventory * inventory


@formula
def inventory_penalty(inventory, p):
    """Return the running charge on the inventory held at the end of the tick (Cartea & Jaimungal 2015)."""
    return p.phi * inventory * inventory
