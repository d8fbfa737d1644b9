"""The rules that an agent is compared with, by name, each at its best in the market at hand."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from hftgym.params import EnvParams, as_params
from hftgym.policies.base import Policy

OPTIMAL = "optimal"


def rules(names: Iterable[str] | None = None, *, params: EnvParams | None = None) -> dict[str, Policy]:
    """Return rules by name, with the settings that the exact recursion finds best for the market.

    Where the recursion does not cover the market, a rule keeps the settings that are best in the default market, and
    "optimal" is not to be had.

    Args:
        names: Which; if None, all but the closed forms GLFT and Cartea-Jaimungal. Case, blanks and hyphens do not
            matter.
        params: The market.

    Raises:
        ValueError: There is no rule of a name, or "optimal" was asked for where it is not known.
    """
    market = as_params(params)
    if names is None:
        return {name: policy for name, make in _RULES.items() if (policy := _or_none(make, market)) is not None}
    return {(name := rule_name(given)): (_RULES | _BY_NAME)[name](market) for given in names}


def rule_name(given: str) -> str:
    """Return the name in `RULES` that `given` means.

    Raises:
        ValueError: There is none.
    """
    for name in RULES:
        if _slug(name) == _slug(given):
            return name
    raise ValueError(f"policy must be one of {', '.join(map(_slug, RULES))} or an .onnx file, got {given!r}")


def policies(names: Iterable[str], *, params: EnvParams | None = None) -> dict[str, Policy]:
    """Return rules and exported agents by name: what ends in .onnx is a file, anything else is a rule.

    Raises:
        ValueError: A name is neither, two files have one name, or a file is not an agent.
        FileNotFoundError: There is no such file.
    """
    found: dict[str, Policy] = {}
    for given in names:
        if given.lower().endswith(".onnx"):
            path = Path(given)
            if not path.is_file():
                raise FileNotFoundError(f"there is no file {given}")
            from hftgym.policies import OnnxPolicy  # onnxruntime is an extra

            name = path.stem if path.stem not in found else f"{path.parent.name}/{path.stem}"
            one: dict[str, Policy] = {name: OnnxPolicy(path)}
        else:
            one = rules([given], params=params)
        if clash := found.keys() & one.keys():
            raise ValueError(f"every policy needs its own name, got {', '.join(clash)} twice")
        found |= one
    return found


def market_for(policy: Policy, params: EnvParams) -> EnvParams:
    """Return a market in which a policy's actions and observations mean what they meant where it was trained.

    Offsets and window are those of the file; fees, limits and prices stay the market's. A rule takes the market as it
    is.
    """
    manifest = getattr(policy, "manifest", None)
    if manifest is None:
        return params
    return replace(params, **{name: manifest["params"][name] for name in ("offset_low", "offset_high", "window")})


def _random(market: EnvParams) -> Policy:
    from hftgym.policies import RandomPolicy

    del market
    return RandomPolicy()


def _fixed_spread(market: EnvParams) -> Policy:
    from hftgym.policies import FixedSpreadPolicy, recursion

    try:
        return FixedSpreadPolicy(recursion.best_constant(recursion.unseen(market))[0], params=market)
    except ValueError:  # not covered
        return FixedSpreadPolicy(params=market)


def _zscore(market: EnvParams) -> Policy:
    from hftgym.policies import ZScorePolicy

    del market
    return ZScorePolicy()


def _avellaneda_stoikov(market: EnvParams) -> Policy:
    from hftgym.policies import AvellanedaStoikovPolicy
    from hftgym.policies.avellaneda_stoikov import best_risk_aversion

    try:
        return AvellanedaStoikovPolicy(market, risk_aversion=best_risk_aversion(market)[0])
    except ValueError:  # not covered, or no risk to be averse to
        return AvellanedaStoikovPolicy(market)


def _glft(market: EnvParams) -> Policy:
    from hftgym.policies import GLFTPolicy

    return GLFTPolicy(market)


def _cartea_jaimungal(market: EnvParams) -> Policy:
    from hftgym.policies import CarteaJaimungalPolicy

    return CarteaJaimungalPolicy(market)


def _linear_skew(market: EnvParams) -> Policy:
    from hftgym.policies import LinearSkewPolicy, recursion

    try:
        base, skew, _ = recursion.best_linear_skew(recursion.unseen(market))
    except ValueError:
        return LinearSkewPolicy(params=market)
    return LinearSkewPolicy(base, skew, params=market)


def _optimal(market: EnvParams) -> Policy:
    from hftgym.policies import OptimalPolicy

    return OptimalPolicy(market)


_RULES: dict[str, Callable[[EnvParams], Policy]] = {
    "random": _random,
    "fixed spread": _fixed_spread,
    "z-score": _zscore,
    "Avellaneda-Stoikov": _avellaneda_stoikov,
    "linear skew": _linear_skew,
    OPTIMAL: _optimal,
}
# To be had by name: closed forms so close to the optimum that beside it they would crowd every table and picture.
_BY_NAME: dict[str, Callable[[EnvParams], Policy]] = {"GLFT": _glft, "Cartea-Jaimungal": _cartea_jaimungal}
RULES: tuple[str, ...] = (*_RULES, *_BY_NAME)


def _or_none(make: Callable[[EnvParams], Policy], market: EnvParams) -> Policy | None:
    try:
        return make(market)
    except ValueError:
        return None


def _slug(name: str) -> str:
    return name.lower().replace(" ", "-").replace("_", "-")
