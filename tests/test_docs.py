"""What the documentation shows runs, and what it promises is there."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FILES = sorted((ROOT / "hftgym").rglob("*.py"))
# Modules with examples; importing all others would take seconds for ccxt alone.
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in FILES
    if ">>>" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name):
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.failed == 0


def test_some_docstrings_have_examples():
    finder = doctest.DocTestFinder()
    assert sum(len(t.examples) for name in MODULES for t in finder.find(importlib.import_module(name))) > 5


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for indent, block in re.findall(r"^( *)```python\n(.*?)^ *```", page.read_text(), flags=re.DOTALL | re.MULTILINE):
        exec(compile(re.sub(f"^{indent}", "", block, flags=re.MULTILINE), str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_and_commands_exist(page):
    text = page.read_text()
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for command in re.findall(r"`make ([a-z-]+)", text):
        assert command in targets, f"{page.name} names make {command}"
    for path in re.findall(r"`((?:hftgym|agents|scripts|tests)/[\w/.]+\.(?:py|toml))(?:::\w+)?`", text):
        assert (ROOT / path).exists(), f"{page.name} names {path}"
    for path in re.findall(r"python (scripts/\w+\.py)", text):
        assert (ROOT / path).exists(), f"{page.name} names {path}"
