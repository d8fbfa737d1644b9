"""The grid of recorded prices and sizes: the largest step of which all of them are whole multiples."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

# Values are looked at up to this many steps: rounding is then below a hundredth of a step.
_LARGEST = 2.0**43
# The nearest doubles are 1 / 2^53 apart in relative terms. Of numbers on no grid, one below 2^33 would pass for a
# multiple of a decimal step by chance in one case of a million.
_CREDIBLE = 2.0**33
_ROUNDING = 4 * float(np.finfo(np.float64).eps)  # of the value: what a product of decimals may be off
_MOST_DECIMALS = 22  # 10^22 is the largest power of ten that a float64 holds exactly
_BLOCK = 1 << 16  # values looked at together, so that they stay in the processor's cache
_ENOUGH = 10  # distinct values; a common divisor of fewer may be theirs by chance (of two whole numbers in 39 %)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The grids of a tape.

    Attributes:
        price: The price grid, quote currency; None if the prices lie on no grid.
        size: The grid of sizes, units; None if the sizes lie on no grid.

    Raises:
        ValueError: A step is neither None nor finite and above 0.
    """

    price: float | None
    size: float | None

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("price", "size"):
            step = getattr(self, name)
            if step is not None and not (math.isfinite(step) and step > 0):
                raise ValueError(f"Steps.{name} must be finite and above 0, or None for no grid, got {step!r}")

    def in_units_of(self, coins: float) -> "Steps":
        """Return the steps of prices per `coins` coins and of sizes in units of so many; exact for decimals."""
        unit = Decimal(repr(float(coins)))
        price = None if self.price is None else float(Decimal(repr(float(self.price))) * unit)
        size = None if self.size is None else float(Decimal(repr(float(self.size))) / unit)
        return Steps(price=price, size=size)


def rescaled(
    values: NDArray[np.float64], factor: float, *, step: float | None, new_step: float | None
) -> NDArray[np.float64]:
    """Return values times a factor; values on a grid as the nearest float64 of the decimals of the new grid."""
    if step is None or new_step is None:
        return values * factor
    exact = Fraction(repr(float(new_step)))
    return np.rint(values / step) * exact.numerator / exact.denominator


class Grid:
    """Finds the grid of a column of decimals that arrives in pieces.

    The step is the greatest common divisor of all values, on the smallest power of ten that divides all of them within
    rounding. From fewer than ten distinct values it is that power of ten, and at most 1. Values that no decimal step
    of a float64's precision explains, such as simulated prices, lie on no grid.
    """

    def __init__(self) -> None:
        self._decimals: int | None = 0  # None: no grid
        self._divisor = 0  # in units of 10^-decimals
        self._least = math.inf  # the smallest value
        self._seen: set[float] = set()  # some distinct values, up to _ENOUGH

    def add(self, values: NDArray[np.float64]) -> None:
        """Take float64 (n,) values, finite and above 0."""
        for start in range(0, len(values), _BLOCK):
            if self._decimals is None:
                return
            block = values[start : start + _BLOCK]
            changed = np.append(block[:1], block[1:][block[1:] != block[:-1]])  # recorded values often repeat
            self._least = min(self._least, float(changed.min()))
            if len(self._seen) < _ENOUGH:
                self._seen.update(changed[:: 1 + len(changed) // 1000].tolist())
            self._divide(changed)

    def _divide(self, values: NDArray[np.float64]) -> None:
        """Refine the decimals and the divisor until they explain the values."""
        decimals, largest = self._decimals or 0, float(values.max())
        while decimals <= _MOST_DECIMALS and largest * 10.0**decimals < _LARGEST:
            scaled = values * 10.0**decimals
            whole = np.rint(scaled)
            if (np.abs(scaled - whole) <= _ROUNDING * scaled).all():
                self._divisor *= 10 ** (decimals - (self._decimals or 0))
                self._decimals = decimals
                self._refine(whole.astype(np.int64))
                return
            decimals += 1
        self._decimals = None

    def _refine(self, whole: NDArray[np.int64]) -> None:
        if self._divisor == 1:
            return
        if 0 < self._divisor < 2**63:
            whole = whole[whole % self._divisor != 0]
        self._divisor = math.gcd(self._divisor, int(np.gcd.reduce(whole)))

    @property
    def step(self) -> float | None:
        """The step found so far; None for no grid, or before the first value."""
        if self._decimals is None or not self._seen or self._least * 10.0**self._decimals > _CREDIBLE:
            return None
        divisor = self._divisor if len(self._seen) >= _ENOUGH else 1
        return divisor / 10**self._decimals


def step_of(columns: Iterable[NDArray[np.float64]]) -> float | None:
    """Return the common grid of some columns of decimals, see `Grid`."""
    grid = Grid()
    for column in columns:
        grid.add(column)
    return grid.step
