"""Stub."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Demo:
    """d."""


def demonstrate(demo: Demo) -> int:
    return 0
