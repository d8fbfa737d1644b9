"""How the mid price moves: one update with parameters, not a class per process."""

from hftgym.market.compile import formula

# No sequence of draws takes a price below this fraction of the initial price.
PRICE_FLOOR = 1e-6


@formula
def next_mid(mid, z_price, z_noise, drift, scale, p):
    """Return the mid price one tick later, in quote currency.

    Geometric: S' = S + S (drift + scale (sigma Z1 + eta sigma Z2)), the article's GBM with microstructure noise where
    drift is 0 and scale 1. Arithmetic: the same with the initial price as the base of the move. Binary steps keep the
    signs of the normals alone, so their first two moments are the same.

    Args:
        mid: Price now.
        z_price: Standard normal.
        z_noise: Standard normal.
        drift: Relative move besides the two shocks.
        scale: Factor on both shocks.
        p: Parameters.
    """
    z1 = (1.0 if z_price >= 0.0 else -1.0) if p.binary != 0.0 else z_price
    z2 = (1.0 if z_noise >= 0.0 else -1.0) if p.binary != 0.0 else z_noise
    moved = mid + base_of_move(mid, p) * (drift + scale * (p.sigma * z1 + p.sigma_noise * z2))
    floor = PRICE_FLOOR * p.initial_price
    return moved if moved > floor else floor


@formula
def base_of_move(mid, p):
    """Return the price of which moves are fractions."""
    return p.initial_price if p.arithmetic != 0.0 else mid


@formula
def drift(mid, regime, alpha, u_jump, z_jump, p):
    """Return everything that moves the mid besides its two shocks, as a fraction of the base.

    Drift, hidden drift `alpha`, the drift of the hidden regime (+1 or -1), the pull to the initial price (Ornstein &
    Uhlenbeck) and the jump of this tick (Merton 1976).
    """
    pull = p.mean_reversion * (p.initial_price - mid) / base_of_move(mid, p)
    jump = p.jump_mean + p.jump_volatility * z_jump if u_jump < p.jump_probability else 0.0
    return p.drift + alpha + p.regime_drift * regime + pull + jump


@formula
def next_alpha(alpha, z, p):
    """Return the hidden drift one tick later, an AR(1) process."""
    return p.alpha_kept * alpha + p.alpha_volatility * z


@formula
def next_log_volatility(log_volatility, z, p):
    """Return the log of the factor on the volatility one tick later, an AR(1) process."""
    return p.volatility_kept * log_volatility + p.volatility_of_volatility * z
