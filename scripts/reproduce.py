"""Play the published problems through this repository's own market, and print published beside reproduced.

python scripts/reproduce.py  (everything: half a minute)

python scripts/reproduce.py cartea-jaimungal default-market --paths 10000  (two parts, quicker, wider bands)

Ours is followed by its standard error where it is simulated, the others by the largest difference allowed, in
brackets: the last digit printed where both are exact, three or four standard errors where one is not. What stands
without brackets is shown and not judged. The exit status is 1 if a figure is outside. docs/ground_truth.md has the
formulas, the sources, and what does not reproduce.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import tyro
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.reproductions import avellaneda_stoikov, cartea_jaimungal, default_market, hidden_regime, zscore
from scripts.reproductions.figures import table

Part = Literal["avellaneda-stoikov", "cartea-jaimungal", "zscore", "default-market", "hidden-regime"]
_MODULES = (avellaneda_stoikov, cartea_jaimungal, zscore, default_market, hidden_regime)
PARTS = dict(zip(get_args(Part), _MODULES, strict=True))
_FEWEST = 100


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to reproduce.

    Attributes:
        parts: Which parts; all of them if none is named.
        paths: Episodes per simulated figure, at least 100; zscore plays a fifth of them (its episodes are 25 times as
            long), default-market a tenth.
        seed: Seed of the first episode; episode i has the seed `seed` + i.
    """

    parts: tyro.conf.Positional[tuple[Part, ...]] = ()
    paths: int = 100_000
    seed: int = 0


def main() -> int:
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.paths < _FEWEST or arguments.seed < 0:
        print(f"error: --paths must be at least {_FEWEST} and --seed at least 0", file=sys.stderr)
        return 2
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 100  # a file or a pipe has no width of its own
    console.print(f"{arguments.paths:,} paths, seeds {arguments.seed:,} and up", style="dim")
    missed: list[str] = []
    for part in arguments.parts or PARTS:
        for section in PARTS[part].sections(arguments.paths, arguments.seed):
            console.print(f"\n[bold]{section.title}[/]", table(section), *section.notes, sep="\n")
            missed += section.missed
    verdict = f"{len(missed)} figures are outside their bands:" if missed else "Every figure is within its band."
    console.print(f"\n{verdict}", *missed, sep="\n  ", style="red" if missed else "green")
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
