"""What a mistyped name may have meant."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is nearest, judged by what comes after the last dot; empty if none is near."""
    tails = {one.rpartition(".")[2]: one for one in known}
    tail = name.rpartition(".")[2]
    near = difflib.get_close_matches(tail, tails, n=1) or [one for one in tails if one.startswith(tail)]
    return tails[near[0]] if near else ""
