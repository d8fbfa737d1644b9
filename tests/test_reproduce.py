"""The command that reproduces published figures: it runs, it notices what is off, and the page shows what it prints."""

import itertools
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hftgym.params import EnvParams
from hftgym.policies.recursion import value_of
from scripts import reproduce
from scripts.reproductions import cartea_jaimungal, default_market
from scripts.reproductions.figures import Row, Section, Target, number, rounded
from scripts.reproductions.moments import moments

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "ground_truth.md").read_text()


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["reproduce.py", *words])
    return reproduce.main()


@pytest.mark.parametrize("part", reproduce.PARTS)
def test_every_part_is_within_its_bands(part, monkeypatch, capsys):
    assert run(monkeypatch, part, "--paths", "500") == 0
    printed = capsys.readouterr().out
    assert "500 paths, seeds 0 and up" in printed
    assert printed.count("✓") >= 3
    assert printed.rstrip().endswith("Every figure is within its band.")


@pytest.mark.slow
def test_the_command_as_it_is_documented():
    command = [sys.executable, str(ROOT / "scripts" / "reproduce.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_help_names_the_parts(monkeypatch, capsys):
    with pytest.raises(SystemExit, match="0"):
        run(monkeypatch, "--help")
    text = capsys.readouterr().out
    assert all(part in text for part in reproduce.PARTS)
    assert "docs/ground_truth.md" in text


@pytest.mark.parametrize("words", [("--paths", "99"), ("--seed", "-1")])
def test_senseless_numbers_are_refused(words, monkeypatch, capsys):
    assert run(monkeypatch, *words) == 2
    assert "--paths must be at least 100 and --seed at least 0" in capsys.readouterr().err


def test_a_figure_outside_its_band_is_named_and_fails_the_command(monkeypatch, capsys):
    class Wrong:
        @staticmethod
        def sections(paths, seed):
            yield Section(title="Table", rows=[Row(quantity="J", ours=1.002, targets={"paper": rounded(1.0)})])

    monkeypatch.setitem(reproduce.PARTS, "zscore", Wrong)
    assert run(monkeypatch, "zscore") == 1
    assert "1 figures are outside their bands:\n  Table: J (paper)" in capsys.readouterr().out


def test_a_figure_is_judged_by_its_bands_alone():
    targets = {"far": Target(value=5.0), "near": Target(value=1.05, band=0.1), "exact": Target(value=1.0, band=0.01)}
    assert Row(quantity="x", ours=1.0, targets=targets).missed == []
    assert Row(quantity="x", ours=1.1, targets=targets).missed == ["exact"]
    assert Row(quantity="x", ours=math.nan, targets=targets).missed == ["near", "exact"]


def test_exact_moments_are_those_of_all_paths():
    params = EnvParams(
        price_model="arithmetic", fill_model="linear", horizon=3, inventory_limit=3, arrival_intensity=0.6,
        inventory_penalty=0.0, price_steps="binary", microstructure_noise=0.0, initial_price=1e6, initial_cash=1e6,
        spread=2e-6,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    bid, ask = rng.uniform(-0.5, 3.0, (2, 3, 7))
    total = np.zeros(4)
    for path in itertools.product((0, 1), (0, 1), (-1, 1), repeat=3):
        p, wealth, q = 1.0, 0.0, 0
        for t in range(3):
            bought, sold, up = path[3 * t : 3 * t + 3]
            d, e = bid[t, q + 3], ask[t, q + 3]
            b = min(1, 0.6 * math.exp(-0.5 * d)) if q < 3 else 0.0
            a = min(1, 0.6 * math.exp(-0.5 * e)) if q > -3 else 0.0
            p *= 0.5 * (b if bought else 1 - b) * (a if sold else 1 - a)
            q += bought - sold
            wealth += bought * d + sold * e + q * up * 2e3
            if p == 0.0:
                break
        total += p * np.array([wealth, wealth**2, q, q**2])
    found = moments(params, bid, ask)
    assert found.mean == pytest.approx(total[0], abs=1e-9) == value_of(params, bid, ask)
    assert found.std == pytest.approx(math.sqrt(total[1] - total[0] ** 2))
    assert found.inventory_mean == pytest.approx(total[2])
    assert found.inventory_std == pytest.approx(math.sqrt(total[3] - total[2] ** 2))


@pytest.mark.slow
@pytest.mark.parametrize("part", [cartea_jaimungal, default_market])
def test_the_page_shows_the_exact_figures(part):
    lines = [re.sub(r"\s+", " ", line) for line in PAGE.splitlines()]
    for section in part.sections(100, 0):
        for row in section.rows:
            if row.error is None:
                assert any(f"{row.quantity.strip()} {number(row.ours, row.digits)}" in line for line in lines), row
