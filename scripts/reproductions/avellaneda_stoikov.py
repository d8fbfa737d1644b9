"""The tables of Avellaneda & Stoikov (2008), section 3.3: profits of the inventory and of the symmetric strategy."""

import dataclasses
import math
import statistics
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hftgym import EnvParams
from hftgym.policies import AvellanedaStoikovPolicy
from hftgym.policies.base import feature
from hftgym.policies.recursion import quotes_of, value_of
from hftgym.progress import slow_bar
from scripts.reproductions.figures import SURE, Row, Section, Target, rounded
from scripts.reproductions.moments import Moments, moments
from scripts.reproductions.published import OTHER_CODE, OTHER_PATHS, PAPER_PATHS, PREPRINT_2006, TABLES_2008
from scripts.reproductions.simulation import Ends, mean_and_error, simulate, std_and_error

HALF_SPREAD = 40.0  # currency: wide enough that every quote, also one beyond the mid, stays inside the touch
PRICE = 1e6
# s = 100, T = 1, sigma = 2, dt = 0.005, k = 1.5, A = 140. The model knows differences of prices alone, so s is free: a
# large one, because this market's half-spread is a share of the mid and should stay the same. At most one fill a side
# and tick: a limit of 200 units never binds.
PAPER = EnvParams(
    initial_price=PRICE,
    spread=2 * HALF_SPREAD / PRICE,
    price_model="arithmetic",
    price_steps="binary",
    volatility=2 * math.sqrt(0.005) / PRICE,
    microstructure_noise=0.0,
    fill_model="linear",
    arrival_intensity=140 * 0.005,
    fill_decay=1.5 * HALF_SPREAD,
    taker_fee_bps=0.0,
    inventory_penalty=0.0,
    inventory_limit=200,
    horizon=200,
    offset_low=-1.0,
    offset_high=1.0,
)


class SymmetricPolicy(AvellanedaStoikovPolicy):
    """The benchmark of the paper: the same spread, centred on the mid whatever the inventory."""

    def actions(self, observations: NDArray[np.float32]) -> NDArray[Any]:
        """Return (bid, ask) actions from the time left alone."""
        blind = observations.copy()
        feature(blind, "inventory")[...] = 0.0
        return super().actions(blind)


STRATEGIES = {"inventory": AvellanedaStoikovPolicy, "symmetric": SymmetricPolicy}


class Case(NamedTuple):
    """One line of a table, as we find it."""

    spread: float  # mean over the episode, currency
    exact: Moments
    ends: Ends


def sections(paths: int, seed: int) -> Iterator[Section]:
    """Yield a table per kind of spread and gamma, and what the simulations took."""
    cases: dict[tuple[float, str, bool], Case] = {}
    with slow_bar(len(OTHER_CODE)) as bar:
        for gamma, strategy, time_term in OTHER_CODE:
            policy = STRATEGIES[strategy](PAPER, risk_aversion=gamma, time_term=time_term)
            bid, ask = quotes_of(policy, PAPER)
            spread = float((bid + ask)[:, PAPER.inventory_limit].mean()) * HALF_SPREAD
            on_tick = bar.part(f"A–S, gamma {gamma:g}, {strategy}")
            ends = simulate(policy, PAPER, paths=paths, seed=seed, on_tick=on_tick)
            cases[gamma, strategy, time_term] = Case(spread, moments(PAPER, bid, ask), ends)
    for time_term in (True, False):
        for gamma in (0.1, 0.01, 0.5):
            rows = [row for strategy in STRATEGIES for row in _rows(gamma, strategy, time_term, cases)]
            kind = "gamma sigma² (T − t) in the spread" if time_term else "constant spread, as in the tables of 2008"
            notes = () if time_term else ("The tables of 2008 do not follow from the text: docs/ground_truth.md.",)
            yield Section(title=f"Avellaneda–Stoikov, gamma = {gamma:g}, {kind}", rows=rows, notes=notes)
    seconds = statistics.median(case.ends.seconds for case in cases.values())
    yield _variants(
        f"Speed: {paths:,} episodes of {PAPER.horizon} steps, policy included, took {seconds:.2f} s on one thread "
        f"({paths * PAPER.horizon / seconds / 1e6:.0f} million steps a second; median of {len(cases)})."
    )


def _rows(gamma: float, strategy: str, time_term: bool, cases: dict[tuple[float, str, bool], Case]) -> Iterator[Row]:
    """Yield the figures of one strategy, beside the exact ones, other code's and the paper's."""
    spread, exact, ends = cases[gamma, strategy, time_term]
    other = OTHER_CODE[gamma, strategy, time_term]
    name, paper = "paper 2008", None if time_term else TABLES_2008[gamma, strategy]
    if time_term:
        name, paper = "preprint 2006", PREPRINT_2006.get((gamma, strategy))
    targets = {"other code": rounded(other.spread)}
    if paper is not None and not time_term:
        targets[name] = rounded(paper.spread, 2)
    yield Row(quantity=f"{strategy}: mean spread", ours=spread, targets=targets)
    figures = [measure(x) for x in (ends.pnl, ends.inventory) for measure in (mean_and_error, std_and_error)]
    labels = ("profit", "std of profit", "mean of final q", "std of final q")
    for i, (label, (value, error)) in enumerate(zip(labels, figures, strict=True)):
        scatter = error * math.sqrt(len(ends.pnl))  # standard error of a single path
        digits = 3 if i == 2 else 2
        targets = {
            "exact": Target(value=exact[i], band=SURE * error),
            "other code": _estimate(other[i + 1], scatter / math.sqrt(OTHER_PATHS), error, digits),
        }
        if paper is not None:
            known = 1 if time_term and i != 2 else 2
            published = _estimate(paper[i + 1], scatter / math.sqrt(PAPER_PATHS), error, known)
            # The tables of 2008 are shown, not judged: they do not follow from the text of the paper.
            targets[name] = published if time_term else dataclasses.replace(published, band=None)
        yield Row(quantity=f"{strategy}: {label}", ours=value, error=error, targets=targets)


def _estimate(value: float, its_error: float, our_error: float, digits: int) -> Target:
    """Return somebody else's estimate as a target: both standard errors and its rounding count."""
    band = SURE * math.hypot(its_error, our_error) + 0.5 * 10.0**-digits
    return Target(value=value, band=band, error=its_error, digits=digits)


def _variants(note: str) -> Section:
    """Return exact profits under other readings of the rules, with a remark."""

    def profit(strategy: str, gamma: float, *, time_term: bool, **changes: Any) -> float:
        params = dataclasses.replace(PAPER, **changes)
        policy = STRATEGIES[strategy](params, risk_aversion=gamma, time_term=time_term)
        return value_of(params, *quotes_of(policy, params))

    rows = [
        Row(
            quantity="0.5, inventory, constant spread, no quote beyond the mid",
            ours=profit("inventory", 0.5, time_term=False, offset_low=0.0),
            targets={"other code": rounded(51.6, 1), "paper 2008": Target(value=33.92, digits=2)},
        )
    ]
    for strategy, other, error in (("inventory", 57.17, 0.02), ("symmetric", 60.71, 0.04)):
        rows.append(
            Row(
                quantity=f"0.1, {strategy}, time term, fills 1 − exp(−λ dt)",
                ours=profit(strategy, 0.1, time_term=True, fill_model="poisson"),
                targets={"other code": Target(value=other, band=SURE * error, digits=2)},
            )
        )
    title = "Avellaneda–Stoikov, other readings of the rules, by gamma: exact profit"
    return Section(title=title, rows=rows, notes=(note,))
