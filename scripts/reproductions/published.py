"""The figures that ours are held against: printed in papers, or found by other code than this repository's."""

import math
from typing import NamedTuple


class Line(NamedTuple):
    """One line of a table of Avellaneda & Stoikov, in their order: currency, and units held at the end."""

    spread: float
    profit: float
    profit_std: float
    inventory: float
    inventory_std: float


# Simulations behind each line of the paper, and behind each of the other code.
PAPER_PATHS, OTHER_PATHS = 1_000, 100_000

# Avellaneda & Stoikov, Quantitative Finance 8(3), 217-224 (2008), tables 1 to 3: (gamma, strategy) -> line.
TABLES_2008 = {
    (0.1, "inventory"): Line(1.29, 62.94, 5.89, 0.10, 2.80),
    (0.1, "symmetric"): Line(1.29, 67.21, 13.43, -0.018, 8.66),
    (0.01, "inventory"): Line(1.33, 66.78, 8.76, -0.02, 4.70),
    (0.01, "symmetric"): Line(1.33, 67.36, 13.40, -0.31, 8.65),
    (0.5, "inventory"): Line(1.15, 33.92, 4.72, -0.02, 1.88),
    (0.5, "symmetric"): Line(1.15, 66.20, 14.53, 0.25, 9.06),
}
# Their preprint of 2006, gamma = 0.1, as quoted by github.com/ragoragino/avellaneda-stoikov, to one decimal.
PREPRINT_2006 = {
    (0.1, "inventory"): Line(math.nan, 65.0, 6.6, 0.08, 2.9),
    (0.1, "symmetric"): Line(math.nan, 68.4, 12.7, 0.26, 8.4),
}
# The same rules in other code: (gamma, strategy, is the time term in the spread) -> line.
OTHER_CODE = {
    (0.1, "inventory", False): Line(1.291, 64.21, 6.04, -0.009, 2.93),
    (0.1, "symmetric", False): Line(1.291, 68.58, 13.82, 0.011, 8.86),
    (0.01, "inventory", False): Line(1.329, 68.37, 8.94, -0.011, 5.22),
    (0.01, "symmetric", False): Line(1.329, 68.62, 13.73, 0.004, 8.78),
    (0.5, "inventory", False): Line(1.151, 23.91, 5.05, -0.004, 1.95),
    (0.5, "symmetric", False): Line(1.151, 67.90, 14.03, -0.015, 9.15),
    (0.1, "inventory", True): Line(1.492, 64.88, 6.53, -0.009, 2.93),
    (0.1, "symmetric", True): Line(1.492, 67.98, 13.30, -0.024, 8.41),
    (0.01, "inventory", True): Line(1.349, 68.38, 8.98, -0.009, 5.22),
    (0.01, "symmetric", True): Line(1.349, 68.62, 13.69, 0.003, 8.73),
    (0.5, "inventory", True): Line(2.156, 48.56, 5.87, -0.002, 1.95),
    (0.5, "symmetric", True): Line(2.156, 58.36, 11.52, -0.033, 7.10),
}


class Exact(NamedTuple):
    """Values of one Cartea-Jaimungal market in 200 steps, by other code; None where it was not computed."""

    optimum: float
    closed_form: float  # quotes of the matrix exponential, played in 200 steps
    continuous: float  # h(0, 0)
    constant: float
    glft: float | None = None
    avellaneda_stoikov: float | None = None  # gamma = 2 phi / sigma^2, with the time term
    constant_spread: float | None = None  # and without it
    linear: float | None = None  # bid at 0.78 + 0.12 q, ask at 0.78 - 0.12 q


# (phi, maker fee in currency per unit) -> values.
CARTEA_JAIMUNGAL = {
    (0.0, 0.0): Exact(60.680, 60.272, 68.132, 59.840),
    (0.2, 0.0): Exact(59.106, 58.750, 66.289, 55.335, 58.470, 56.759, 55.149),
    (1.0, 0.0): Exact(56.456, 56.188, 63.107, 37.793, 54.839, 44.244, 42.123, 56.391),
    (5.0, 0.0): Exact(50.372, 50.229, 56.124, 1.571, 44.342, 19.4, 28.1),
    (1.0, 0.1): Exact(49.005, 48.837, 53.966, 31.569, 45.156, 37.437, 31.497),
}
