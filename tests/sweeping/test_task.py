"""The key of a task: the same everywhere, and another one for anything that could change its results."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.sweeping.content import content
from scripts.sweeping.task import Task

VALUES = st.dictionaries(
    st.text(max_size=5),
    st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5), st.booleans())
    | st.lists(st.text(max_size=3), max_size=3),
    max_size=5,
)


def test_the_key_is_the_one_that_datasets_of_today_have():
    values = {"seed": 3, "params.volatility": 0.001, "policies": ["z-score", "é"]}
    assert Task("evaluate", values).key == "292c0dacdb13af6a"


@settings(max_examples=30)
@given(VALUES)
def test_the_key_does_not_depend_on_the_order_of_values(values):
    key = Task("evaluate", values).key
    assert Task("evaluate", dict(reversed(values.items()))).key == key
    assert len(key) == 16
    assert int(key, 16) >= 0


@settings(max_examples=30)
@given(VALUES, VALUES)
def test_other_values_and_kinds_have_other_keys(one, other):
    if json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True):
        assert Task("evaluate", one).key != Task("evaluate", other).key
    assert Task("evaluate", one).key != Task("train", one).key


def test_another_process_finds_the_same_key():
    code = 'from scripts.sweeping.task import Task; print(Task("train", {"b": [1], "a": 0.1}).key)'
    for seed in ("1", "2"):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed})
        assert done.stdout.strip() == Task("train", {"a": 0.1, "b": [1]}).key


def test_a_number_that_json_does_not_have_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        _ = Task("evaluate", {"x": float("nan")}).key


def test_a_file_counts_with_its_name_and_content_wherever_it_lies(tmp_path):
    def key(folder, text, name="tape.csv"):
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return Task("backtest", {"tape": str(path)}, {str(path): content(path)}).key

    assert key("here", "1") == key("there", "1")
    assert key("here", "1") != key("here", "2")
    assert key("here", "1") != key("here", "1", name="other.csv")


def test_the_other_file_of_a_pair_counts_too(tmp_path):
    messages, books = (tmp_path / f"AAPL_2012-06-21_{part}_10.csv" for part in ("message", "orderbook"))
    messages.write_text("m")
    alone = content(messages)
    books.write_text("b")
    assert alone != content(messages) == content(books)
    before = content(messages)
    books.write_text("bb")
    assert content(messages) != before
