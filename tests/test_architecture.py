"""Imports run one way, files stay small, and the library stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What a package of hftgym may import from hftgym, besides itself.
ALLOWED = {
    "extremes": set(),
    "params": {"extremes"},
    "observation": set(),
    "presets": {"params"},
    "registration": {"presets"},
    "market": {"params", "observation"},
    "envs": {"params", "observation", "market", "render", "tape"},
    "policies": {"params", "extremes", "observation", "market"},
    "tape": {"params", "presets", "observation", "market"},
    "backtest": {"params", "observation", "market", "tape", "policies"},
    "render": {"params", "theme"},
    "rollout": {"params", "observation", "envs", "registration"},
    "evaluation": {"params", "rollout", "tables", "progress", "policies"},
    "live": {"params", "observation", "market", "tape", "policies", "theme", "backtest"},
    "plots": {"evaluation", "live", "panels", "params", "rollout", "tables", "theme", "trace"},
}
HEAVY = {"torch", "stable_baselines3", "agents", "matplotlib", "polars", "pandas", "onnxruntime", "onnx", "rich"}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def package_of(path):
    return path.relative_to(ROOT / "hftgym").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sorted((ROOT / "hftgym").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path):
    own = package_of(path)
    for name in imports(path):
        assert name.split(".")[0] not in {"torch", "stable_baselines3", "agents"}, f"{path.name} imports {name}"
        if name.startswith("hftgym.") and own in ALLOWED:
            other = name.split(".")[1]
            assert other == own or other in ALLOWED[own], f"{own} must not import {name}"


def test_files_stay_small():
    files = [path for folder in ("hftgym", "agents", "scripts", "tests") for path in (ROOT / folder).rglob("*.py")]
    sizes = {path: len(path.read_text().splitlines()) for path in files}
    assert max(sizes.values()) <= 400, max(sizes, key=sizes.__getitem__)
    assert sorted(sizes.values())[len(sizes) // 2] <= 150


@pytest.mark.parametrize(
    ("code", "forbidden"),
    [
        ("import hftgym, gymnasium; gymnasium.make('MarketMaking-v0').reset(seed=0)", HEAVY),
        ("from hftgym.policies import OnnxPolicy", {"torch", "numba", "stable_baselines3", "agents", "pandas"}),
        ("import hftgym.tape, hftgym.backtest", HEAVY),
    ],
)
def test_the_library_stays_light(code, forbidden):
    report = f"{code}\nimport sys; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    assert not forbidden & set(done.stdout.split())
