import io
import sys

import polars as pl
import pytest
from rich.console import Console

from hftgym.policies import OnnxPolicy
from hftgym.report import Section, write_report
from scripts import demo_parts, demo_steps, evaluate

FILES = {"report.md", "comparison.png", "episode.png", "results.csv", "episodes.parquet", "model.onnx", "training"}


@pytest.fixture
def no_tape(monkeypatch, tmp_path):
    monkeypatch.setattr(demo_parts, "tape_folders", lambda: [tmp_path / "nowhere"])


def demo(out, *, tape=None, episodes=10):
    console = Console(file=io.StringIO(), width=100)
    demo_steps.run(console, tape_path=tape, out=out, seed=0, timesteps=None, episodes=episodes, quick=True)
    return console.file.getvalue()


@pytest.mark.slow
def test_the_demo_leaves_everything_it_promises(no_tape, tmp_path):
    out = tmp_path / "demo"
    text = demo(out)
    assert {path.name for path in out.iterdir()} == FILES
    assert [f"{i}/6" in text for i in range(1, 7)] == [True] * 6
    assert "no recorded ticks at hand" in text
    assert not demo_parts.partial(out).exists()
    results, episodes = pl.read_csv(out / "results.csv"), pl.read_parquet(out / "episodes.parquet")
    names = ["random", "fixed spread", "z-score", "Avellaneda-Stoikov", "linear skew", "optimal", "PPO agent"]
    assert results["policy"].to_list() == names
    assert episodes.height == 10 * len(names)
    assert episodes["seed"].min() == demo_steps.FIRST_SEED
    OnnxPolicy(out / "model.onnx")
    written = (out / "report.md").read_text()
    for part in (
        "Simulated profits are not profits",
        "(comparison.png)",
        "| PPO agent − optimal | price_free |",
        "seed 0",
    ):
        assert part in written
    # A second one takes its place, and nothing of the first stays.
    (out / "stale").touch()
    demo(out)
    assert {path.name for path in out.iterdir()} == FILES


@pytest.mark.slow
def test_recorded_ticks_are_replayed(tmp_path, monkeypatch):
    path = next((folder / demo_parts._TAPE for folder in demo_parts.tape_folders() if folder.is_dir()), None)
    if path is None or not path.is_file():
        pytest.skip("no recorded ticks: set HFTGYM_DATA to a folder that holds them")
    text = demo(tmp_path / "demo", tape=path)
    assert {path.name for path in (tmp_path / "demo").iterdir()} == FILES | {"tape.png"}
    assert "BTCUSDT" in text
    assert "A few minutes" in (tmp_path / "demo" / "report.md").read_text().replace("a few", "A few")


@pytest.mark.parametrize("content", [None, b"", b"not a tape\n" * 50])
def test_a_bad_tape_is_told_before_anything_is_trained(content, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_steps, "train", lambda *args, **kwargs: pytest.fail("it trained"))
    tape = tmp_path / "tape.gz"
    if content is not None:
        tape.write_bytes(content)
    with pytest.raises(demo_parts.DemoError, match=r"--tape: .*tape\.gz"):
        demo(tmp_path / "demo", tape=tape)
    assert not (tmp_path / "demo").exists()
    assert not demo_parts.partial(tmp_path / "demo").exists()


def test_ctrl_c_leaves_the_last_results_and_says_so(no_tape, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_steps, "train", interrupted)
    out = tmp_path / "demo"
    with pytest.raises(KeyboardInterrupt, match=r"demo\.partial; there is no .*demo yet"):
        demo(out)
    out.mkdir()
    (out / "report.md").write_text("before")
    with pytest.raises(KeyboardInterrupt, match="demo is as it was"):
        demo(out)
    assert (out / "report.md").read_text() == "before"


def test_a_folder_that_is_no_demo_is_not_replaced(no_tape, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(demo_parts.DemoError, match="holds something else than an earlier demo"):
        demo(tmp_path)
    with pytest.raises(demo_parts.DemoError, match="at least 2, got 1"):
        demo(tmp_path / "x", episodes=1)


def test_a_tape_is_found_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HFTGYM_DATA", str(tmp_path))
    assert demo_parts.tape_folders()[0] == tmp_path
    (tmp_path / demo_parts._TAPE).write_bytes(b"garbage")
    tape, why_not = demo_parts.find_tape(None)
    assert tape is None
    assert "cannot be read" in why_not


def test_a_report_says_what_the_numbers_do_not_show(tmp_path):
    sections = [Section(heading="A", text="words", picture="a.png"), Section(heading="B")]
    text = write_report(tmp_path / "r.md", title="T", facts={"seed": "3"}, sections=sections).read_text()
    assert text.startswith("# T\n\n- **seed**: 3\n\n## A\n\nwords\n\n![A](a.png)\n\n## B\n\n## What these numbers")
    assert "Simulated profits are not profits" in text


def run_evaluate(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, words)])
    return evaluate.main()


def test_the_evaluate_command_writes_table_and_picture(tmp_path, monkeypatch, capsys):
    words = ["z-score", "linear-skew", "--episodes", "5", "--out", tmp_path / "e", "--params.horizon", "60"]
    assert run_evaluate(monkeypatch, *words) == 0
    assert "linear skew" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "e").iterdir()} == {
        "comparison.png", "results.csv", "differences.csv", "episodes.csv"
    }  # fmt: skip
    assert pl.read_csv(tmp_path / "e" / "episodes.csv").height == 10
    assert pl.read_csv(tmp_path / "e" / "differences.csv")["baseline"].unique().to_list() == ["z-score"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["magic"], "policy must be one of random, fixed-spread"),
        (["none.onnx"], "there is no file none.onnx"),
        (["z-score", "--episodes", "1"], "episodes must be an integer of at least 2"),
    ],
)
def test_the_evaluate_command_explains_what_is_wrong(words, message, tmp_path, monkeypatch, capsys):
    assert run_evaluate(monkeypatch, *words, "--out", tmp_path / "e") == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "e").exists()
