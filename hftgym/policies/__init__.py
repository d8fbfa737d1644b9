"""Policies: rules, exact optima and deployed nets behind one `predict`.

Names are imported when they are first used, so that a deployed agent loads neither a compiler nor a net library that
it does not need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hftgym.policies.avellaneda_stoikov import AvellanedaStoikovPolicy
    from hftgym.policies.base import Policy
    from hftgym.policies.cartea_jaimungal import CarteaJaimungalPolicy
    from hftgym.policies.fixed_spread import FixedSpreadPolicy
    from hftgym.policies.glft import GLFTPolicy
    from hftgym.policies.linear_skew import LinearSkewPolicy
    from hftgym.policies.onnx import OnnxPolicy
    from hftgym.policies.optimal import OptimalPolicy
    from hftgym.policies.random import RandomPolicy
    from hftgym.policies.signal import SignalPolicy
    from hftgym.policies.zscore import ZScorePolicy

_MODULE_OF = {
    "AvellanedaStoikovPolicy": "avellaneda_stoikov",
    "CarteaJaimungalPolicy": "cartea_jaimungal",
    "FixedSpreadPolicy": "fixed_spread",
    "GLFTPolicy": "glft",
    "LinearSkewPolicy": "linear_skew",
    "OnnxPolicy": "onnx",
    "OptimalPolicy": "optimal",
    "Policy": "base",
    "RandomPolicy": "random",
    "SignalPolicy": "signal",
    "ZScorePolicy": "zscore",
}

__all__ = [
    "AvellanedaStoikovPolicy",
    "CarteaJaimungalPolicy",
    "FixedSpreadPolicy",
    "GLFTPolicy",
    "LinearSkewPolicy",
    "OnnxPolicy",
    "OptimalPolicy",
    "Policy",
    "RandomPolicy",
    "SignalPolicy",
    "ZScorePolicy",
]


def __getattr__(name: str) -> Any:
    """Import a policy's module on first use (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
