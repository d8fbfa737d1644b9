"""Actions without a thought: the floor of every comparison."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hftgym.policies.base import CROSS, WITHDRAW, Policy


class RandomPolicy(Policy):
    """Draw both actions uniformly from [-1, 1], independently of what is observed.

    The generator is the policy's own, so two policies of equal seed act alike on the same sequence of calls; a batch of
    N takes the draws that N single observations would take. The draws are no part of the environment's randomness.

    Args:
        seed: Seed of the generator, an integer of at least 0.

    Raises:
        ValueError: `seed` is not such an integer.
    """

    def __init__(self, seed: int = 0) -> None:
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ValueError(f"seed must be an integer of at least 0, got {seed!r}")
        self.seed = int(seed)
        self._generator = np.random.default_rng(self.seed)

    def actions(self, observations: NDArray[np.float32]) -> NDArray[Any]:
        """Return the next N pairs of draws."""
        return self._generator.uniform(CROSS, WITHDRAW, size=(len(observations), 2))
