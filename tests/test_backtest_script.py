"""The backtest command on small real files: a capture as a recorder writes it, and a table of prices."""

import json
import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from hftgym import plots
from hftgym.params import EnvParams
from hftgym.tape import TapeFile, calibrate
from scripts import backtest, backtest_grid, backtest_parts, record

START_NS = 1_723_161_255_000_000_000


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    """A minute of a made-up market in Binance's words: four quotes and two trades per 0.1 s."""
    rng = np.random.default_rng(0)
    mid = 60_000 + 0.5 * np.round(rng.standard_normal(2_400).cumsum())
    lines = []
    for i, price in enumerate(mid):
        local = START_NS + i * 25_000_000
        ms = local // 10**6
        quote = {"b": f"{price - 0.5:.1f}", "B": "3", "a": f"{price + 0.5:.1f}", "A": "2"}
        quote = {"e": "bookTicker", "u": i, "s": "BTCUSDT", **quote, "T": ms, "E": ms}
        lines.append((local, {"stream": "btcusdt@bookTicker", "data": quote}))
        if i % 2:
            sold = bool(rng.integers(2))
            price += (-1 if sold else 1) * (0.5 + 0.5 * rng.integers(4))
            trade = {"e": "trade", "E": ms, "T": ms, "s": "BTCUSDT", "t": i, "p": f"{price:.1f}", "q": "2.5"}
            trade |= {"X": "MARKET", "m": sold}
            lines.append((local + 10_000_000, {"stream": "btcusdt@trade", "data": trade}))
    path = tmp_path_factory.mktemp("capture") / "capture.txt"
    path.write_text("".join(f"{local} {json.dumps(message)}\n" for local, message in lines))
    return path


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["scripts/backtest.py", *map(str, words)])
    return backtest.main()


def test_a_capture_becomes_a_table_pictures_and_every_fill(capture, tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, capture, "z-score", "fixed-spread", "--unit", "0.01", "--out", tmp_path) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "fees 2 / 5 bp" in printed
    assert "z-score: PnL " in printed
    results = pl.read_csv(tmp_path / "results.csv")
    assert results["policy"].to_list() == ["z-score", "fixed spread"]
    for name, pnl, fees, count in results.select("policy", "pnl", "fees", "fills").iter_rows():
        fills = pl.read_csv(tmp_path / f"fills_{backtest_parts.slug(name)}.csv")
        assert len(fills) == count > 0
        assert fills["fee"].sum() == pytest.approx(fees)
        held = (fills["side"] * fills["size"]).sum()
        paid = (fills["side"] * fills["size"] * fills["price"]).sum() + fills["fee"].sum()
        assert pnl == pytest.approx(held * last_mid(capture) - paid, abs=1e-6)
    assert set(pl.read_csv(tmp_path / "fills_z_score.csv")["reason"]) == {"crossed"}
    theirs, ours = results["pnl"].to_list()
    assert results["less_z_score"].to_list() == [None, pytest.approx(ours - theirs)]
    assert results["less_z_score_low"][1] < ours - theirs < results["less_z_score_high"][1]
    for picture in ("comparison.png", "z_score.png", "fixed_spread.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    report = (tmp_path / "report.md").read_text()
    assert "own orders move nothing" in report.lower()
    assert "python scripts/backtest.py" in report
    assert "| less z-score | - |" in report


def test_what_is_odd_about_a_tape_is_said(capture, tmp_path, monkeypatch, capsys):
    lines = capture.read_text().splitlines()
    ahead = f"{int(lines[300].partition(' ')[0]) + 60 * 10**9} {lines[300].partition(' ')[2]}"
    (tmp_path / "x").write_text("\n".join([*lines[:300], ahead, *lines[301:], ""]))
    assert run(monkeypatch, tmp_path / "x", "z-score", "--params.sized-actions", "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "  1 steps back in local time, kept\n" in printed
    assert "warning: 3,2" in printed
    assert "a replay takes them as received in one instant" in printed


def test_what_is_played_was_not_measured_on(capture):
    both, second = (backtest_parts.load(backtest.Arguments(tape=capture, split=split)) for split in (1.0, 0.5))
    before, after = both.tape.split(0.5)
    measured = calibrate(before, tick_s=0.1, base=both.params)
    assert second.params == replace(measured, horizon=len(second.prices) - 1)
    assert second.tape.quotes.local_ns.tolist() == after.quotes.local_ns.tolist()
    assert second.prices[0] == after.mid[0]
    assert abs(2 * len(second.prices) - len(both.prices)) <= 2
    assert "the last 50%" in second.description
    assert second.title == "binance-usdm BTCUSDT, the last 30 s"


def test_a_parquet_tape_stays_on_disk_and_is_the_same_market(capture, tmp_path):
    record.convert(capture, tmp_path / "x.parquet", symbol=None)
    whole, streamed = (
        backtest_parts.load(backtest.Arguments(tape=tape, unit=0.01)) for tape in (capture, tmp_path / "x.parquet")
    )
    assert isinstance(streamed.tape, TapeFile)
    assert streamed.params == whole.params
    assert streamed.title == whole.title
    np.testing.assert_array_equal(streamed.prices, whole.prices)


def last_mid(capture):
    """The mid at the last whole tick, in units of 0.01 coins."""
    quotes = [json.loads(line.partition(" ")[2])["data"] for line in capture.read_text().splitlines()]
    mids = [(float(quote["b"]) + float(quote["a"])) / 2 for quote in quotes if quote["e"] == "bookTicker"]
    return 0.01 * mids[(len(mids) - 1) // 4 * 4]


@pytest.mark.slow
def test_a_column_of_prices_is_played_by_the_z_score_rule(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(1)
    pl.DataFrame({"close": 100 + rng.standard_normal(500).cumsum() * 0.01}).write_csv(tmp_path / "prices.csv")
    words = (tmp_path / "prices.csv", "--prices", "close", "--out", tmp_path)  # as the help says it
    assert run(monkeypatch, *words) == 0
    assert "500 prices of prices.csv" in capsys.readouterr().out
    assert pl.read_csv(tmp_path / "results.csv")["fills"][0] > 10
    assert run(monkeypatch, *words[:-4], "--prices", "open") == 1
    assert "--prices must be a column of" in capsys.readouterr().err
    assert run(monkeypatch, words[0], "fixed-spread", "--prices", "close") == 1
    assert "nothing but z-score" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a table with named columns: empty CSV"),
        ("close\n1,2\n", "not a table with named columns: found more fields"),
        ("close\n1\nabc\n", "'close' must hold numbers, got 'abc' in row 2"),
        ("close,v\n1,0\n ,0\n2,0\n", "got nan at index 1"),
        ("close\n", "at least 2 prices"),
        ("open\n1\n", "--prices must be a column of"),
    ],
)
def test_a_table_without_prices_is_named(text, said, tmp_path, monkeypatch, capsys):
    (tmp_path / "x.csv").write_text(text)
    assert run(monkeypatch, tmp_path / "x.csv", "--prices", "close", "--out", tmp_path / "never") == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "never").exists()


def test_prices_are_numbers_wherever_the_first_fraction_comes(tmp_path):
    (tmp_path / "x.csv").write_text("close\n" + "100\n" * 200 + "100.5\n")
    assert backtest_parts.read_prices(tmp_path / "x.csv", "close")[-2:].tolist() == [100.0, 100.5]


@pytest.mark.parametrize("words", [("--prices", "close"), ("--prices", "close", "--grid")])
def test_an_interrupt_while_writing_leaves_nothing(words, tmp_path, monkeypatch, capsys):
    prices = 100 + np.random.default_rng(1).standard_normal(60).cumsum()
    pl.DataFrame({"close": prices}).write_csv(tmp_path / "x.csv")

    def interrupted(_, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(plots, "save", interrupted)
    assert run(monkeypatch, tmp_path / "x.csv", *words, "--out", tmp_path / "deep" / "out") == 130
    assert "interrupted: nothing was written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["x.csv", "deep"]


@pytest.mark.slow
def test_a_grid_says_how_much_of_its_best_is_luck(capture, tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, capture, "--grid", "--out", tmp_path) == 0
    printed = " ".join(capsys.readouterr().out.split())
    grid = pl.read_csv(tmp_path / "grid.csv")
    assert len(grid) == 2 * 6 * len(backtest_grid.ENTRIES)  # a window of 1,000 does not fit
    traded = grid.filter(pl.col("trades") > 0)
    assert f"by luck alone about {0.025 * len(traded):.0f} would be" in printed
    assert f"PnL {traded['pnl'].max():+,.2f} after fees" in printed
    assert (grid["before_fees"] - grid["pnl"]).to_list() == pytest.approx(grid["fees"].to_list())
    assert (tmp_path / "grid.png").is_file()
    still = grid.with_columns(trades=0)
    assert backtest_grid.luck(still) == f"None of {len(grid)} settings ever traded."


def test_fees_are_the_venues_unless_others_are_named():
    own = EnvParams(maker_fee_bps=7.0)

    def fees(name, venue):
        return backtest_parts.with_fees(own, name, venue).maker_fee_bps

    assert fees("venue", "binance-usdm") == 2
    assert fees("venue", "somewhere") == 7
    assert fees("params", "binance-usdm") == 7
    assert fees("kraken-spot", "binance-usdm") == 25
    with pytest.raises(ValueError, match="--fees must be venue, params or one of binance-spot"):
        fees("free", "binance-usdm")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing-here.gz",), "nothing-here.gz"),
        (("{capture}", "magic"), "policy must be one of"),
        (("{capture}", "--tick-s", "1000"), "tick_s must be below"),
        (("{capture}", "--fees", "free"), "--fees must be"),
        (("{capture}", "--split", "1.5"), "share must be above 0 and below 1"),
        (("{capture}", "--unit", "-1"), "coins must be"),
        (("{capture}", "--params.tick-s", "1"), "--params.tick-s has no effect here: a tick lasts --tick-s"),
        (("{capture}", "--params.horizon", "7"), "--params.horizon has no effect here"),
    ],
)
def test_bad_arguments_are_named(words, said, capture, tmp_path, monkeypatch, capsys):
    words = [word.format(capture=capture) for word in words]
    assert run(monkeypatch, *words, "--out", tmp_path / "never") == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "never").exists()


def test_help_teaches(monkeypatch, capsys):
    with pytest.raises(SystemExit, match="0"):
        run(monkeypatch, "--help")
    text = capsys.readouterr().out
    assert "move nothing" in text
    assert "--latency-s" in text
