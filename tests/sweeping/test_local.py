"""The local engine: every task has one outcome, whatever its workers die of, and no worker outlives the sweep."""

import os
import signal
import threading
from contextlib import closing

import pytest

from scripts.sweeping.engine import ATTEMPTS
from scripts.sweeping.local import LocalEngine
from tests.sweeping.jobs import perform, tasks
from tests.sweeping.processes import alive, wait_for, workers_of

pytestmark = pytest.mark.slow


def outcomes_of(given, workers=2):
    with closing(LocalEngine(workers).run(given, perform)) as running:
        outcomes = list(running)
    assert sorted(outcome.task.key for outcome in outcomes) == sorted(task.key for task in given)
    assert not workers_of(os.getpid())
    return {outcome.task.key: outcome for outcome in outcomes}


def test_tasks_are_shared_by_few_workers_of_one_thread_each():
    found = outcomes_of(tasks(50))
    rows = [outcome.rows[0] for outcome in found.values()]
    assert sorted(row["i"] for row in rows) == list(range(50))
    assert len({row["pid"] for row in rows}) <= 2
    assert {row["threads"] for row in rows} == {"1"}
    assert "OMP_NUM_THREADS" not in os.environ


def test_an_error_is_the_outcome_of_its_task_alone(tmp_path):
    wrong, lost = tasks(1, error="no such thing", begun=str(tmp_path)), tasks(1, unsendable=True)
    found = outcomes_of([*tasks(5), *wrong, *lost])
    assert found[wrong[0].key][1:3] == (None, "ValueError: no such thing")
    assert len(list(tmp_path.iterdir())) == 1  # it was not tried again
    assert found[lost[0].key].rows is None
    assert found[lost[0].key].error
    assert sum(outcome.rows is not None for outcome in found.values()) == 5


def test_a_task_whose_worker_dies_once_is_done_in_the_end(tmp_path):
    once = tasks(1, deadly_once=str(tmp_path / "mark"))
    found = outcomes_of([*tasks(10), *once])
    assert all(outcome.rows for outcome in found.values())
    assert (tmp_path / "mark").exists()


def test_a_task_that_kills_every_worker_fails_alone(tmp_path):
    deadly = tasks(2, deadly=True, begun=str(tmp_path))
    found = outcomes_of([*deadly, *tasks(20)])
    for task in deadly:
        assert found[task.key].rows is None
        assert "died" in found[task.key].error
        assert len(list(tmp_path.glob(f"{task.key}.*"))) == ATTEMPTS
    assert sum(outcome.rows is not None for outcome in found.values()) == 20


def test_closing_ends_workers_in_the_middle_of_a_task():
    running = LocalEngine(2).run([*tasks(1), *tasks(3, forever=True)], perform)
    first = next(running)
    assert first.rows
    pids = workers_of(os.getpid())
    assert pids
    running.close()
    wait_for(lambda: not alive(pids))


def test_closing_ends_a_worker_that_listens_to_nothing(tmp_path):
    deaf = tasks(1, deaf=True, begun=str(tmp_path))
    running = LocalEngine(2).run([*deaf, *tasks(1)], perform)
    assert next(running).rows
    wait_for(lambda: list(tmp_path.iterdir()))
    closing_it = threading.Thread(target=running.close, daemon=True)
    closing_it.start()
    closing_it.join(10)
    left = workers_of(os.getpid())
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def test_a_worker_that_is_killed_while_it_waits_is_replaced():
    running = LocalEngine(1).run(tasks(2), perform)
    first = next(running)
    assert first.rows
    os.kill(first.rows[0]["pid"], signal.SIGKILL)
    assert all(outcome.rows for outcome in running)


def test_workers_are_counted():
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        LocalEngine(0)
