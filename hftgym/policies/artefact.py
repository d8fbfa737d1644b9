"""The file of a deployed policy: an ONNX model, a manifest, a hash; and everything that is checked before it acts.

The file is a net, a `manifest` (what it was trained for, what it remembers and what it answers to 16 probes) and, as
its last bytes, the sha256 of everything before them. A file is refused unless all of it agrees: onnxruntime alone loads
most files with a flipped bit without a word. The hash shows damage, not authorship.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hftgym.observation import FEATURE_NAMES, N_FEATURES, OBS_VERSION

FORMAT = "hftgym.policy/1"
# The net's ports. A policy with a memory has the second one too, and after it one per memory; its new memory leaves
# under the old one's name with the suffix.
INPUT, START, OUTPUT = "observation", "episode_start", "action"
NEXT = "_out"
BATCH_AXIS = "batch"
N_ACTIONS = 2
MAX_FILE_BYTES = 64 * 2**20
# A looser promise would be none.
_LOOSEST_TOLERANCE = 1e-3
_WIDEST_MEMORY = 65_536

_DIGEST_SIZE = 64
# One more `metadata_props` entry (field 14 of ONNX's ModelProto) with the key "sha256" and a value of 64 hex digits:
# to a protobuf parser the sealed file is an ordinary model.
_TRAILER = b"\x72\x4a\x0a\x06sha256\x12\x40"
_TRAILER_SIZE = len(_TRAILER) + _DIGEST_SIZE


class ModelFileError(ValueError):
    """A file is not a policy that can be trusted; the message names the file, what is wrong and what is expected."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Probes:
    """What a policy answered when it was written. One with a memory saw the observations in turn, from a start.

    Attributes:
        observations: float32 (n, 8).
        actions: float32 (n, 2).
        tolerance: Largest difference that is allowed, in action units.
    """

    observations: NDArray[np.float32]
    actions: NDArray[np.float32]
    tolerance: float


def seal(model: bytes) -> bytes:
    """Return a serialised ONNX model with its sha256 behind it, still a valid ONNX model."""
    return model + _TRAILER + hashlib.sha256(model).hexdigest().encode()


def check_seal(data: bytes, name: str) -> None:
    """Raise a ModelFileError unless the bytes are those that were sealed."""
    if len(data) > MAX_FILE_BYTES:
        raise ModelFileError(f"{name} has {len(data):,} bytes, a policy has at most {MAX_FILE_BYTES:,}")
    model, trailer = data[:-_TRAILER_SIZE], data[-_TRAILER_SIZE:]
    if not trailer.startswith(_TRAILER):
        raise ModelFileError(
            f"{name} is cut off, damaged or was not written by hftgym's export: it must end with its sha256"
        )
    if trailer != seal(model)[-_TRAILER_SIZE:]:
        raise ModelFileError(f"{name} is damaged: its bytes do not have the sha256 that it ends with")


def read_file(path: Path) -> bytes:
    """Return a file's bytes, or raise a ModelFileError."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ModelFileError(f"{path} has {size:,} bytes, a policy has at most {MAX_FILE_BYTES:,}")
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}; expected an .onnx file") from error


def checked_manifest(session: Any, name: str, env_id: str | None) -> Mapping[str, Any]:
    """Return the manifest if it is one, of this format, for these observations and for this environment."""
    text = session.get_modelmeta().custom_metadata_map.get("manifest")
    if text is None:
        raise ModelFileError(f"{name} has no manifest: expected a policy written by hftgym's export")
    with _reading(name, "the manifest"):
        manifest = dict(json.loads(text))
    expected = {"format": FORMAT, "obs_version": OBS_VERSION, "feature_names": list(FEATURE_NAMES)}
    if env_id is not None:
        expected["env_id"] = env_id
    if not isinstance(manifest.get("params"), dict):
        raise ModelFileError(f"{name}: the manifest's params are {manifest.get('params')!r}, expected a market's")
    for key, value in expected.items():
        if manifest.get(key) != value:
            raise ModelFileError(f"{name}: the manifest's {key} is {manifest.get(key)!r}, expected {value!r}")
    return manifest


def checked_widths(session: Any, manifest: Mapping[str, Any], name: str) -> Mapping[str, int]:
    """Return the manifest's `state`, name -> width, in order, if the net's inputs and outputs are those it needs."""
    state = manifest.get("state")
    if not (isinstance(state, dict) and all(type(w) is int and 1 <= w <= _WIDEST_MEMORY for w in state.values())):
        raise ModelFileError(
            f"{name}: the manifest's state is {state!r}, expected the widths of what the policy remembers by name, "
            f"each from 1 to {_WIDEST_MEMORY:,}, and {{}} if it remembers nothing"
        )
    memory = [(key, "tensor(float)", width) for key, width in state.items()]
    inputs = [(INPUT, "tensor(float)", N_FEATURES), *([(START, "tensor(bool)", 1), *memory] if memory else [])]
    outputs = [(OUTPUT, "tensor(float)", N_ACTIONS), *((key + NEXT, kind, width) for key, kind, width in memory)]
    for what, found, wanted in (("inputs", session.get_inputs(), inputs), ("outputs", session.get_outputs(), outputs)):
        ports = [(port.name, port.type, list(port.shape)) for port in found]
        expected = [(port, kind, [BATCH_AXIS, width]) for port, kind, width in wanted]
        if ports != expected:
            raise ModelFileError(f"{name}: the net's {what} are {ports}, expected {expected}")
    return MappingProxyType(dict(state))


def checked_probes(manifest: Mapping[str, Any], name: str) -> Probes:
    """Return the manifest's probes if there are any and they promise something."""
    with _reading(name, "the manifest's probes"):
        tolerance = float(manifest["parity"]["tolerance"])
        observations = np.array(manifest["probes"]["observations"], dtype=np.float32)
        actions = np.array(manifest["probes"]["actions"], dtype=np.float32)
    shapes = (observations.shape, actions.shape)
    n = observations.size // N_FEATURES
    if n == 0 or shapes != ((n, N_FEATURES), (n, N_ACTIONS)) or not 0 < tolerance <= _LOOSEST_TOLERANCE:
        raise ModelFileError(
            f"{name}: the probes must be ({N_FEATURES},) to ({N_ACTIONS},) with a tolerance of at most "
            f"{_LOOSEST_TOLERANCE:g}, got shapes {shapes} and {tolerance!r}"
        )
    return Probes(observations=observations, actions=actions, tolerance=tolerance)


@contextmanager
def _reading(name: str, part: str) -> Iterator[None]:
    """Turn what a malformed manifest raises into a ModelFileError that says where it is malformed."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, RecursionError) as error:
        raise ModelFileError(f"{name}: {part} is malformed ({error!r}), expected {FORMAT}") from error
