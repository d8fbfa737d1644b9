"""Export a trained agent to one verified ONNX file, which runs without torch: python scripts/export.py runs/ppo."""

import sys
from pathlib import Path
from typing import Annotated

import tyro

from agents.export import ExportError, export
from agents.ppo import RunError
from hftgym.policies import OnnxPolicy
from scripts.benchmarks.decision import latencies


def main(source: Annotated[Path, tyro.conf.Positional], *, out: Path | None = None) -> int:
    """Export a trained agent to one verified ONNX file, which runs without torch.

    Args:
        source: A run's folder, or the model.zip of one. (`agents.export.export` takes any other SB3 file.)
        out: The file to write; by default model.onnx beside the model.
    """
    model = source / "model.zip" if source.is_dir() else source
    out = out or model.with_suffix(".onnx")
    try:
        manifest = export(model, out)
    except (ExportError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    policy = OnnxPolicy(out)
    parity = manifest["parity"]
    times = latencies({"predict": policy.predict, "act": policy.act})
    print(f"wrote {out}, {out.stat().st_size:,} bytes: {manifest['algo']} for {manifest['env_id']}")
    print(f"largest difference to the model over {parity['n']:,} observations: {parity['max_abs']:.1e}")
    for name, latency in times.items():
        print(f"one decision by {name}: {latency.p50_us:.1f} us (median), {latency.p99_us:.1f} us (99 %)")
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
