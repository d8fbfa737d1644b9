"""What one tick is worth to the agent, term by term."""

from hftgym.market.compile import formula


@formula
def pnl(spread_capture, inventory_pnl, fees):
    """Return the change of equity in quote currency.

    Summed from its parts rather than as a difference of two equities, which would lose five digits to the cash.
    """
    return spread_capture + inventory_pnl - fees


@formula
def inventory_penalty(inventory, p):
    """Return the running charge on the inventory held at the end of the tick (Cartea & Jaimungal 2015)."""
    return p.phi * inventory * inventory
