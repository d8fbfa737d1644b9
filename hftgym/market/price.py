"""How the mid price moves: one update with parameters, not a class per process."""

from hftgym.market.compile import formula

# No sequence of draws takes a price below this fraction of the initial price (only the arithmetic model can get there).
PRICE_FLOOR = 1e-6


@formula
def next_mid(mid, z_price, z_noise, p):
    """Return the mid price one tick later, in quote currency.

    Geometric: S' = S + S (sigma Z1 + eta sigma Z2), the article's GBM with microstructure noise. Arithmetic: the same
    with the initial price as the base of the move. Binary steps keep the signs of the normals alone, so their first two
    moments are the same.
    """
    z1 = (1.0 if z_price >= 0.0 else -1.0) if p.binary != 0.0 else z_price
    z2 = (1.0 if z_noise >= 0.0 else -1.0) if p.binary != 0.0 else z_noise
    base = p.initial_price if p.arithmetic != 0.0 else mid
    moved = mid + base * (p.sigma * z1 + p.sigma_noise * z2)
    floor = PRICE_FLOOR * p.initial_price
    return moved if moved > floor else floor
