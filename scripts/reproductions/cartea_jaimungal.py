"""The problem of Cartea & Jaimungal in 200 steps: exact values, the way to continuous time, and simulations."""

import math
from collections.abc import Iterator

from hftgym import EnvParams
from hftgym.policies import (
    AvellanedaStoikovPolicy,
    CarteaJaimungalPolicy,
    GLFTPolicy,
    LinearSkewPolicy,
    OptimalPolicy,
    Policy,
)
from hftgym.policies.recursion import best_constant, best_linear_skew, quotes_of, solve, value_of
from hftgym.progress import slow_bar
from scripts.reproductions.figures import SURE, Row, Section, Target, rounded
from scripts.reproductions.published import CARTEA_JAIMUNGAL
from scripts.reproductions.simulation import mean_and_error, simulate

_OTHER = "other code"


def market(phi: float = 1.0, *, fee: float = 0.0, steps: int = 200) -> EnvParams:
    """Return A = 140, k = 1.5, sigma = 2, T = 1, limit 10, offsets from 0 to 3, one currency a half-spread.

    Args:
        phi: Charge on inventory^2 per unit of time.
        fee: Maker fee in currency per unit.
        steps: Ticks in T.
    """
    return EnvParams(
        spread=0.02,
        price_model="arithmetic",
        volatility=2 / math.sqrt(steps) / 100,
        microstructure_noise=0.0,
        arrival_intensity=140 / steps,
        fill_decay=1.5,
        maker_fee_bps=fee / 100 * 1e4,
        taker_fee_bps=1_000.0,  # the problem has no market orders: too dear to be used
        inventory_penalty=phi / steps,
        horizon=steps,
        offset_low=0.0,
        offset_high=3.0,
    )


def sections(paths: int, seed: int) -> Iterator[Section]:
    """Yield the exact values of every market, the convergence, and the simulations."""
    for phi, fee in CARTEA_JAIMUNGAL:
        charge = f", maker fee {fee:g}" if fee else ""
        rows = list(_exact(phi, fee))
        yield Section(title=f"Cartea–Jaimungal, phi = {phi:g}{charge}: exact J in 200 steps", rows=rows)
    yield _convergence()
    yield _simulated(paths, seed)


def _exact(phi: float, fee: float) -> Iterator[Row]:
    """Yield the values of one market."""
    params, other = market(phi, fee=fee), CARTEA_JAIMUNGAL[phi, fee]
    closed = CarteaJaimungalPolicy(params)

    def row(quantity: str, ours: float, theirs: float | None) -> Row:
        digits = 1 if quantity.startswith("A–S") and phi == 5.0 else 3
        return Row(quantity=quantity, ours=ours, targets={} if theirs is None else {_OTHER: rounded(theirs, digits)})

    yield row("optimum, by recursion", solve(params).optimum, other.optimum)
    yield row("closed-form quotes", _worth(closed, params), other.closed_form)
    yield row("h(0, 0), continuous time", closed.value(0, 0), other.continuous)
    yield row("best constant quote", best_constant(params)[1], other.constant)
    if phi > 0:
        gamma = 2 * params.phi / (params.nominal_volatility * params.initial_price) ** 2
        yield row("GLFT", _worth(GLFTPolicy(params), params), other.glft)
        for time_term, theirs in ((True, other.avellaneda_stoikov), (False, other.constant_spread)):
            policy = AvellanedaStoikovPolicy(params, risk_aversion=gamma, time_term=time_term)
            yield row(f"A–S, {'with' if time_term else 'without'} time term", _worth(policy, params), theirs)
    if other.linear is not None:
        linear = LinearSkewPolicy(0.78, 0.12, params)
        yield row("linear skew 0.78 ± 0.12 q", _worth(linear, params), other.linear)
        yield row("best linear skew", best_linear_skew(params)[2], None)


def _worth(policy: Policy, params: EnvParams) -> float:
    return value_of(params, *quotes_of(policy, params))


def _convergence() -> Section:
    """Return how the market in steps becomes the one in continuous time."""
    rows: list[Row] = []
    for steps, theirs in ((200, 56.456), (2_000, 62.362), (20_000, 63.032)):
        params = market(steps=steps)
        closed = CarteaJaimungalPolicy(params)
        optimum = solve(params).optimum
        limit = {_OTHER: rounded(theirs), "h(0, 0)": Target(value=closed.value(0, 0))}
        rows.append(Row(quantity=f"optimum, {steps:,} steps", ours=optimum, targets=limit))
        rows.append(Row(quantity="  less closed-form quotes", ours=optimum - _worth(closed, params), digits=5))
    return Section(title="Cartea–Jaimungal, phi = 1: towards continuous time, exact", rows=rows)


def _simulated(paths: int, seed: int) -> Section:
    """Return J of the optimum and of the closed form, played on the same random numbers."""
    params = market()
    policies = {"optimum": OptimalPolicy(params), "closed-form quotes": CarteaJaimungalPolicy(params)}
    with slow_bar(len(policies)) as bar:
        j = {
            name: simulate(policy, params, paths=paths, seed=seed, on_tick=bar.part(name)).j
            for name, policy in policies.items()
        }
    exact = {name: _worth(policy, params) for name, policy in policies.items()}
    rows: list[Row] = []
    for name, values in j.items():
        mean, error = mean_and_error(values)
        rows.append(
            Row(quantity=name, ours=mean, error=error, targets={"exact": Target(value=exact[name], band=3 * error)})
        )
    mean, error = mean_and_error(j["closed-form quotes"] - j["optimum"])
    targets = {
        "exact": Target(value=exact["closed-form quotes"] - exact["optimum"], band=SURE * error),
        _OTHER: Target(value=-0.268, band=max(0.03, SURE * error)),
    }
    rows.append(Row(quantity="closed form − optimum, paired", ours=mean, error=error, targets=targets))
    return Section(title=f"Cartea–Jaimungal, phi = 1: J of {paths:,} simulated episodes", rows=rows)
