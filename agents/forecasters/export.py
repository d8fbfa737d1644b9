"""From a trained forecaster to one verified file that trades it: the same artefact as every other agent."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import onnx
from numpy.typing import NDArray

import hftgym
from agents.export import TOLERANCE, ExportError
from agents.forecasters.graph import signal_graph
from agents.forecasters.graph_builder import MEMORY, PROBABILITY
from agents.forecasters.models import Forecaster
from agents.ppo import one_thread
from agents.run_folder import write_atomic
from hftgym import FEATURE_NAMES, OBS_VERSION, EnvParams
from hftgym.observation import N_FEATURES
from hftgym.policies import OnnxPolicy, SignalPolicy
from hftgym.policies.onnx import FORMAT, INPUT, NEXT, OUTPUT, START, ModelFileError, seal
from hftgym.policies.signal import WINDOW

# Largest difference of a probability between the file and the forecaster.
PROBA_TOLERANCE = 1e-5
_EPISODES, _TICKS = 10, 1_000
_N_PROBES = 16
_ACTION_MEANING = "(bid, ask): -1 crosses the spread, +1 withdraws the side; this policy does nothing between them"


def export_signal(
    forecaster: Forecaster,
    out_path: Path | str,
    *,
    entry: float,
    params: EnvParams,
    env_id: str = "MarketMaking-v0",
    data: str = "",
) -> dict[str, Any]:
    """Write `SignalPolicy(forecaster, entry)` as an ONNX file and return its manifest.

    `hftgym.policies.OnnxPolicy` reads the file; its memory `h` is the window of the last 50 moves.

    Args:
        forecaster: A trained linear model, trees, LSTM or Transformer on windows of moves.
        out_path: The file to write.
        entry: Probability beyond which it trades.
        params: The market that it was trained in.
        env_id: The environment.
        data: What it was trained on, for the manifest.

    Raises:
        ExportError: There is no graph for this forecaster; or over 10 whole episodes, started from a memory of NaN, a
            probability of the file is off by more than 1e-5, or an action or a window differs at all. Nothing is
            written.
        RunError: The file cannot be written.
    """
    out_path = Path(out_path)
    with one_thread():
        observations, actions, windows, up = _episodes(forecaster, entry, params, env_id)
        graph = signal_graph(forecaster, entry)
        manifest = _origin(forecaster, params, env_id, entry) | {"data": data}
        manifest["probes"] = _probes(observations, actions)
        worst = _proba_error(signal_graph(forecaster, entry, with_probability=True), observations, windows, up)
    if not worst <= PROBA_TOLERANCE:
        raise ExportError(
            f"the file does not forecast like the forecaster: a probability is off by {worst:g}, at most "
            f"{PROBA_TOLERANCE:g} is allowed over {up.size:,} observations"
        )
    manifest["parity"] = {"max_abs": 0.0, "n": int(up.size), "tolerance": TOLERANCE, "max_abs_probability": worst}
    sealed = _file(graph, manifest)
    _check_acts_alike(sealed, observations, actions, windows)
    OnnxPolicy.from_bytes(sealed, name=str(out_path), env_id=env_id)
    write_atomic(out_path, sealed)
    return manifest


def _episodes(
    forecaster: Forecaster, entry: float, params: EnvParams, env_id: str
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Return (observations (T, 10, 8), actions (T, 10, 2), windows (T, 10, 50), P(up) (T, 10)) of whole episodes."""
    policy = SignalPolicy(forecaster, entry)
    envs = gym.make_vec(env_id, num_envs=_EPISODES, params=params)
    (observation, _), state = envs.reset(seed=0), None
    rows: list[tuple[NDArray[Any], ...]] = []
    for _ in range(min(params.horizon, _TICKS)):
        action, state = policy.predict(observation, state)
        assert state is not None
        rows.append((observation.copy(), action, state[0], forecaster.proba(state[0])))
        observation = envs.step(action)[0]
    envs.close()
    observations, actions, windows, up = (np.stack(column) for column in zip(*rows, strict=True))
    return observations, actions, windows, up


def _proba_error(
    model: onnx.ModelProto, observations: NDArray[np.float32], windows: NDArray[np.float32], up: NDArray[np.float64]
) -> float:
    """Return the largest difference of a probability, each file's window being its own from the tick before."""
    import onnxruntime as ort

    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    before, worst = np.full(windows[0].shape, np.nan, dtype=np.float32), 0.0
    for t, observation in enumerate(observations):
        start = np.full((len(observation), 1), t == 0)
        feed = {INPUT: observation, START: start, MEMORY: before}
        _, before, found = session.run([OUTPUT, MEMORY + NEXT, PROBABILITY], feed)
        worst = max(worst, float(np.abs(np.asarray(found)[:, 0] - up[t]).max()))
    return worst


def _check_acts_alike(
    sealed: bytes, observations: NDArray[np.float32], actions: NDArray[np.float32], windows: NDArray[np.float32]
) -> None:
    """Play the file over the same episodes, as a batch and one by one.

    Raises:
        ExportError: An action or a window differs; actions are -1 or +1, so that "almost" does not exist.
    """
    try:
        policy = OnnxPolicy.from_bytes(sealed, name="the exported file")
    except ModelFileError as error:
        raise ExportError(f"the exported file does not act like the forecaster: {error}") from error
    state: tuple[np.ndarray, ...] | None = (np.full(windows[0].shape, np.nan, dtype=np.float32),)
    policy.reset()
    for t, observation in enumerate(observations):
        found, state = policy.predict(observation, state, np.full(len(observation), t == 0))
        assert state is not None
        alone = policy.act(observation[0])
        same = np.array_equal(found, actions[t]) and np.array_equal(alone, actions[t, 0])
        if not (same and np.array_equal(state[0], windows[t])):
            raise ExportError(
                f"the exported file does not act like the forecaster at tick {t}: the probability may lie on the entry "
                "threshold; choose another entry"
            )


def _origin(forecaster: Forecaster, params: EnvParams, env_id: str, entry: float) -> dict[str, Any]:
    """Return the part of the manifest that says where the policy comes from and what it reads and writes."""
    packages = ("onnx", "numpy", "scikit-learn", "lightgbm", "torch")
    config = json.dumps([type(forecaster).__name__, forecaster.seed, entry, params.to_dict()], sort_keys=True)
    return {
        "format": FORMAT,
        "env_id": env_id,
        "obs_version": OBS_VERSION,
        "feature_names": list(FEATURE_NAMES),
        "action": {"names": ["bid", "ask"], "low": -1.0, "high": 1.0, "meaning": _ACTION_MEANING},
        "params": params.to_dict(),
        "state": {MEMORY: WINDOW},
        "algo": f"forecaster: {forecaster.name}",
        "precision": "float32",
        "seed": forecaster.seed,
        "entry": entry,
        "config_sha256": hashlib.sha256(config.encode()).hexdigest(),
        "versions": {"hftgym": hftgym.__version__} | {name: version(name) for name in packages},
    }


def _probes(observations: NDArray[np.float32], actions: NDArray[np.float32]) -> dict[str, Any]:
    """Return the first 16 ticks of the episode that acts most in them."""
    first = actions[:_N_PROBES]
    episode = int(np.argmax((first < 0).sum(axis=(0, 2))))
    shown = observations[:_N_PROBES, episode].reshape(-1, N_FEATURES)
    return {"observations": shown.tolist(), "actions": first[:, episode].tolist()}


def _file(graph: onnx.ModelProto, manifest: dict[str, Any]) -> bytes:
    """Return the bytes of the file, manifest and hash included."""
    onnx.helper.set_model_props(graph, {"manifest": json.dumps(manifest)})
    onnx.checker.check_model(graph)
    return seal(graph.SerializeToString(deterministic=True))
