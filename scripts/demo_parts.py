"""What the demo needs besides its steps: its tape and its folder."""

import os
import shutil
from pathlib import Path

from hftgym.tape import Tape, TapeError, read_tape

_TAPE = "binance_usdm_btcusdt_20240808.gz"


class DemoError(Exception):
    """The demo cannot run; the message says why and what to do."""


def find_tape(given: Path | None) -> tuple[Tape | None, str]:
    """Return the tape to replay, or None and the reason.

    Raises:
        DemoError: The given file cannot be read as a tape.
    """
    if given is not None:
        try:
            return read_tape(given), ""
        except (TapeError, OSError) as error:
            raise DemoError(f"--tape: {error}") from error
    for folder in tape_folders():
        path = folder / _TAPE
        if path.is_file():
            try:
                return read_tape(path), ""
            except (TapeError, OSError) as error:
                return None, f"{path} cannot be read ({error})"
    return None, "no recorded ticks at hand; --tape FILE (make demo TAPE=FILE) replays a raw Binance WebSocket capture"


def tape_folders() -> list[Path]:
    """Return where recorded ticks may lie: $HFTGYM_DATA, and shared/data beside the repository."""
    named = os.environ.get("HFTGYM_DATA")
    return [*([Path(named)] if named else []), Path(__file__).parents[2] / "shared" / "data"]


def partial(out: Path) -> Path:
    """Return the folder in which the results are put together."""
    return out.with_name(f"{out.name}.partial")


def fresh_folder(work: Path) -> Path:
    """Return an empty folder, made or emptied."""
    if work.exists():
        shutil.rmtree(work)
    work.mkdir(parents=True)
    return work


def check_replaceable(out: Path) -> None:
    """Raise a DemoError if `out` holds anything but an earlier demo."""
    if out.exists() and not (out.is_dir() and ((out / "report.md").is_file() or not any(out.iterdir()))):
        raise DemoError(f"--out {out} holds something else than an earlier demo: choose another folder")


def replace_folder(work: Path, out: Path) -> None:
    """Put `work` in the place of `out`; whatever happens, one of the two is complete."""
    old = out.with_name(f"{out.name}.old")
    if old.exists():
        shutil.rmtree(old)
    if out.exists():
        out.rename(old)
    work.rename(out)
    if old.exists():
        shutil.rmtree(old)
