"""From a trained agent to one verified file: `export` writes nothing that does not act like the model it came from."""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from stable_baselines3 import PPO

import hftgym
from agents.onnx_graph import ExportError, build_graph, policy_layers
from agents.ppo import PPOConfig, one_thread
from agents.run_folder import write_atomic
from agents.vec_env import NativeVecEnv
from hftgym import FEATURE_NAMES, FEATURES, OBS_VERSION, EnvParams
from hftgym.observation import N_FEATURES
from hftgym.policies.onnx import FORMAT, ModelFileError, OnnxPolicy, seal

__all__ = ["TOLERANCE", "ExportError", "export"]

# Largest difference of an action, in action units, between the file and the model.
TOLERANCE = 1e-5
_N_COMPARED = 10_000
_N_UNIFORM = 2_000
_N_PROBES = 16
_LOW, _HIGH = [feature.low for feature in FEATURES], [feature.high for feature in FEATURES]
_ACTION_MEANING = (
    "(bid, ask): -1 crosses the spread, +1 withdraws the side, between them the offset from the mid runs linearly from "
    "offset_low to offset_high half-spreads"
)


def export(
    model_zip: Path | str, out_path: Path | str, *, params: EnvParams | None = None, env_id: str | None = None
) -> dict[str, Any]:
    """Write the policy of a Stable-Baselines3 PPO file as an ONNX file and return its manifest.

    The same model gives the same bytes. `hftgym.policies.OnnxPolicy` reads the file. (A model that was trained behind
    SB3's `VecNormalize` does not contain its normaliser, and cannot be exported without it.)

    Args:
        model_zip: `model.zip` of a run, or any SB3 PPO file of an 8-feature market-making environment.
        out_path: The file to write.
        params: The market that the agent was trained in. A file written by `agents.ppo` knows it; any other needs it.
        env_id: The environment it was trained in, likewise.

    Raises:
        ExportError: The model cannot be read, has another architecture, has weights that are not finite, or the file
            would act differently by more than 1e-5 somewhere among 10,000 observations. Nothing is written.
        RunError: The file cannot be written.
    """
    out_path = Path(out_path)
    with one_thread():
        model = _loaded(Path(model_zip))
        graph = build_graph(policy_layers(model), model.action_space)
        origin = _origin(model, Path(model_zip), params, env_id)
        observations = _observations(model, EnvParams.from_dict(origin["params"]), origin["env_id"])
        actions, _ = model.predict(observations, deterministic=True)
    manifest = origin | {"probes": _probes(observations, actions)}
    manifest["parity"] = {"max_abs": 0.0, "n": len(observations), "tolerance": TOLERANCE}
    manifest["parity"]["max_abs"] = _parity(_file(graph, manifest), observations, actions)
    data = _file(graph, manifest)
    OnnxPolicy.from_bytes(data, name=str(out_path), env_id=origin["env_id"])
    write_atomic(out_path, data)
    return manifest


def _loaded(path: Path) -> PPO:
    if not path.is_file():
        raise ExportError(f"there is no file {path}: train one with scripts/train.py")
    try:
        return PPO.load(path, device="cpu")
    except Exception as error:  # a damaged pickle can raise anything
        raise ExportError(f"{path} cannot be read as a Stable-Baselines3 PPO file: {error}") from error


def _origin(model: PPO, path: Path, params: EnvParams | None, env_id: str | None) -> dict[str, Any]:
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
    packages = {"sb3": "stable_baselines3", "torch": "torch", "onnx": "onnx", "numpy": "numpy"}
    return {
        "format": FORMAT,
        "env_id": environment,
        "obs_version": OBS_VERSION,
        "feature_names": list(FEATURE_NAMES),
        "action": {"names": ["bid", "ask"], "low": -1.0, "high": 1.0, "meaning": _ACTION_MEANING},
        "params": market.to_dict(),
        "state": {},
        "algo": "PPO",
        "precision": "float32",
        "seed": model.seed,
        "timesteps": model.num_timesteps,
        "config_sha256": config and hashlib.sha256(config.to_toml().encode()).hexdigest(),
        "versions": {"hftgym": hftgym.__version__} | {name: version(package) for name, package in packages.items()},
    }


def _observations(model: PPO, params: EnvParams, env_id: str) -> NDArray[np.float32]:
    """Return 10,000 observations, float32: from episodes of the policy, and a fifth from the whole box."""
    generator = np.random.default_rng(0)
    num_envs = 64
    envs = NativeVecEnv(env_id, num_envs=num_envs, params=params, seed=0)
    inventories = generator.uniform(-params.inventory_limit, params.inventory_limit, size=num_envs)
    envs.set_options([{"inventory": inventory} for inventory in inventories])
    observation = envs.reset()
    rows = [observation]
    while num_envs * len(rows) < _N_COMPARED - _N_UNIFORM:
        actions, _ = model.predict(observation, deterministic=True)
        observation = np.asarray(envs.step(actions)[0])
        rows.append(observation)
    envs.close()
    uniform = generator.uniform(_LOW, _HIGH, size=(_N_UNIFORM, N_FEATURES)).astype(np.float32)
    return np.concatenate([*rows, uniform])[-_N_COMPARED:]


def _probes(observations: NDArray[np.float32], actions: NDArray[np.float32]) -> dict[str, Any]:
    """Return 16 observations from all over the 10,000, with the model's actions."""
    places = np.linspace(0, len(observations) - 1, _N_PROBES).astype(int)
    return {"observations": observations[places].tolist(), "actions": actions[places].tolist()}


def _file(graph: onnx.ModelProto, manifest: dict[str, Any]) -> bytes:
    """Return the bytes of the file, manifest and hash included."""
    onnx.helper.set_model_props(graph, {"manifest": json.dumps(manifest)})
    onnx.checker.check_model(graph)
    return seal(graph.SerializeToString(deterministic=True))


def _parity(data: bytes, observations: NDArray[np.float32], actions: NDArray[np.float32]) -> float:
    """Return the largest difference between the file's actions, one by one and as a batch, and the model's.

    Raises:
        ExportError: It exceeds the tolerance.
    """
    try:
        policy = OnnxPolicy.from_bytes(data, name="the exported file")
    except ModelFileError as error:
        raise ExportError(f"the exported file does not act like the model: {error}") from error
    singles = np.array([policy.act(observation).copy() for observation in observations])
    batch, _ = policy.predict(observations)
    worst = float(max(np.abs(singles - actions).max(), np.abs(batch - actions).max()))
    if not worst <= TOLERANCE:
        raise ExportError(
            f"the exported file does not act like the model: an action is off by {worst:g}, at most {TOLERANCE:g} is "
            f"allowed over {len(observations):,} observations"
        )
    return worst
