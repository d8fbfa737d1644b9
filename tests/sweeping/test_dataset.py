"""The dataset: whole files or none, each once, and nothing that was not written by a sweep is taken for a result."""

import math
import threading

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.sweeping.dataset import Dataset
from scripts.sweeping.engine import Outcome
from scripts.sweeping.task import Task

TASK = Task("evaluate", {"seed": 1, "policies": ["a", "b"]})
ROWS = [{"policy": "a", "j": 1.5, "fills": 3, "unknown": None}, {"policy": "b", "j": math.nan, "fills": 4}]


def done(task=TASK, rows=ROWS):
    return Outcome(task, rows, "", 0.25)


@pytest.fixture
def dataset(tmp_path):
    found = Dataset(tmp_path / "sweep")
    with found.writing():
        yield found


def files_in(dataset):
    return sorted(path for path in dataset.folder.rglob("*") if path.is_file() and path.name != ".lock")


def test_what_was_written_is_read_back_with_the_values_of_the_task(dataset):
    assert dataset.add(done()) == ""
    found = dataset.read()
    assert found.varied == ("seed", "policies")
    assert list(found.files) == [TASK.key]
    assert found.table.select("key", "kind", "seed", "policies", "policy", "fills", "seconds").rows() == [
        (TASK.key, "evaluate", 1, '["a", "b"]', "a", 3, 0.25),
        (TASK.key, "evaluate", 1, '["a", "b"]', "b", 4, 0.25),
    ]
    assert found.table["unknown"].null_count() == 2
    assert found.table["j"][0] == 1.5
    assert math.isnan(found.table["j"][1])


def test_rows_have_the_hashes_of_all_files(dataset):
    values = {"policies": ["/a.onnx", "z-score", "/b.onnx"], "market": "/m.toml"}
    dataset.add(done(Task("evaluate", values, {"/a.onnx": "01", "/b.onnx": "02", "/m.toml": "03"})))
    found = dataset.read()
    assert found.table.select("policies_sha256", "market_sha256").row(0) == ("01 02", "03")
    assert found.varied == ("policies", "market")


def test_a_task_is_there_once_however_often_it_is_added(dataset):
    for _ in range(3):
        dataset.add(done())
    assert [path.stem for path in files_in(dataset)] == [TASK.key]


def test_others_read_it_as_one_dataset(dataset):
    for seed in range(5):
        dataset.add(done(Task("evaluate", {"seed": seed})))
    found = pl.scan_parquet(dataset.results, hive_partitioning=True).collect()
    assert sorted(found["seed"].unique()) == list(range(5))
    assert set(found["kind"]) == {"evaluate"}


def test_tasks_of_different_options_are_read_together(dataset):
    dataset.add(done(Task("evaluate", {"seed": 1}), [{"j": 1}]))
    dataset.add(done(Task("evaluate", {"params.spread": 0.1}), [{"j": 1.5, "text": "x"}]))
    found = dataset.read()
    assert sorted(found.table["j"].to_list()) == [1.0, 1.5]
    assert set(found.varied) == {"seed", "params.spread"}


def test_a_failure_is_kept_until_the_task_is_done(dataset):
    assert dataset.add(Outcome(TASK, None, "ValueError: no", 1.0)) == "ValueError: no"
    assert dataset.read().failures == {TASK.key: "ValueError: no"}
    dataset.add(done())
    assert dataset.read().failures == {}
    assert [path.suffix for path in files_in(dataset)] == [".parquet"]


@pytest.mark.parametrize("value", [2**70, b"bytes", [{1}], "\udc80"])
def test_rows_that_are_no_table_are_a_failure(dataset, value):
    assert "no table" in dataset.add(done(rows=[{"j": value}]))
    assert dataset.read().table.is_empty()
    assert list(dataset.read().failures) == [TASK.key]


def test_no_rows_are_a_result_too(dataset):
    dataset.add(done(rows=[]))
    assert list(dataset.read().files) == [TASK.key]


@settings(max_examples=40)
@given(data=st.data())
def test_a_damaged_file_is_named_and_never_read(data, tmp_path_factory):
    dataset = Dataset(tmp_path_factory.mktemp("sweep"))
    with dataset.writing():
        dataset.add(done())
    path = dataset.path_of(TASK)
    whole = path.read_bytes()
    if data.draw(st.booleans(), label="cut"):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1), label="length")]
    else:
        place = data.draw(st.integers(0, len(whole) - 1), label="place")
        damaged = whole[:place] + bytes([whole[place] ^ (1 << data.draw(st.integers(0, 7)))]) + whole[place + 1 :]
    path.write_bytes(damaged)
    found = dataset.read()
    if found.files:  # a byte that means nothing
        path.write_bytes(whole)
        assert found.table.equals(dataset.read().table, null_equal=True)
        assert found.varied == dataset.read().varied
    else:
        assert list(found.unreadable) == [path]
        assert found.table.is_empty()


def test_damaged_names_of_options_are_no_result(dataset):
    dataset.add(done())
    path = dataset.path_of(TASK)
    whole = path.read_bytes()
    assert whole.count(b'"varied": ["seed"') == 1  # parquet keeps the description of its columns as text
    path.write_bytes(whole.replace(b'"varied": ["seed"', b'"varied": ["send"'))
    assert list(dataset.read().unreadable) == [path]


def test_foreign_files_are_named_and_not_read(dataset):
    dataset.add(done())
    folder = dataset.path_of(TASK).parent
    pl.DataFrame({"j": [1.0]}).write_parquet(folder / "0123456789abcdef.parquet")
    (folder / "notes.txt").write_text("mine")
    renamed = folder / f"{'0' * 16}.parquet"
    renamed.write_bytes(dataset.path_of(TASK).read_bytes())
    found = dataset.read()
    assert len(found.unreadable) == 3
    assert "renamed" in found.unreadable[renamed]
    assert list(found.files) == [TASK.key]


def test_what_a_killed_sweep_left_goes_with_the_next_one_but_not_under_a_running_one(tmp_path):
    dataset = Dataset(tmp_path)
    with dataset.writing():
        stray = tmp_path / "partial" / "0123.parquet.4567"
        stray.write_bytes(b"half")
        with dataset.writing():
            assert stray.exists()
    with dataset.writing():
        assert not stray.exists()


def test_many_writers_at_once_leave_one_whole_file_per_task(tmp_path):
    tasks = [Task("evaluate", {"seed": seed}) for seed in range(40)]

    def write():
        dataset = Dataset(tmp_path)
        with dataset.writing():
            for task in tasks:
                dataset.add(done(task))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = Dataset(tmp_path).read()
    assert sorted(found.files) == sorted(task.key for task in tasks)
    assert not found.unreadable
    assert len(found.table) == 2 * len(tasks)
    assert not list((tmp_path / "partial").iterdir())
