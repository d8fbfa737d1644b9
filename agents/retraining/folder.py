"""The folder of a champion: one path that is whole at every moment, and the history of how it came to be there.

    champion.onnx   what a live process opens, whenever it likes
    champion.json   which entry of the history that is
    history/0001/   one folder per finished run: record.json, and what it says of model.onnx, model.zip, ...
    work/           the run under way, or what a killed one left
    retrain.log     one line per event
    lock            held by the process at work; the kernel frees it

A change of champion is decided by one rename (into history/) and carried out by another (onto champion.onnx). Whoever
is killed between the two leaves the old champion in its place; `settle` carries the decision out later.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agents.retraining.record import Record
from agents.run_folder import RunError, write_atomic
from hftgym.policies.onnx import ModelFileError, OnnxPolicy


class BusyError(RunError):
    """Another process is at work in the folder."""


class ChampionError(RunError):
    """The champion's file is missing or damaged; the message says how to restore it."""


@dataclass(frozen=True)
class ChampionFolder:
    """Where the files lie, and the only code that changes the champion.

    Attributes:
        path: The folder, made by `locked`.
    """

    path: Path

    @property
    def champion(self) -> Path:
        """The deployed agent."""
        return self.path / "champion.onnx"

    @property
    def pointer(self) -> Path:
        """The number of the entry that the deployed agent comes from."""
        return self.path / "champion.json"

    @property
    def history(self) -> Path:
        """The folder of the entries."""
        return self.path / "history"

    @property
    def work(self) -> Path:
        """Where the next entry is made."""
        return self.path / "work"

    @property
    def draft(self) -> Path:
        """The next entry, as long as it is not complete."""
        return self.work / "entry"

    @staticmethod
    def digest(path: Path) -> str:
        """Return the sha256 of a file, empty if it cannot be read."""
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            return ""

    def entry(self, number: int) -> Path:
        """Return the folder of an entry of the history."""
        return self.history / f"{number:04d}"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder if need be, and keep other processes out while the block runs.

        Raises:
            BusyError: Another process is at work.
            RunError: The folder cannot be made or written.
        """
        lock = self.path / "lock"
        try:
            self.history.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise RunError(f"cannot write into {self.path}: {error.strerror or error}") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BusyError(f"another process is at work in {self.path} (it holds {lock})") from error
            yield
        finally:
            os.close(descriptor)

    def records(self) -> list[Record]:
        """Return the history, oldest first.

        Raises:
            RunError: An entry cannot be read, or one is missing.
        """
        names = sorted(path.name for path in self.history.glob("[0-9]*") if path.is_dir())
        wanted = [self.entry(i + 1).name for i in range(len(names))]
        if names != wanted:
            missing = next(name for name in wanted if name not in names)
            raise RunError(f"{self.history} lacks the entry {missing}: restore it, or put all later ones aside")
        return [Record.read(self.history / name / "record.json") for name in names]

    def pointed(self) -> int:
        """Return the number of the last entry whose change of champion was carried out, 0 if none was."""
        try:
            return int(json.loads(self.pointer.read_text())["entry"])
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{self.pointer} is damaged ({error}): `rollback --to` writes it anew") from error

    def commit(self, record: Record, records: list[Record]) -> None:
        """Make the draft the next entry of the history, and carry out what it decides.

        Args:
            record: Of the draft; its files lie in `draft` already.
            records: The history before it.

        Raises:
            RunError: Something cannot be written; the champion is whole, old or new.
        """
        try:
            self.draft.mkdir(parents=True, exist_ok=True)
            write_atomic(self.draft / "record.json", record.to_json().encode())
            _flush(self.draft)
            self.draft.rename(self.entry(record.number))
            _flush(self.history)
        except OSError as error:
            raise RunError(f"cannot write {self.entry(record.number)}: {error.strerror or error}") from error
        self.carry_out(record, [*records, record])
        shutil.rmtree(self.work, ignore_errors=True)

    def carry_out(self, record: Record, records: list[Record]) -> None:
        """Put the champion that a record decides on into its place, verified, by one rename.

        Raises:
            ChampionError: That model is missing or damaged in the history; the champion's file is as it was.
        """
        data = self.model_bytes(record.champion, records)
        if self.digest(self.champion) != hashlib.sha256(data).hexdigest():
            write_atomic(self.champion, data)
        pointer = {"entry": record.number, "champion": record.champion, "sha256": hashlib.sha256(data).hexdigest()}
        write_atomic(self.pointer, json.dumps(pointer).encode())
        with contextlib.suppress(OSError):  # from here on it is only a matter of surviving a power cut
            _flush(self.path)

    def model_bytes(self, number: int, records: list[Record]) -> bytes:
        """Return the model of an entry, verified against its record and by every gate of `OnnxPolicy`.

        Raises:
            ChampionError: It is missing or damaged.
        """
        path = self.entry(number) / "model.onnx"
        try:
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != records[number - 1].sha256:
                raise ModelFileError(f"{path} is not the file that its record.json describes")
            OnnxPolicy.from_bytes(data, name=str(path))
        except (OSError, ModelFileError) as error:
            raise ChampionError(f"the model of entry {number} cannot be used: {error}{self._offer(records)}") from error
        return data

    def unsettled(self, records: list[Record]) -> Record | None:
        """Return the newest entry if its change of champion was decided and not carried out."""
        if records and records[-1].number > self.pointed():
            return records[-1]
        return None

    def check_champion(self, records: list[Record], *, env_id: str | None = None) -> bool:
        """Return whether the champion's file is the one that the history knows (False: another whole agent).

        Args:
            records: The history.
            env_id: The environment that the agent must be of; None asks for none.

        Raises:
            ChampionError: The file is missing, damaged or of another environment; the message offers the last good one.
        """
        if not self.champion.exists():
            raise ChampionError(f"there is no {self.champion}{self._offer(records)}")
        try:
            policy = OnnxPolicy(self.champion)
        except ModelFileError as error:
            raise ChampionError(f"the champion cannot be used: {error}{self._offer(records)}") from error
        known = bool(records) and self.digest(self.champion) == records[records[-1].champion - 1].sha256
        if env_id is not None and (own := policy.manifest.get("env_id")) != env_id:
            raise ChampionError(
                f"{self.champion} was trained in {own!r}, expected {env_id!r}: one folder holds the champions of one "
                f"environment{'' if known else self._offer(records)}"
            )
        return known

    def _offer(self, records: list[Record]) -> str:
        """Return what to do, naming the newest champion of the history whose file is whole."""
        crowned = [records[-1].champion, *(r.number for r in reversed(records) if r.crowns)] if records else []
        for number in crowned:
            path = self.entry(number) / "model.onnx"
            if self.digest(path) == records[number - 1].sha256:
                return f". The last good one is entry {number}: `retrain.py rollback --to {number}` puts it back"
        return ". The history holds no whole champion: put a good file there, or move the folder away and start again"


def _flush(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
