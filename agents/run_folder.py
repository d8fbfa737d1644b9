"""The folder of a training run: `config.toml`, `command.txt`, `tb/`, `checkpoints/`, `curve.csv`, `model.zip`.

Files appear whole or not at all, so that a run that was killed at any moment can be read and resumed.
"""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path


class RunError(RuntimeError):
    """A run cannot start, go on or be written; the message says what to do."""


class DivergedError(RunError):
    """The weights of a run became infinite: its recipe does not learn here."""


@dataclass(frozen=True)
class RunFolder:
    """Where the files of one run lie.

    Attributes:
        path: The folder, `runs/<name>`.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.toml"

    @property
    def command(self) -> Path:
        """The command lines that started and resumed the run, one per line."""
        return self.path / "command.txt"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "tb"

    @property
    def checkpoints(self) -> Path:
        """The newest checkpoints."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """The trained agent, a Stable-Baselines3 file."""
        return self.path / "model.zip"

    @property
    def curve(self) -> Path:
        """The worth of the greedy policy as training went on, where the optimum is known."""
        return self.path / "curve.csv"

    def checkpoint(self, timesteps: int) -> Path:
        """Return the file of the checkpoint after `timesteps` environment steps."""
        return self.checkpoints / f"step_{timesteps:012d}.zip"

    def newest_first(self) -> list[Path]:
        """Return the checkpoints that there are, the one of the most steps first."""
        return sorted(self.checkpoints.glob("step_*.zip"), reverse=True)

    def prune(self, keep: int) -> None:
        """Delete all but the newest `keep` checkpoints, and what a killed write left behind."""
        for path in (*self.newest_first()[keep:], *self.checkpoints.glob("*.tmp")):
            path.unlink(missing_ok=True)

    def create(self, *, overwrite: bool) -> None:
        """Make the folder ready for a new run.

        Raises:
            RunError: It holds a run already and `overwrite` is False, or holds something else, or cannot be written.
        """
        if self.config.exists():
            if not overwrite:
                state = "a run that has a model" if self.model.exists() else "an unfinished run"
                raise RunError(
                    f"{self.path} holds {state}: resume it (--resume), replace it (--overwrite), or choose another name"
                )
            self._remove()
        elif self.path.is_dir() and any(p != self.checkpoints and p.suffix != ".tmp" for p in self.path.iterdir()):
            raise RunError(f"{self.path} holds files but no run (no config.toml): choose another name")
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot create {self.checkpoints}: {error.strerror or error}") from error

    def _remove(self) -> None:
        """Delete the files of a run and nothing else that may lie beside them."""
        # The configuration goes last: until then the folder is recognised as a run.
        try:
            for folder in (self.tensorboard, self.checkpoints):
                if folder.exists():
                    shutil.rmtree(folder)
            for file in (self.model, self.curve, self.path / "curve.png", self.command, self.config):
                file.unlink(missing_ok=True)
        except OSError as error:
            raise RunError(f"cannot replace the run in {self.path}: {error.strerror or error}") from error


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or, whatever happens, as it was before.

    Raises:
        RunError: The disk is full, the folder is missing or not writable; nothing is left behind.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise RunError(f"cannot write {path} ({len(data):,} bytes): {error.strerror or error}") from error
