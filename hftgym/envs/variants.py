"""The pages of the other ids: the same environment in another market. The markets are in `hftgym.PRESETS`."""

from hftgym.envs.market_making import MarketMakingEnv


class AvellanedaStoikovEnv(MarketMakingEnv):
    """The problem of Avellaneda & Stoikov (2008): utility of the final wealth, Brownian prices, exponential flow.

    ## Description
    `MarketMakingAS-v0`: S' = S +/- sigma sqrt(dt) with sigma = 2 and dt = 0.005, fills with probability A dt exp(-k d),
    A = 140 and k = 1.5 per unit of currency (`linear`), 200 ticks. Offsets are in units of currency: the half-spread
    is 1.

    ## Action Space
    As in `MarketMakingEnv`; offsets run from -0.5 to 3. Crossing is there, at a prohibitive fee.

    ## Observation Space
    As in `MarketMakingEnv`; the inventory limit of 50 hardly ever binds.

    ## Rewards
    The change of (1 - exp(-gamma gain)) / gamma with gamma = 0.1: it adds up to the CARA utility of the final gain.

    ## Starting State
    Price 100, no inventory.

    ## Episode End
    Termination after 200 ticks.

    ## Arguments
    As in `MarketMakingEnv`; `params` replaces the whole market, `hftgym.PRESETS["avellaneda-stoikov"]` is this one.

    ## Vectorized environment
    `gym.make_vec("MarketMakingAS-v0", num_envs=N)`.

    ## Version History
    * v0: observation version 1. The published tables, reproduced: docs/ground_truth.md.
    """


class CarteaJaimungalEnv(MarketMakingEnv):
    """The problem of Cartea & Jaimungal: expected wealth less a running penalty on inventory^2; exactly solvable.

    ## Description
    `MarketMakingCJ-v0`: Brownian price with sigma = 2, A = 140 and k = 1.5 per unit of currency, dt = 0.005, fills with
    probability 1 - exp(-lambda dt) (`poisson`), penalty phi = 1, inventory limit 10. The optimum of the discrete
    problem is 56.456, the best constant quote 37.793 (`hftgym.policies.recursion`).

    ## Action Space
    As in `MarketMakingEnv`; offsets run from 0 to 3 units of currency, because the half-spread is 1. Crossing is there,
    at a prohibitive fee.

    ## Observation Space
    As in `MarketMakingEnv`.

    ## Rewards
    change of equity - 0.005 * inventory^2, in quote currency.

    ## Starting State
    Price 100, no inventory.

    ## Episode End
    Termination after 200 ticks.

    ## Arguments
    As in `MarketMakingEnv`; `params` replaces the whole market, `hftgym.PRESETS["cartea-jaimungal"]` is this one.

    ## Vectorized environment
    `gym.make_vec("MarketMakingCJ-v0", num_envs=N)`.

    ## Version History
    * v0: observation version 1. Closed forms and optimum: docs/ground_truth.md.
    """


class HiddenAlphaEnv(MarketMakingEnv):
    """A market with a hidden regime that drifts up or down: partially observed, so that memory pays.

    ## Description
    `MarketMakingAlpha-v0`: the market of `MarketMakingCJ-v0` with a hidden regime, +1 or -1, that adds half a standard
    deviation of drift per tick in its direction and changes sign with probability 0.02 per tick. The last return says a
    little about it, the returns before it say more: the optimum filters them into a belief.

    ## Action Space
    As in `MarketMakingEnv`; offsets run from -0.4 to 3 units of currency.

    ## Observation Space
    As in `MarketMakingEnv`. The regime is not in it.

    ## Rewards
    change of equity - 0.005 * inventory^2, in quote currency. The price is no martingale here: a training reward
    without `inventory_pnl` would leave out what there is to learn.

    ## Starting State
    Price 100, no inventory, a regime drawn with equal chance.

    ## Episode End
    Termination after 200 ticks.

    ## Arguments
    As in `MarketMakingEnv`; `params` replaces the whole market, `hftgym.PRESETS["alpha"]` is this one.

    ## Vectorized environment
    `gym.make_vec("MarketMakingAlpha-v0", num_envs=N)`.

    ## Version History
    * v0: observation version 1.
    """


class AdverseEnv(MarketMakingEnv):
    """A market that charges what real ones charge: latency, trade-through, partial fills, fees, a thin book, jumps.

    ## Description
    `MarketMakingAdverse-v0`: orders take a tick to arrive and, with a heavy tail that grows with the last move of the
    price, up to twenty; market data are a tick old; a quote that the price runs through is filled on the wrong side of
    it; market orders take 2 units on average; the book holds 2 units per level; makers pay 0.1 bp, takers 1 bp. The
    volatility is 2e-4 per tick, with rare jumps of ten times that. No optimum is known.

    ## Action Space
    As in `MarketMakingEnv`. A quote is placed around the mid that is known, and stays until a newer one has arrived.

    ## Observation Space
    As in `MarketMakingEnv`; what it shows of the market is one tick old.

    ## Rewards
    change of equity - phi * inventory^2, in quote currency. Fills by trade-through are booked against the new mid:
    their loss is in `spread_capture`.

    ## Starting State
    As in `MarketMakingEnv`; until the first order arrives there is none.

    ## Episode End
    Termination after 1,000 ticks, or when equity is not positive.

    ## Arguments
    As in `MarketMakingEnv`; `params` replaces the whole market, `hftgym.PRESETS["adverse"]` is this one.

    ## Vectorized environment
    `gym.make_vec("MarketMakingAdverse-v0", num_envs=N)`.

    ## Version History
    * v0: observation version 1.
    """


class MeanRevertingEnv(MarketMakingEnv):
    """A market in which the z-score rule should win: the price is pulled back to where it started.

    ## Description
    `MeanReverting-v0`: S' = S + 0.02 (100 - S) + 0.2 Z per tick, an Ornstein-Uhlenbeck process with a half-life of 34
    ticks, everything else as in `MarketMaking-v0`. Taking at |z| > 1.5 pays the spread and still earns more than
    twice of what quoting around the mid does: the baseline of this market is `ZScorePolicy`.

    ## Action Space
    As in `MarketMakingEnv`.

    ## Observation Space
    As in `MarketMakingEnv`.

    ## Rewards
    change of equity - phi * inventory^2, in quote currency. The price is no martingale here: a training reward without
    `inventory_pnl` would leave out what there is to learn.

    ## Starting State
    As in `MarketMakingEnv`: at the mean.

    ## Episode End
    Termination after 1,000 ticks, or when equity is not positive.

    ## Arguments
    As in `MarketMakingEnv`; `params` replaces the whole market, `hftgym.PRESETS["mean-reverting"]` is this one.

    ## Vectorized environment
    `gym.make_vec("MeanReverting-v0", num_envs=N)`.

    ## Version History
    * v0: observation version 1.
    """
