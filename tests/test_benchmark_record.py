"""Benchmarks that are kept and compared: nothing is lost on the way, and worse is worse whichever way is better."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scripts.benchmarks.compare import ROUNDS, compare, is_portable
from scripts.benchmarks.figure import Figure
from scripts.benchmarks.record import Part, as_page, read_record, write_record

RATE = Figure(name="rate", value=40.0, unit="M env-steps/s", bar=35.0)
RATIO = Figure(name="against a peer", value=1.5, unit="x its rate", bar=2.0, note="a | b")
TIME = Figure(name="time", value=5.0, unit="us", bar=10.0, lower_is_better=True)


def part(*figures, **changes):
    return replace(Part.of("some", figures, began=datetime(2026, 1, 2, 3, 4, tzinfo=UTC), load=0.26), **changes)


def test_what_is_kept_comes_back(tmp_path):
    never = replace(TIME, value=float("inf"))
    kept = {"some": part(RATE, RATIO, TIME), "other": part(never)}
    write_record(kept, record=tmp_path / "r.json", page=tmp_path / "P.md")
    assert read_record(tmp_path / "r.json") == kept
    assert (tmp_path / "P.md").read_text() == as_page(kept)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["P.md", "r.json"]
    assert read_record(tmp_path / "none.json") == {}


def test_the_page_tells_what_was_missed_first_and_where_all_was_measured():
    page = as_page({"some": part(RATE, RATIO, TIME)})
    assert "3 figures, 3 with a bar, 1 of them missed" in page
    assert page.index("- against a peer: 1.5 x its rate, the bar is ≥ 2 x its rate") < page.index("## some")
    assert "`python scripts/benchmark.py some`: 2026-01-02 03:04 UTC" in page
    assert "load 0.3 at the start" in page
    assert "| time | 5 us | ≤ 10 us | reached |  |" in page


@pytest.mark.parametrize("text", ["", "[]", '{"some": {}}', '{"some": {"figures": [{"name": 1}]}}', "{"])
def test_a_damaged_record_is_refused(tmp_path, text):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="is no record of benchmarks"):
        read_record(path)


def test_worse_is_worse_whichever_way_is_better():
    kept = {"some": part(RATE, RATIO, TIME)}
    now = [replace(RATE, value=20.0), replace(RATIO, value=3.0), replace(TIME, value=15.0)]
    changes, remarks = compare(kept, ["some"], lambda _: now)
    assert {change.kept.name: change.factor for change in changes} == {"rate": 2.0, "against a peer": 0.5, "time": 3.0}
    assert not remarks


def test_what_looks_worse_is_measured_again_and_the_median_counts():
    calls = iter([20.0, 39.0, 41.0])
    changes, _ = compare({"some": part(RATE)}, ["some"], lambda _: [replace(RATE, value=next(calls))])
    assert [change.now for change in changes] == [39.0]
    assert next(calls, None) is None
    again = [0]

    def unchanged(_):
        again[0] += 1
        return [RATE]

    compare({"some": part(RATE)}, ["some"], unchanged)
    assert again == [1]
    assert ROUNDS == 3


def test_only_what_means_something_elsewhere_is_compared_with_another_machine():
    assert [is_portable(figure) for figure in (RATE, RATIO, TIME)] == [False, True, False]
    changes, remarks = compare({"some": part(RATE, RATIO, machine="another")}, ["some"], lambda _: [RATE, RATIO])
    assert [change.kept.name for change in changes] == ["against a peer"]
    assert "1 figures hold for another machine" in remarks[0]


def test_what_cannot_be_compared_is_told():
    _, remarks = compare({"some": part(RATE)}, ["some", "new"], lambda _: [TIME])
    assert remarks == ["some: 'rate' is not measured any more", "new: nothing was kept to compare with"]


@pytest.mark.slow
def test_the_command_refuses_what_it_does_not_know():
    script = Path(__file__).parents[1] / "scripts/benchmark.py"
    for words, told in ((["nothing"], "there is no part nothing"), (["batch", "--keep", "--compare"], "exclude")):
        done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert told in done.stderr
