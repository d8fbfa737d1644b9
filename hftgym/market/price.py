"""How the mid price moves: one update with parameters, not a class per process."""

from hftgym.market.compile import formula
from hftgym.market.layout import Hidden
from hftgym.market.random import exp

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
def hidden_drift(mid, hidden, u_jump, z_jump, p):
    """Return everything that moves the mid besides its two shocks, as a fraction of the base.

    Drift, hidden drift, regime, the pull to the initial price (Ornstein & Uhlenbeck) and the jump of this tick (Merton
    1976).
    """
    pull = p.mean_reversion * (p.initial_price - mid) / base_of_move(mid, p)
    jump = p.jump_mean + p.jump_volatility * z_jump if u_jump < p.jump_probability else 0.0
    return p.drift + hidden.alpha + p.regime_drift * hidden.regime + pull + jump


@formula
def hidden_scale(hidden, p):
    """Return the factor on the volatility: its own random path, and the regime."""
    return exp(hidden.log_volatility) * (p.regime_volatility if hidden.regime > 0.0 else 1.0)


@formula
def next_hidden(hidden, u_regime, z_alpha, z_volatility, p):
    """Return the hidden state one tick later; each part is an AR(1) process or a two-state Markov chain."""
    return Hidden(
        -hidden.regime if u_regime < p.regime_switching else hidden.regime,
        p.alpha_kept * hidden.alpha + p.alpha_volatility * z_alpha,
        p.volatility_kept * hidden.log_volatility + p.volatility_of_volatility * z_volatility,
    )
