"""From a trained agent to one verified file: `export` writes nothing that does not act like the model it came from."""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

import hftgym
from agents.checkpoint import Model, load_model
from agents.onnx_graph import build_graph, policy_net
from agents.onnx_memory import ExportError
from agents.parity import Story, largest_difference, probes_of, story_of
from agents.ppo import PPOConfig, one_thread
from agents.run_folder import write_atomic
from hftgym import FEATURE_NAMES, OBS_VERSION, EnvParams
from hftgym.policies.onnx import FORMAT, ModelFileError, OnnxPolicy, seal

__all__ = ["TOLERANCE", "ExportError", "export", "sealed_file"]

# Largest difference of an action, in action units, between the file and the model.
TOLERANCE = 1e-5
_PACKAGES = ("torch", "onnx", "numpy")
_ACTION_MEANING = (
    "(bid, ask): -1 crosses the spread, +1 withdraws the side, between them the offset from the mid runs linearly from "
    "offset_low to offset_high half-spreads"
)


def export(
    model_zip: Path | str, out_path: Path | str, *, params: EnvParams | None = None, env_id: str | None = None
) -> dict[str, Any]:
    """Write the policy of a Stable-Baselines3 PPO or RecurrentPPO file as an ONNX file and return its manifest.

    The same model gives the same bytes. `hftgym.policies.OnnxPolicy` reads the file. (A model that was trained behind
    SB3's `VecNormalize` does not contain its normaliser, and cannot be exported without it.)

    Args:
        model_zip: `model.zip` of a run, or any SB3 file of the two of an 8-feature market-making environment.
        out_path: The file to write.
        params: The market that the agent was trained in. A file written by `agents.ppo` knows it; any other needs it.
        env_id: The environment it was trained in, likewise.

    Raises:
        ExportError: The model cannot be read, has another architecture, has weights that are not finite, or the file
            would act, or remember, differently by more than 1e-5 somewhere among 10,000 observations. Nothing is
            written.
        RunError: The file cannot be written.
    """
    out_path = Path(out_path)
    with one_thread():
        model = _loaded(Path(model_zip))
        net = policy_net(model)
        graph = build_graph(net, model.action_space)
        origin = _origin(model, Path(model_zip), params, env_id)
        story = story_of(model, EnvParams.from_dict(origin["params"]), origin["env_id"], widths=net.widths)
    manifest = origin | {"state": net.widths, "probes": probes_of(story)}
    manifest["parity"] = {"max_abs": 0.0, "n": story.size, "tolerance": TOLERANCE}
    manifest["parity"]["max_abs"] = _parity(sealed_file(graph, manifest), story)
    data = sealed_file(graph, manifest)
    OnnxPolicy.from_bytes(data, name=str(out_path), env_id=origin["env_id"])
    write_atomic(out_path, data)
    return manifest


def _loaded(path: Path) -> Model:
    if not path.is_file():
        raise ExportError(f"there is no file {path}: train one with scripts/train.py")
    try:
        return load_model(path)
    except Exception as error:  # a damaged pickle can raise anything
        raise ExportError(f"{path} cannot be read as a Stable-Baselines3 PPO file: {error}") from error


def _origin(model: Model, path: Path, params: EnvParams | None, env_id: str | None) -> dict[str, Any]:
    """Return the part of the manifest that says where the policy comes from and what it reads and writes."""
    stored: Mapping[str, Any] | None = getattr(model, "hftgym_config", None)
    try:
        config = PPOConfig.from_dict(stored) if stored is not None else None
    except (ValueError, TypeError) as error:
        raise ExportError(f"{path} has a configuration of another version of hftgym: {error}") from error
    known = {"params": config and config.params, "env_id": config and config.env_id}
    for name, given in (("params", params), ("env_id", env_id)):
        if known[name] is None and given is None:
            raise ExportError(f"{path} does not say what it was trained in: pass {name}=")
        if None not in (known[name], given) and known[name] != given:
            raise ExportError(f"{path} was trained with {name} = {known[name]!r}, so it cannot be {given!r}")
    market, environment = params or known["params"], env_id or known["env_id"]
    assert isinstance(market, EnvParams)
    packages = {"sb3": "stable_baselines3", "sb3_contrib": "sb3_contrib"} | {name: name for name in _PACKAGES}
    return {
        "format": FORMAT,
        "env_id": environment,
        "obs_version": OBS_VERSION,
        "feature_names": list(FEATURE_NAMES),
        "action": {"names": ["bid", "ask"], "low": -1.0, "high": 1.0, "meaning": _ACTION_MEANING},
        "params": market.to_dict(),
        "algo": config.algo if config else type(model).__name__,
        "precision": "float32",
        "seed": model.seed,
        "timesteps": model.num_timesteps,
        "config_sha256": config and _sha256(config.to_toml()),
        "data_sha256": _sha256(json.dumps(_data(market, environment, model.seed, config))),
        "versions": {"hftgym": hftgym.__version__} | {name: version(package) for name, package in packages.items()},
    }


def _data(params: EnvParams, env_id: str, seed: int | None, config: PPOConfig | None) -> dict[str, Any]:
    """Return what determines every price that the agent was trained on, as far as it is known.

    There is no file: the draws of environment i are a function of the market and of seed + i.
    """
    batch = config and {"num_envs": config.num_envs, "stagger": config.stagger}
    return {"env_id": env_id, "params": params.to_dict(), "seed": seed, "batch": batch}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sealed_file(graph: onnx.ModelProto, manifest: dict[str, Any]) -> bytes:
    """Return the bytes of the file, manifest and hash included."""
    # No blanks: the manifest is a good part of a small file.
    onnx.helper.set_model_props(graph, {"manifest": json.dumps(manifest, separators=(",", ":"))})
    onnx.checker.check_model(graph)
    return seal(graph.SerializeToString(deterministic=True))


def _parity(data: bytes, story: Story) -> float:
    """Return the largest difference between what the file and the model return.

    Raises:
        ExportError: It exceeds the tolerance.
    """
    try:
        worst = largest_difference(OnnxPolicy.from_bytes(data, name="the exported file"), story)
    except (ModelFileError, FloatingPointError) as error:
        raise ExportError(f"the exported file does not act like the model: {error}") from error
    if not worst <= TOLERANCE:
        what = "an action or a memory" if story.states else "an action"
        raise ExportError(
            f"the exported file does not act like the model: {what} is off by {worst:g}, at most {TOLERANCE:g} is "
            f"allowed over {story.size:,} observations"
        )
    return worst
