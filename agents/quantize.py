"""From a verified policy file to one with int8 weights, refused if it acts or earns differently.

Weight-only: every matrix becomes int8 with one scale per output; onnxruntime unpacks it once while it loads, so that
a decision takes what it takes in float32. What onnxruntime's own quantiser offers computes in int8 too, which is slower
for nets of this size (the dispatch of more nodes costs more than arithmetic does) and further off; it is here to be
compared. int8 makes a file smaller, not a decision faster.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import gymnasium as gym
import numpy as np
import onnx
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from agents.export import ExportError, sealed_file
from agents.parity import short
from agents.quantize_graph import Scheme, quantized
from agents.run_folder import write_atomic
from hftgym import FEATURES, EnvParams
from hftgym.evaluation import compare, evaluate
from hftgym.observation import N_FEATURES
from hftgym.policies.engine import OnnxruntimeEngine, open_session
from hftgym.policies.onnx import INPUT, START, ModelFileError, OnnxPolicy

__all__ = [
    "ACTION_TOLERANCE",
    "EPISODES",
    "REWARD_TOLERANCE",
    "Candidate",
    "Difference",
    "Scheme",
    "candidate",
    "difference",
    "quantize",
]

# Largest difference of an action from float32's, in action units (their range is 2).
ACTION_TOLERANCE = 0.01
# Largest loss of J, as a share of float32's, two standard errors included.
REWARD_TOLERANCE = 0.005
EPISODES = 4_000
_FIRST_SEED = 2_000_000
_ENVS, _STEPS, _UNIFORM_STEPS = 64, 160, 40


class Difference(NamedTuple):
    """How a policy differs from another one.

    Attributes:
        action: Largest difference of an action, in action units.
        observations: Over how many observations.
        loss: What it loses of the other one's J, as a share of it; where that is 0, 0 if both earn the same in every
            episode, and infinite if not.
        loss_se: Standard error of that, from episodes paired by seed.
        episodes: How many.
    """

    action: float
    observations: int
    loss: float
    loss_se: float
    episodes: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """An int8 policy file that has been measured and not yet been written.

    Attributes:
        data: The file's bytes.
        policy: The policy.
        found: How it differs from float32.
    """

    data: bytes
    policy: OnnxPolicy
    found: Difference

    @property
    def refusal(self) -> str:
        """Why it must not be used; empty if it may."""
        found = self.found
        if not found.action <= ACTION_TOLERANCE:
            return (
                f"it acts differently: an action is off by {found.action:.4f}, at most {ACTION_TOLERANCE} is allowed "
                f"over {found.observations:,} observations"
            )
        if math.isinf(found.loss):
            return f"its reward cannot be compared: float32's J is 0 over {found.episodes:,} episodes, its own is not"
        if not found.loss + 2 * found.loss_se <= REWARD_TOLERANCE:
            return (
                f"it may earn less: J falls by {found.loss:.2%} ± {2 * found.loss_se:.2%} over {found.episodes:,} "
                f"paired episodes, at most {REWARD_TOLERANCE:.1%} is allowed, the uncertainty included"
            )
        return ""


def quantize(
    source: Path | str, out_path: Path | str, *, scheme: Scheme = "weight-only", episodes: int = EPISODES
) -> dict[str, Any]:
    """Write a policy file with int8 weights and return its manifest.

    The same file gives the same bytes.

    Args:
        source: A float32 policy file.
        out_path: The file to write.
        scheme: "weight-only", or onnxruntime's "dynamic" or "static".
        episodes: Episodes of the reward check, at least 2, in the market that the policy was trained in.

    Raises:
        ExportError: The source is not a float32 policy, an action is off by more than 0.01 somewhere among 12,800
            observations, or J may fall by more than 0.5 %. Nothing is written.
        RunError: The file cannot be written.
    """
    made = candidate(source, scheme=scheme, episodes=episodes)
    if made.refusal:
        raise ExportError(f"the {scheme} int8 file of {source} is refused: {made.refusal}")
    write_atomic(Path(out_path), made.data)
    return dict(made.policy.manifest)


def candidate(source: Path | str, *, scheme: Scheme = "weight-only", episodes: int = EPISODES) -> Candidate:
    """Return the int8 policy of a float32 file, measured; arguments and errors are those of `quantize`."""
    if scheme not in get_args(Scheme):
        raise ValueError(f"scheme must be one of {', '.join(get_args(Scheme))}, got {scheme!r}")
    policy, data = _source(Path(source)), Path(source).read_bytes()
    seen, starts = _trajectories(policy)
    model = quantized(onnx.load_from_string(data), scheme, _feed(policy, seen, starts))
    manifest = {**policy.manifest, "precision": "int8"}
    manifest["parity"] = {"tolerance": policy.manifest["parity"]["tolerance"]}
    name = f"the {scheme} int8 file of {source}"
    try:
        small = OnnxPolicy.from_bytes(_file(model, manifest, policy.widths), name=name)
    except ModelFileError as error:
        raise ExportError(str(error)) from error
    found = difference(small, policy, episodes=episodes)
    manifest["quantization"] = {
        "scheme": scheme,
        "source_sha256": hashlib.sha256(data).hexdigest(),
        "action": {"max_abs": found.action, "n": found.observations, "tolerance": ACTION_TOLERANCE},
        "j_loss": {"share": found.loss, "se": found.loss_se, "n": found.episodes, "tolerance": REWARD_TOLERANCE},
    }
    sealed = _file(model, manifest, policy.widths)
    return Candidate(data=sealed, policy=OnnxPolicy.from_bytes(sealed, name=name), found=found)


def difference(policy: OnnxPolicy, reference: OnnxPolicy, *, episodes: int = EPISODES) -> Difference:
    """Return how a policy differs from another one, in the other one's market."""
    seen, starts = _trajectories(reference)
    worst = 0.0
    states: list[Any] = [None, None]
    for observations, start in zip(seen, starts, strict=True):
        a, states[0] = policy.predict(observations, states[0], start)
        b, states[1] = reference.predict(observations, states[1], start)
        worst = max(worst, float(np.abs(a - b).max()))
    env_id, params = reference.manifest["env_id"], EnvParams.from_dict(reference.manifest["params"])
    players = {"reference": reference, "policy": policy}
    table = evaluate(players, env_id, episodes=episodes, seed=_FIRST_SEED, params=params)
    row = compare(table, "reference", figures=("j",)).row(0, named=True)
    value = abs(float(np.mean(table["j"].to_numpy()[:episodes])))
    if value == 0.0:  # an agent that never trades: of nothing there is no share
        loss = 0.0 if row["difference"] == row["se"] == 0.0 else math.inf
        return Difference(worst, starts.size, loss, 0.0, episodes)
    return Difference(worst, starts.size, -row["difference"] / value, row["se"] / value, episodes)


def _source(path: Path) -> OnnxPolicy:
    """Return a float32 policy."""
    try:
        policy = OnnxPolicy(path)
    except ModelFileError as error:
        raise ExportError(str(error)) from error
    if (precision := policy.manifest.get("precision")) != "float32":
        raise ExportError(f"{path} has the precision {precision!r}, expected a file of the precision 'float32'")
    return policy


def _trajectories(policy: OnnxPolicy) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return observations (200, 64, 8) and where episodes start (200, 64).

    The first 160 steps are the policy's own in its market, from many inventories; the others come from the whole box.
    """
    generator = np.random.default_rng(0)
    params = EnvParams.from_dict(policy.manifest["params"])
    envs = gym.make_vec(
        policy.manifest["env_id"], num_envs=_ENVS, autoreset_mode=AutoresetMode.SAME_STEP, params=params
    )
    inventory = generator.uniform(-params.inventory_limit, params.inventory_limit, size=_ENVS)
    observation, _ = envs.reset(seed=0, options={"inventory": inventory})
    rows, starts, state = [], [np.ones(_ENVS, dtype=bool)], None
    for _ in range(_STEPS):
        rows.append(np.array(observation))
        action, state = policy.predict(observation, state, starts[-1])
        observation, _, terminated, truncated, _ = envs.step(action)
        starts.append(terminated | truncated)
    envs.close()
    low, high = [feature.low for feature in FEATURES], [feature.high for feature in FEATURES]
    uniform = generator.uniform(low, high, size=(_UNIFORM_STEPS, _ENVS, N_FEATURES))
    later = np.zeros((_UNIFORM_STEPS - 1, _ENVS), dtype=bool)
    return np.concatenate([rows, uniform]).astype(np.float32), np.concatenate([starts, later])


def _feed(policy: OnnxPolicy, seen: NDArray[np.float32], starts: NDArray[np.bool_]) -> Mapping[str, NDArray[Any]]:
    """Return what the ports of a policy's net receive along the trajectories of eight environments."""
    parts: list[dict[str, NDArray[Any]]] = []
    state: Any = None
    for observations, start in zip(seen[:, :8], starts[:, :8], strict=True):
        held = state or tuple(np.zeros((len(start), width), np.float32) for width in policy.widths.values())
        memory = {START: start[:, None]} | dict(zip(policy.widths, held, strict=True)) if policy.widths else {}
        parts.append({INPUT: observations} | memory)
        _, state = policy.predict(observations, state, start)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _file(model: onnx.ModelProto, manifest: dict[str, Any], widths: Mapping[str, int]) -> bytes:
    """Return the sealed file, whose probes are the source's observations as the model answers them."""
    engine = OnnxruntimeEngine(open_session(model.SerializeToString(), "the int8 net"))
    observations = np.array(manifest["probes"]["observations"], dtype=np.float32)
    memories = [np.zeros((1, width), dtype=np.float32) for width in widths.values()]
    actions = []
    for t, observation in enumerate(observations):
        start = [np.array([[t == 0]])] if widths else []
        action, *memories = engine.run([observation[None], *start, *memories])
        actions.append(action[0])
    probes = {"observations": short(observations), "actions": short(actions)}
    return sealed_file(model, manifest | {"probes": probes})
