"""Cash, inventory, fees and what a trade earned. Cash and inventory always move together."""

from hftgym.market.compile import formula


@formula
def fee(size, price, taker, p):
    """Return the fee of one fill in quote currency; negative is a rebate."""
    return size * price * (p.taker_fee if taker else p.maker_fee)


@formula
def capture(size, price, side, mid):
    """Return what a fill earns against the mid at the time of the trade, in quote currency; a taker's is negative."""
    return side * size * (mid - price)


@formula
def cash_after(cash, bought, bid_price, sold, ask_price, fees):
    """Return cash after one tick's fills and fees."""
    return cash - bought * bid_price + sold * ask_price - fees


@formula
def equity(cash, inventory, mid):
    """Return cash plus inventory marked to the mid."""
    return cash + inventory * mid
