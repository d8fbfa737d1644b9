"""Export a trained agent to verified files that run without torch, and say what they are worth.

python scripts/export.py runs/ppo                                 (model.onnx and model.int8.onnx)

python scripts/export.py runs/ppo --variants float32 int8 int8-dynamic int8-static     (for comparison)
"""

import sys
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from agents.export import ExportError
from agents.ppo import RunError
from scripts.export_parts import Variant, draw, files, measure, print_tables


def main(
    source: Annotated[Path, tyro.conf.Positional],
    *,
    out: Path | None = None,
    variants: tuple[Variant, ...] = ("float32", "int8"),
    episodes: int = 2_000,
    calls: int = 20_000,
) -> int:
    """Export a trained agent to verified files that run without torch, and say what they are worth.

    Args:
        source: A run's folder, or the model.zip of one. (`agents.export.export` takes any other SB3 file.)
        out: The float32 file to write; by default model.onnx beside the model. The others lie beside it, and the
            picture of the decisions' times, latency.png.
        variants: What to write. A variant that acts or earns differently is measured and not written. int8 keeps the
            weights in 8 bits and computes in float32; int8-dynamic and int8-static are onnxruntime's own.
        episodes: Episodes of the comparison of J, the same for all, at least 2.
        calls: Decisions to time, of each kind.
    """
    model = source / "model.zip" if source.is_dir() else source
    out = out or model.with_suffix(".onnx")
    try:
        written = files(model, out, variants=variants, episodes=episodes)
        found = measure(model, written, episodes=episodes, calls=calls)
        print_tables(written, found)
        Console().print(f"\nwritten: {', '.join(str(path) for path in draw(written, found, out))}", style="dim")
    except (ExportError, RunError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: the files that exist are whole and verified", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
