"""The report of a run as one Markdown file: what was done, what came out, and what it does not show."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import polars as pl

import hftgym
from hftgym.live.latency import LatencyMonitor
from hftgym.tables import cells, difference_cells, latency_cells, legend, markdown

_PACKAGES = ("numpy", "numba", "gymnasium", "polars", "matplotlib", "torch", "stable-baselines3", "onnxruntime")

CAVEATS: tuple[str, ...] = (
    "Simulated profits are not profits. The market is a model: prices are a random walk, orders arrive by a formula, "
    "the agent's own orders move nothing, and its fees, latency and queue position are idealised.",
    "The agent was trained and judged in the same market, on different seeds. How it does in another one is another "
    "question.",
    "The intervals cover the luck of the episodes. They do not cover the luck of training: one agent, one seed.",
)
TAPE_CAVEAT = (
    "The recorded ticks are a few minutes of one day of one market, and the agent was not trained on them. They show "
    "that the machinery runs on real data, and no more than that."
)


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of a report.

    Attributes:
        heading: Its title.
        text: Markdown, possibly several paragraphs.
        picture: File name of a picture beside the report, or empty.
    """

    heading: str
    text: str = ""
    picture: str = ""


def write_report(
    path: Path, *, title: str, facts: Mapping[str, str], sections: Sequence[Section], caveats: Sequence[str] = CAVEATS
) -> Path:
    """Write a report and return its path.

    Args:
        path: The Markdown file.
        title: Its heading.
        facts: What the run was: name -> value.
        sections: The parts, in order.
        caveats: What the numbers do not show, as a list at the end.
    """
    parts = [f"# {title}", "\n".join(f"- **{name}**: {value}" for name, value in facts.items())]
    for section in sections:
        picture = f"![{section.heading}]({section.picture})" if section.picture else ""
        parts += [part for part in (f"## {section.heading}", section.text, picture) if part]
    parts += ["## What these numbers do not show", "\n".join(f"- {caveat}" for caveat in caveats)]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def summary_text(summary: pl.DataFrame) -> str:
    """Return `summarize`'s result as a Markdown table with its legend."""
    return f"{markdown(*cells(summary))}\n\n{legend(summary)}"


def differences_text(differences: pl.DataFrame) -> str:
    """Return `compare`'s result as a Markdown table."""
    return (
        f"{markdown(*difference_cells(differences))}\n\nPaired: the differences are taken episode by episode on equal "
        "seeds, so most of the luck cancels. `price_free` is J without the inventory's gains from price moves, whose "
        "mean is zero here."
    )


def latency_text(times: Mapping[str, LatencyMonitor]) -> str:
    """Return what monitors have counted as a Markdown table."""
    return (
        f"{markdown(*latency_cells(times))}\n\nOne call at a time; percentiles are at most 1/128 above the true ones, "
        "and never below. The longest calls show the operating system: it gave the processor to something else."
    )


def machine() -> str:
    """Return the machine in one line."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"


def versions() -> str:
    """Return the versions of what the figures depend on, in one line."""
    found = [f"hftgym {hftgym.__version__}", f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
