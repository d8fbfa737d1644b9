"""Sweep files: what they say, and that a wrong one is refused with file, line and key before anything runs."""

from pathlib import Path

import pytest

from scripts.sweeping import file as sweep_file
from scripts.sweeping.file import SweepFileError, load

EXAMPLES = Path(__file__).parents[2] / "scripts" / "sweeps"
GOOD = """\
kind = "evaluate"

[fixed]
policies = ["z-score"]
episodes = 50

[grid]
params.volatility = [
  0.001,
  0.002,
]
params.window = [20, 50]
seed = { from = 7, count = 3 }

[[list]]
params.spread = 0.0005

[[list]]
[list.params]
spread = 0.001
"""


def loaded(tmp_path, text):
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    return load(path)


def test_grid_and_list_are_combined_and_every_task_is_another(tmp_path):
    tasks = loaded(tmp_path, GOOD)
    assert len({task.key for task in tasks}) == len(tasks) == 2 * 2 * 3 * 2
    assert {task.values["params.spread"] for task in tasks} == {0.0005, 0.001}
    assert all(task.values["policies"] == ["z-score"] and task.values["episodes"] == 50 for task in tasks)


def test_seeds_of_a_series_share_no_episode_unless_asked(tmp_path):
    def seeds(text):
        return sorted({task.values["seed"] for task in loaded(tmp_path, GOOD.replace("count = 3", text))})

    assert seeds("count = 3") == [7, 57, 107]
    assert seeds("count = 3, step = 1") == [7, 8, 9]
    assert [
        task.values["seed"] for task in loaded(tmp_path, 'kind = "train"\n[grid]\nseed = {from = 0, count = 3}')
    ] == [
        0,
        1,
        2,
    ]


def test_numbers_are_what_their_option_is(tmp_path):
    whole, broken = (f'kind = "evaluate"\n[fixed]\nparams.taker_fee_bps = {fee}' for fee in ("1", "1.0"))
    assert loaded(tmp_path, whole)[0].key == loaded(tmp_path, broken)[0].key


def test_how_a_file_is_written_does_not_change_its_tasks(tmp_path):
    one = loaded(tmp_path, 'kind = "evaluate"\n[grid]\nparams.window = [20, 50]\nseed = [1, 2]')
    other = loaded(tmp_path, 'kind = "evaluate"\n[grid]\n"seed" = [2, 1]\n[grid.params]\n# most\nwindow = [\n50,20]')
    assert {task.key for task in one} == {task.key for task in other}


def test_a_tape_counts_by_name_and_content_not_by_folder(tmp_path):
    def key(folder, text):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "tape.csv").write_text(text)
        sweep = f'kind = "backtest"\n[grid]\ntape = ["{tmp_path / folder / "tape.csv"}"]\nlatency_s = [0.1]'
        return loaded(tmp_path, sweep)[0].key

    assert key("a", "x") == key("b", "x") != key("b", "y")


# what is replaced, by what -> line, key, part of the reason
WRONG = [
    ("[20, 50]", "[20, 50", None, "Unclosed array"),
    ("episodes = 50", "episodes = ", 5, "Invalid value"),
    ("episodes = 50", "episodes = 50\nepisodes = 51", 6, "Cannot overwrite"),
    ('"evaluate"', '"evaluat"', 1, "kind: must be one of evaluate, backtest, calibrate, train, got 'evaluat'"),
    ('kind = "evaluate"\n', "", 1, "kind: must be one of"),
    ("[fixed]", "[fixe]", 3, "fixe: no part"),
    ("[fixed]", "[[fixed]]", 3, "fixed: must be a table"),
    (
        "episodes = 50",
        "episode = 50",
        5,
        "episode: no option of evaluate that a sweep may set; did you mean 'episodes'?",
    ),
    ("episodes = 50", "out = 'x'", 5, "out: no option"),
    ("episodes = 50", "params.volatilty = 1.0", 5, "did you mean 'params.volatility'?"),
    ("episodes = 50", "episodes = 1.5", 5, "episodes: expected `int`, got `float`"),
    ("episodes = 50", "episodes = 1", 5, "episodes: episodes must be at least 2"),
    ("episodes = 50", "params.trade_through = 1", 5, "params.trade_through: expected `bool`"),
    ("episodes = 50", "market = 'nope.json'", 5, "market: there is no file"),
    ("episodes = 50", "market = 'nope'", 5, "market: market"),
    ("0.002,", "0.5,", 8, "params.volatility: volatility must be at most 0.1, got 0.5"),
    ("0.002,", "nan,", 8, "params.volatility: must be finite"),
    ("0.002,", '"high",', 8, "params.volatility: expected `float`"),
    ("[20, 50]", "20", 12, "params.window: must be a list of values"),
    ("[20, 50]", "[]", 12, "params.window: must have at least one value"),
    ("[20, 50]", "[20, 20]", None, "the same task twice"),
    ("{ from = 7, count = 3 }", "[0, -1]", 13, "seed: seed must be an integer from 0"),
    ("count = 3", "count = 0", 13, "seed: must have at least one value"),
    ("count = 3", "count = -3", 13, "seed: must be {from"),
    ("count = 3", "count = 3, step = 0", 13, "seed: must be {from"),
    ("count = 3", "coun = 3", 13, "seed: must be {from"),
    ("count = 3", "count = 90000", 13, "seed: 720,000 tasks are more than"),
    ("count = 3", "count = 10000000", 13, "seed: count must be at most"),
    ("0.0005", "0.001", 20, "params.spread: the same task twice"),
    ("spread = 0.001", "volatility = 0.001", 8, "params.volatility: given twice, also in line 20"),
    ('"z-score"', '"zscor"', 4, "policies: policy must be one of"),
    ('"z-score"', '"z-score", "zscore"', 4, "policies: "),
    ('"z-score"', '"agent.onnx"', 4, "policies: there is no file agent.onnx"),
    ("episodes = 50", 'params.reward = "cara"', 5, "params.reward: risk_aversion must be above 0"),
]


@pytest.mark.parametrize(("old", "new", "line", "reason"), WRONG)
def test_a_wrong_file_is_refused_with_file_line_and_key(tmp_path, old, new, line, reason):
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    with pytest.raises(SweepFileError) as found:
        loaded(tmp_path, text)
    message = str(found.value)
    assert message.startswith(f"{tmp_path / 'sweep.toml'}:{'' if line is None else f'{line}: '}"), message
    assert reason in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("kind", "line", "reason"),
    [
        ("backtest", "latency_s = 0.1", "tape: backtest needs it"),
        ("backtest", "tape = 'nope.gz'", "tape: there is no file nope.gz"),
        ("backtest", "seed = 3", "seed: no option of backtest"),
        ("calibrate", "tape = 'sweep.toml'\nsplit = 1.5", "split: split must be above 0"),
        ("backtest", "tape = 'sweep.toml'\nfees = 'mine'", "fees: --fees must be"),
        ("train", "config = 'nope.toml'", "config: there is no file nope.toml"),
        ("train", "gamma = 2.0", "gamma: gamma must be"),
        ("train", "batch_size = 77", "batch_size: batch_size must divide"),
        ("train", "lstm_size = 64", "lstm_size: 'lstm_size' is not a field of PPOConfig"),
        ("train", "params.sized_actions = true", "sized_actions must be false"),
    ],
)
def test_what_the_command_refuses_the_file_is_refused_for(tmp_path, monkeypatch, kind, line, reason):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SweepFileError) as found:
        loaded(tmp_path, f'kind = "{kind}"\n[fixed]\n{line}\n')
    assert f"{tmp_path / 'sweep.toml'}:" in str(found.value)
    assert reason in str(found.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(SweepFileError, match="No such file"):
        load(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SweepFileError, match="not UTF-8"):
        load(tmp_path / "bytes.toml")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_examples_can_be_run(path, tmp_path, monkeypatch):
    if "tapes/" in path.read_text():
        monkeypatch.chdir(tmp_path)
        Path("tapes").mkdir()
        for day in ("monday", "tuesday"):
            Path(f"tapes/{day}.parquet").write_text(day)
    assert 6 <= len(load(path)) <= 100


def test_a_thousand_sets_are_read_at_once(tmp_path):
    sets = "".join(f"[[list]]\nseed = {i}\n" for i in range(1_000))
    tasks = loaded(tmp_path, f'kind = "evaluate"\n{sets}')
    assert len(tasks) == 1_000
    assert sweep_file.MOST_TASKS >= 1_000
