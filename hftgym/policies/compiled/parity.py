"""Does one engine do what another does? Asked of every compiled library before it decides."""

from collections.abc import Mapping

import numpy as np

from hftgym.observation import FEATURES, N_FEATURES
from hftgym.policies.engine import Engine

TOLERANCE = 1e-5
_ROWS, _EPISODES, _STEPS = 2_048, 32, 64
_LOW, _HIGH = [feature.low for feature in FEATURES], [feature.high for feature in FEATURES]


class ParityError(ValueError):
    """Two engines compute different things; the message says how different."""


def check_parity(engine: Engine, reference: Engine, *, widths: Mapping[str, int]) -> float:
    """Return the largest difference over 2,048 observations from all over their box.

    With a memory, they are 32 episodes of 64 steps in which each engine goes on with its own memory, which begins as
    NaN behind the mark of a start; the memories are compared too. Differences of numbers beyond 1 are relative.

    Raises:
        ParityError: It exceeds 1e-5.
    """
    generator = np.random.default_rng(0)
    count, steps = (_EPISODES, _STEPS) if widths else (_ROWS, 1)
    memories = [[np.full((count, width), np.nan, dtype=np.float32) for width in widths.values()] for _ in range(2)]
    worst = 0.0
    for step in range(steps):
        observations = generator.uniform(_LOW, _HIGH, size=(count, N_FEATURES)).astype(np.float32)
        # Some episodes start anew later on, so that the reset is seen with a memory that holds something.
        starts = [np.ascontiguousarray(generator.random((count, 1)) < (1.0 if step == 0 else 0.02))] if widths else []
        results = [
            one.run([observations, *starts, *held]) for one, held in zip((engine, reference), memories, strict=True)
        ]
        memories = [outputs[1:] for outputs in results]
        for ours, theirs in zip(*results, strict=True):
            difference = float((np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))).max())
            if not difference <= TOLERANCE:  # NaN too
                raise ParityError(
                    f"it differs from onnxruntime by {difference:.1e}, at most {TOLERANCE:.0e} is allowed"
                )
            worst = max(worst, difference)
    return worst
