"""Whatever happens, champion.onnx is one whole agent that the history knows."""

import os
import pathlib
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from agents.retraining.folder import BusyError, ChampionError
from agents.retraining.restore import roll_back, settled
from agents.run_folder import RunError

COMMON = {"now": datetime(2026, 11, 16, 3, tzinfo=UTC), "command": "a test", "say": lambda text: None}


class Crash(BaseException):
    """The process ends here; nothing that handles errors sees it."""


@pytest.fixture
def crash_at(monkeypatch):
    """End the process at the k-th change of the disk that others can see, before or after it happens."""

    def arm(k, *, before):
        count = iter(range(1, 1_000))

        def guarded(change):
            def call(*arguments):
                if (now := next(count)) == k and before:
                    raise Crash
                result = change(*arguments)
                if now == k:
                    raise Crash
                return result

            return call

        for name in ("rename", "replace"):
            monkeypatch.setattr(pathlib.Path, name, guarded(getattr(pathlib.Path, name)))
        monkeypatch.setattr(os, "fsync", guarded(os.fsync))

    yield arm
    monkeypatch.undo()


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("k", range(1, 11))
def test_a_crash_anywhere_leaves_a_whole_champion_and_is_finished_later(
    folder, models, crash_at, monkeypatch, k, before
):
    old, new = models[:2]
    folder.put(old)
    crash_at(k, before=before)
    try:
        folder.put(new)
        survived = True
    except Crash:
        survived = False
    monkeypatch.undo()
    assert folder.whole() in (old, new)
    records = settled(folder, env_id="MarketMaking-v0", **COMMON)
    decided = len(records) == 2
    assert [record.action for record in records] == ["first", "promoted"][: 1 + decided]
    assert folder.whole() == (new if decided else old)
    assert folder.unsettled(records) is None
    if survived:
        assert k > 9  # all changes are covered by the range of k
    # Settling again changes nothing.
    assert settled(folder, env_id="MarketMaking-v0", **COMMON) == records


def test_rollback_restores_bytes_and_walks_back(folder, models):
    for data in models:
        folder.put(data)
    folder.put(models[0], action="kept")
    for wanted in (1, 0):
        roll_back(folder, **COMMON)
        assert folder.whole() == models[wanted]
    with pytest.raises(RunError, match="entry 1 is the first champion: there is none before it"):
        roll_back(folder, **COMMON)
    roll_back(folder, to=3, **COMMON)
    assert folder.whole() == models[2]
    assert [record.action for record in folder.records()] == ["first", "promoted", "promoted", "kept"] + [
        "rolled back"
    ] * 3
    with pytest.raises(RunError, match=r"--to must be an entry that was champion \(1, 2, 3\), got 4"):
        roll_back(folder, to=4, **COMMON)
    assert settled(folder, env_id="MarketMaking-v0", **COMMON) == folder.records()


def test_there_is_nothing_to_go_back_to(folder, tmp_path):
    for empty in (folder, type(folder)(tmp_path / "none")):
        with pytest.raises(RunError, match="no history"):
            roll_back(empty, **COMMON)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "gone"])
def test_a_damaged_champion_is_refused_and_the_last_good_one_offered(folder, models, damage):
    folder.put(models[0])
    folder.put(models[1])
    data = bytearray(models[1])
    data[1000] ^= 1
    if damage == "gone":
        folder.champion.unlink()
    else:
        folder.champion.write_bytes({"flipped": bytes(data), "cut": bytes(data[:700]), "empty": b""}[damage])
    with pytest.raises(ChampionError, match=r"The last good one is entry 2: `retrain.py rollback --to 2`"):
        settled(folder, env_id="MarketMaking-v0", **COMMON)
    roll_back(folder, to=2, **COMMON)
    assert folder.whole() == models[1]


def test_damage_in_the_history_is_refused_too(folder, models, snapshot):
    folder.put(models[0])
    folder.put(models[1])
    model = folder.entry(1) / "model.onnx"
    model.write_bytes(models[2])  # whole, but not what was crowned
    with pytest.raises(ChampionError, match=r"not the file that its record.json describes.*last good one is entry 2"):
        roll_back(folder, **COMMON)
    assert folder.whole() == models[1]
    folder.champion.write_bytes(b"")
    (folder.entry(2) / "model.onnx").write_bytes(b"")
    before = snapshot(folder.path)
    with pytest.raises(ChampionError, match="The history holds no whole champion"):
        settled(folder, env_id="MarketMaking-v0", **COMMON)
    assert snapshot(folder.path) == before


@pytest.mark.parametrize("text", ["", "{}", '{"format": "hftgym.retrain/1", "number": 1}', "[]", '{"format": "other"}'])
def test_a_damaged_record_is_named(folder, models, text):
    folder.put(models[0])
    (folder.entry(1) / "record.json").write_text(text)
    with pytest.raises(RunError, match=r"0001/record\.json is damaged or missing"):
        folder.records()


def test_a_hole_in_the_history_is_named(folder, models):
    for data in models:
        folder.put(data)
    shutil.rmtree(folder.entry(2))
    with pytest.raises(RunError, match="lacks the entry 0002"):
        settled(folder, env_id="MarketMaking-v0", **COMMON)
    assert folder.whole() == models[2]


def test_a_damaged_pointer_is_named_and_written_anew(folder, models):
    folder.put(models[0])
    folder.pointer.write_text("{")
    with pytest.raises(RunError, match=r"champion\.json is damaged"):
        settled(folder, env_id="MarketMaking-v0", **COMMON)
    roll_back(folder, to=1, **COMMON)
    assert settled(folder, env_id="MarketMaking-v0", **COMMON)[-1].champion == 1


def test_a_champion_put_there_by_hand_is_taken_in(folder, models):
    folder.champion.write_bytes(models[0])
    assert [record.action for record in settled(folder, env_id="MarketMaking-v0", **COMMON)] == ["adopted"]
    folder.put(models[1])
    folder.champion.write_bytes(models[0])  # an operator's own way back is not undone
    records = settled(folder, env_id="MarketMaking-v0", **COMMON)
    assert [record.action for record in records] == ["adopted", "promoted", "adopted"]
    assert folder.whole() == models[0]
    roll_back(folder, **COMMON)
    assert folder.whole() == models[1]


@pytest.mark.parametrize("crowned", [False, True])
def test_a_champion_of_another_environment_is_not_taken_in(folder, models, snapshot, crowned):
    if crowned:
        folder.put(models[1])
    folder.champion.write_bytes(models[0])
    before = snapshot(folder.path)
    offer = "`retrain.py rollback --to 1` puts it back" if crowned else "holds no whole champion"
    message = f"champion.onnx was trained in 'MarketMaking-v0', expected 'CJ-v0': one folder holds .*{offer}"
    with pytest.raises(ChampionError, match=message):
        settled(folder, env_id="CJ-v0", **COMMON)
    assert snapshot(folder.path) == before


def test_one_process_at_a_time_and_no_lock_outlives_its_process(folder):
    hold = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); "
        "time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold, str(folder.path / "lock")], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline()
        with pytest.raises(BusyError, match="another process is at work"), folder.locked():
            pass
    finally:
        holder.kill()
        holder.communicate()
    with folder.locked(), pytest.raises(BusyError), folder.locked():
        pass


def test_a_folder_that_cannot_be_written_is_named(unwritable, folder):
    with (
        pytest.raises(RunError, match=r"cannot write into .*file/champion: Not a directory"),
        type(folder)(unwritable).locked(),
    ):
        pass
