"""Results that consist of several files and are written whole or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_together(out: Path) -> Iterator[Path]:
    """Give a folder to write files into, which are moved to `out` when the block ends without an error.

    Files of the same names are replaced, others that lie in `out` stay. After an error or an interrupt `out` is as it
    was, except that an interrupt while the files are moved says which ones are new; each of them is whole.

    Args:
        out: The folder of the results; made if it does not exist.

    Raises:
        KeyboardInterrupt: Told what was written, by then: "nothing was written" as a rule.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    moved: list[str] = []
    try:
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f"{out.name}.partial-") as work:
            yield Path(work)
            out.mkdir(exist_ok=True)
            for file in sorted(Path(work).iterdir()):
                file.replace(out / file.name)
                moved.append(file.name)
    except KeyboardInterrupt as stop:
        what = f"of the results, {', '.join(moved)} were written to {out}" if moved else "nothing was written"
        raise KeyboardInterrupt(what) from stop
