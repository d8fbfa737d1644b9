"""The results of a sweep: one small parquet file per task, named by its key, and there whole or not at all."""

import fcntl
import hashlib
import io
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from scripts.sweeping.engine import Outcome
from scripts.sweeping.task import Task

HASH = "_sha256"  # what the columns of files' hashes end in
_META = b"hftgym.sweep"


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a dataset holds.

    Attributes:
        table: Every row of every task, with the columns key, kind and those of the rows; empty if there is nothing.
        varied: Names of the columns that are options of tasks, in the order of their files.
        files: Keys of the tasks -> their files.
        unreadable: Files that are damaged, or no results of a sweep, with the reason.
        failures: Keys of the tasks that failed and were not done since -> what they raised.
    """

    table: pl.DataFrame
    varied: tuple[str, ...]
    files: Mapping[str, Path]
    unreadable: Mapping[Path, str]
    failures: Mapping[str, str]


class Dataset:
    """A folder of results: results/kind=<kind>/bucket=<two digits>/<key>.parquet, failures/<key>.json, and runs/.

    Only the process that runs a sweep writes, and every file is written elsewhere, synced and moved into its place. So
    nothing is ever there twice or in part, whoever is killed, and two sweeps may write at once.

    Args:
        folder: Made by `writing`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results, self.failures, self.runs = (folder / name for name in ("results", "failures", "runs"))
        self._partial = folder / "partial"

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be one of those who write; the first one removes what killed ones left behind."""
        for folder in (self.results, self.failures, self.runs, self._partial):
            folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass  # somebody else is writing, and may be in the middle of it
            else:
                for file in self._partial.iterdir():
                    file.unlink()
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    def path_of(self, task: Task) -> Path:
        """Return the file of a task's results."""
        return self.results / f"kind={task.kind}" / f"bucket={task.key[:2]}" / f"{task.key}.parquet"

    def add(self, outcome: Outcome) -> str:
        """Write down what came of a task; return the error if it failed."""
        task, error = outcome.task, outcome.error
        failure = self.failures / f"{task.key}.json"
        if outcome.rows is not None:
            try:
                data = _as_parquet(outcome)
            except (pa.ArrowException, OverflowError, TypeError, ValueError) as raised:
                error = f"its rows are no table: {raised}"
            else:
                self._put(self.path_of(task), data)
                failure.unlink(missing_ok=True)
                return ""
        told = {"kind": task.kind, "values": dict(task.values), "error": error, "seconds": outcome.seconds}
        self._put(failure, json.dumps(told).encode())
        return error

    def read(self) -> Results:
        """Read all there is; every file is checked to its last byte, and left out if it is not as it was written."""
        tables: list[pl.DataFrame] = []
        varied: dict[str, None] = {}
        files: dict[str, Path] = {}
        unreadable: dict[Path, str] = {}
        for path in sorted(path for path in self.results.rglob("*") if path.is_file()):
            try:
                table, names = _read(path)
            except (ValueError, LookupError, TypeError, OSError, pa.ArrowException) as error:
                unreadable[path] = f"{error}".partition("\n")[0] or type(error).__name__
                continue
            tables.append(table)
            varied |= dict.fromkeys(names)
            files[path.stem] = path
        failed = {path.stem: path for path in sorted(self.failures.glob("*.json"))}
        return Results(
            table=pl.concat(tables, how="diagonal_relaxed") if tables else pl.DataFrame(),
            varied=tuple(varied),
            files=files,
            unreadable=unreadable,
            failures={key: _told(path) for key, path in failed.items() if key not in files},
        )

    def _put(self, path: Path, data: bytes) -> None:
        """Write a file whole or not at all, and so that it survives a power cut."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._partial / f"{path.name}.{secrets.token_hex(8)}"
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _as_parquet(outcome: Outcome) -> bytes:
    """Return rows as a parquet file that can tell whether it is damaged."""
    task = outcome.task
    head, seconds = {"key": task.key, **task.values, **_hashes(task)}, {"seconds": outcome.seconds}
    rows = [head | row | seconds for row in outcome.rows or [{}]]
    names = dict.fromkeys(name for row in rows for name in row)
    table = pa.table({name: [_flat(row.get(name)) for row in rows] for name in names})
    # What no row has a value of is a number that is not known: every file has the same type for it.
    nothing = [pa.field(one.name, pa.float64() if pa.types.is_null(one.type) else one.type) for one in table.schema]
    table = table.cast(pa.schema(nothing))
    meta = {"key": task.key, "kind": task.kind, "varied": list(task.values)}
    meta["digest"] = _digest(table, meta["varied"])
    buffer = io.BytesIO()
    table = table.replace_schema_metadata({_META: json.dumps(meta)})
    # A row or a few: whatever else parquet can do costs more than it saves.
    plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    pq.write_table(table, buffer, write_page_checksum=True, **plain)
    return buffer.getvalue()


def _hashes(task: Task) -> dict[str, str]:
    """Return the hashes of a task's files, by column: of a list, one after the other."""
    listed = {name: value if isinstance(value, list) else [value] for name, value in task.values.items()}
    found = {name: [task.files[one] for one in values if one in task.files] for name, values in listed.items()}
    return {name + HASH: " ".join(hashes) for name, hashes in found.items() if hashes}


def _read(path: Path) -> tuple[pl.DataFrame, list[str]]:
    """Return the rows of a file, and which of the columns are options.

    Raises:
        ValueError, LookupError, TypeError, OSError, pa.ArrowException: It is damaged, or another kind of file.
    """
    file = pq.ParquetFile(pa.BufferReader(path.read_bytes()), page_checksum_verification=True, pre_buffer=False)
    table = file.read(use_threads=False)
    meta = json.loads((table.schema.metadata or {}).get(_META, b"null"))
    if not isinstance(meta, dict):
        raise ValueError("not a result of a sweep")
    kind = path.parts[-3].removeprefix("kind=")
    if (meta["kind"], meta["key"], meta["key"][:2]) != (kind, path.stem, path.parts[-2].removeprefix("bucket=")):
        raise ValueError(f"holds the task {meta['key']} of kind {meta['kind']}: it was renamed or moved")
    if meta["digest"] != _digest(table, meta["varied"]):
        raise ValueError("damaged: its rows are not those that were written")
    frame = pl.DataFrame(pl.from_arrow(table.replace_schema_metadata(None)))
    return frame.with_columns(pl.lit(kind).alias("kind")), meta["varied"]


def _digest(table: pa.Table, varied: list[str]) -> str:
    """Return a hash of rows, and of what is said about their columns."""
    return hashlib.sha256(json.dumps([table.column_names, varied, table.to_pylist()]).encode()).hexdigest()


def _flat(value: Any) -> Any:
    """Return a list as JSON text: cells hold one value."""
    return json.dumps(value) if isinstance(value, list) else value


def _told(path: Path) -> str:
    try:
        return json.loads(path.read_bytes())["error"]
    except (OSError, ValueError, LookupError, TypeError):
        return "(the record of this failure cannot be read)"
