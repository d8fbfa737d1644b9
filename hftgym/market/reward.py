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
def utility(gain, p):
    """Return (1 - exp(-gamma gain)) / gamma, the CARA utility of a gain in quote currency, scaled to slope 1 at 0."""
    return (1.0 - exp(-p.risk_aversion * gain)) * p.per_risk_aversion


@formula
def terminal_penalty(inventory, p):
    """Return the charge on the inventory left at the end of the episode (Cartea & Jaimungal 2015)."""
    return p.terminal_phi * inventory * inventory


@formula
def inventory_penalty(inventory, p):
    """Return the running charge on the inventory held at the end of the tick (Cartea & Jaimungal 2015)."""
    return p.phi * inventory * inventory
