"""Real orders only after somebody has read what will happen and typed the symbol."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any


def confirm(venue: str, symbol: str, limits: Any, *, ask: Callable[[str], str] = input) -> bool:
    """Print what will happen, demand that the symbol is typed, and return whether it was.

    Args:
        venue: Where the orders go, as it is to be read: "binance, real money".
        symbol: The market.
        limits: A dataclass, such as `hftgym.live.risk.RiskLimits`; every field is shown.
        ask: Shows a text and returns what was typed; no answer (the end of the input) is a no.
    """
    shown = "\n".join(f"  {field.name:<20} {getattr(limits, field.name)}" for field in fields(limits))
    text = (
        f"REAL ORDERS. A policy will trade {symbol} at {venue}, without asking again.\n"
        "Own orders that are left from before will be cancelled first. The limits:\n"
        f"{shown}\n"
        f"Type {symbol} to begin, anything else to leave: "
    )
    try:
        return ask(text).strip() == symbol
    except EOFError:
        return False
