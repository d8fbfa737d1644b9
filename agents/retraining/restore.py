"""Champions that do not come from a training: decided before a crash, put there by hand, or from the history."""

import shutil
from collections.abc import Callable
from datetime import datetime

from agents.retraining.folder import ChampionFolder
from agents.retraining.record import Record
from agents.run_folder import RunError, write_atomic

Say = Callable[[str], None]


def roll_back(folder: ChampionFolder, *, to: int | None = None, now: datetime, command: str, say: Say) -> Record:
    """Put an earlier champion back into its place, byte for byte, and return the new entry of the history.

    Args:
        folder: The champion's.
        to: Number of the entry whose model is to be the champion; None is the one before the present champion.
        now: The time, in UTC.
        command: The command line, for the record.
        say: Takes one line per event.

    Raises:
        RunError: There is no such champion, or its file is damaged; the present one is untouched.
    """
    if not folder.history.is_dir():
        raise RunError(f"there is no history in {folder.path} to go back to")
    with folder.locked():
        records = folder.records()
        crowned = [record.number for record in records if record.crowns]
        if not records:
            raise RunError(f"there is no history in {folder.path} to go back to")
        present = records[-1].champion
        target = records[present - 1].previous if to is None else to
        if target is None:
            raise RunError(f"entry {present} is the first champion: there is none before it")
        if target not in crowned:
            raise RunError(f"--to must be an entry that was champion ({', '.join(map(str, crowned))}), got {target}")
        folder.model_bytes(target, records)  # damaged ones are refused before anything is written
        shutil.rmtree(folder.work, ignore_errors=True)
        record = Record(
            number=len(records) + 1,
            time=stamp(now),
            period="",
            action="rolled back",
            champion=target,
            previous=present,
            sha256="",
            command=command,
            reason=f"from entry {present} to entry {target}, by hand",
        )
        folder.commit(record, records)
        say(f"rolled back: entry {target} is the champion again")
        return record


def settled(folder: ChampionFolder, *, env_id: str, now: datetime, command: str, say: Say) -> list[Record]:
    """Return the history after finishing what a killed process left, and taking in a champion put there by hand.

    Args:
        folder: The champion's.
        env_id: The environment of its agents.
        now: The time, in UTC.
        command: The command line, for the record.
        say: Takes one line per event.

    Raises:
        ChampionError: The champion's file is missing, damaged or of another environment; it is left as it is.
    """
    records = folder.records()
    if (pending := folder.unsettled(records)) is not None:
        say(f"finishing what entry {pending.number} decided before its process ended: {pending.action}")
        folder.carry_out(pending, records)
    if not records and not folder.champion.exists():
        return records
    if folder.check_champion(records, env_id=env_id):
        return records
    say(
        f"{folder.champion.name} was put there by somebody else: taking it into the history as entry {len(records) + 1}"
    )
    shutil.rmtree(folder.work, ignore_errors=True)
    folder.draft.mkdir(parents=True)
    write_atomic(folder.draft / "model.onnx", folder.champion.read_bytes())
    record = Record(
        number=len(records) + 1,
        time=stamp(now),
        period="",
        action="adopted",
        champion=len(records) + 1,
        previous=records[-1].champion if records else None,
        sha256=folder.digest(folder.draft / "model.onnx"),
        command=command,
        reason="the champion's file was put in its place by somebody else",
    )
    folder.commit(record, records)
    return [*records, record]


def stamp(now: datetime) -> str:
    """Return a time as records hold it."""
    return now.isoformat(timespec="seconds")
