"""A trained agent from one `.onnx` file: numpy and onnxruntime, no compiler, no net library.

The file is a net, a `manifest` (what it was trained for and what it answers to 16 probes) and, as its last bytes, the
sha256 of everything before them. A file is refused unless all of it agrees: onnxruntime alone loads most files with a
flipped bit without a word. The hash shows damage, not authorship.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hftgym.observation import FEATURE_NAMES, N_FEATURES, OBS_VERSION
from hftgym.policies.base import Policy

FORMAT = "hftgym.policy/1"
INPUT, OUTPUT = "observation", "action"
BATCH_AXIS = "batch"
N_ACTIONS = 2
MAX_FILE_BYTES = 64 * 2**20
# A looser promise would be none.
_LOOSEST_TOLERANCE = 1e-3

_DIGEST_SIZE = 64
# One more `metadata_props` entry (field 14 of ONNX's ModelProto) with the key "sha256" and a value of 64 hex digits:
# to a protobuf parser the sealed file is an ordinary model.
_TRAILER = b"\x72\x4a\x0a\x06sha256\x12\x40"
_TRAILER_SIZE = len(_TRAILER) + _DIGEST_SIZE
_FLOAT32 = np.dtype(np.float32)


class ModelFileError(ValueError):
    """A file is not a policy that can be trusted; the message names the file, what is wrong and what is expected."""


class OnnxPolicy(Policy):
    """A policy that `agents.export` wrote, verified while it is loaded.

    An instance serves one thread at a time; pickling it takes the file's bytes along.

    Args:
        path: The file.
        env_id: Refuse a policy of another environment; None accepts any.

    Attributes:
        manifest: What the file says about itself: `env_id`, `params` (the market it was trained in), `seed`, `parity`
            and so on.

    Raises:
        ModelFileError: The file is missing, damaged, not of this format, or made for other observations.
        ImportError: onnxruntime is not installed.
    """

    manifest: Mapping[str, Any]

    def __init__(self, path: str | Path, *, env_id: str | None = None) -> None:
        self._open(_read(Path(path)), str(path), env_id)

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str = "<bytes>", env_id: str | None = None) -> Self:
        """Return the policy of a file's bytes; `name` stands for the file in error messages."""
        policy = cls.__new__(cls)
        policy._open(data, name, env_id)
        return policy

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.float32], tuple[np.ndarray, ...] | None]:
        """Return (action, state) for one observation or a batch, as `Policy.predict`.

        Raises:
            ValueError: The observation has another shape, a feature is not finite, or `deterministic` is False: the
                file holds the mean of the policy, not its exploration.
        """
        if not deterministic:
            raise ValueError("deterministic must be True: an exported policy has no exploration")
        if type(observation) is np.ndarray and observation.shape == (N_FEATURES,):
            return self.act(observation).copy(), state
        return super().predict(observation, state, episode_start)

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the action of one observation, by the shortest path.

        Args:
            observation: (8,), float32 or what converts to it.

        Returns:
            float32 (2,), order (bid, ask): a view of the policy's own buffer, overwritten by the next call of `act` or
            of `predict` with one observation. Copy what has to last.

        Raises:
            ValueError: The observation has another shape, or a feature is not finite.
            FloatingPointError: The net overflowed.
        """
        if type(observation) is not np.ndarray or observation.shape != (N_FEATURES,) or observation.dtype != _FLOAT32:
            observation = _as_observation(observation)
        # A sum of float32 numbers in float64 is finite if and only if they all are, and faster than numpy's test.
        if not math.isfinite(sum(observation.tolist())):
            raise ValueError(f"observation must be finite, got a NaN or an infinity in {_not_finite(observation)}")
        self._row[:] = observation
        self._run(self._binding)
        action = self._action
        if not math.isfinite(sum(action.tolist())):
            raise FloatingPointError(f"{self._name}: the net returned {action.tolist()} for {observation.tolist()}")
        return action

    def actions(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return actions (N, 2) for checked observations, float32 (N, 8)."""
        actions: NDArray[np.float32] = self._session.run([OUTPUT], {INPUT: observations})[0]
        if not np.isfinite(actions).all():
            raise FloatingPointError(f"{self._name}: the net returned an action that is not finite")
        return actions

    def _open(self, data: bytes, name: str, env_id: str | None) -> None:
        """Pass every gate, then bind the buffers of the fast path."""
        self._data, self._name, self._env_id = data, name, env_id
        _check_seal(data, name)
        self._session = _session(data, name)
        self.manifest = _checked_manifest(self._session, name, env_id)
        _check_graph(self._session, name)
        self._bind()
        self._check_probes()

    def _bind(self) -> None:
        """Let the net read and write two fixed buffers of one row."""
        observation = np.zeros((1, N_FEATURES), dtype=np.float32)
        action = np.zeros((1, N_ACTIONS), dtype=np.float32)
        self._row, self._action = observation[0], action[0]
        self._binding = self._session.io_binding()
        self._binding.bind_input(INPUT, "cpu", 0, np.float32, observation.shape, observation.ctypes.data)
        self._binding.bind_output(OUTPUT, "cpu", 0, np.float32, action.shape, action.ctypes.data)
        self._run: Callable[[Any], None] = self._session.run_with_iobinding

    def _check_probes(self) -> None:
        """Run the observations in the manifest again and compare with what they gave when it was written."""
        with _reading(self._name, "the manifest's probes"):
            tolerance = float(self.manifest["parity"]["tolerance"])
            observations = np.array(self.manifest["probes"]["observations"], dtype=np.float32)
            expected = np.array(self.manifest["probes"]["actions"], dtype=np.float32)
        shapes = (observations.shape, expected.shape)
        n = observations.size // N_FEATURES
        if n == 0 or shapes != ((n, N_FEATURES), (n, N_ACTIONS)) or not 0 < tolerance <= _LOOSEST_TOLERANCE:
            raise ModelFileError(
                f"{self._name}: the probes must be ({N_FEATURES},) to ({N_ACTIONS},) with a tolerance of at most "
                f"{_LOOSEST_TOLERANCE:g}, got shapes {shapes} and {tolerance!r}"
            )
        try:
            actions = np.array([self.act(row).copy() for row in observations])
        except (ValueError, FloatingPointError) as error:
            raise ModelFileError(f"{self._name}: a probe must give a finite action: {error}") from error
        worst = np.abs(actions - expected).max()
        if not worst <= tolerance:  # NaN too
            raise ModelFileError(f"{self._name}: a probe's action is off by {worst:g}, expected at most {tolerance:g}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the bytes, not the session: the copy passes every gate again."""
        return _reopen, (type(self), self._data, self._name, self._env_id)


def seal(model: bytes) -> bytes:
    """Return a serialised ONNX model with its sha256 behind it, still a valid ONNX model."""
    return model + _TRAILER + hashlib.sha256(model).hexdigest().encode()


def _check_seal(data: bytes, name: str) -> None:
    if len(data) > MAX_FILE_BYTES:
        raise ModelFileError(f"{name} has {len(data):,} bytes, a policy has at most {MAX_FILE_BYTES:,}")
    model, trailer = data[:-_TRAILER_SIZE], data[-_TRAILER_SIZE:]
    if not trailer.startswith(_TRAILER):
        raise ModelFileError(
            f"{name} is cut off, damaged or was not written by hftgym's export: it must end with its sha256"
        )
    if trailer != seal(model)[-_TRAILER_SIZE:]:
        raise ModelFileError(f"{name} is damaged: its bytes do not have the sha256 that it ends with")


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ModelFileError(f"{path} has {size:,} bytes, a policy has at most {MAX_FILE_BYTES:,}")
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}; expected an .onnx file") from error


def _session(data: bytes, name: str) -> Any:
    """Return an onnxruntime session on one thread."""
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise ImportError('OnnxPolicy needs onnxruntime: pip install "hftgym[onnx]"') from error
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Weights stored in fewer bits are unpacked once, here.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.log_severity_level = 4  # what goes wrong is raised
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise ModelFileError(f"{name} is not a model that onnxruntime can load: {error}") from error


def _checked_manifest(session: Any, name: str, env_id: str | None) -> Mapping[str, Any]:
    """Return the manifest if it is one, of this format, for these observations and for this environment."""
    text = session.get_modelmeta().custom_metadata_map.get("manifest")
    if text is None:
        raise ModelFileError(f"{name} has no manifest: expected a policy written by hftgym's export")
    with _reading(name, "the manifest"):
        manifest = dict(json.loads(text))
    expected = {"format": FORMAT, "obs_version": OBS_VERSION, "feature_names": list(FEATURE_NAMES)}
    if env_id is not None:
        expected["env_id"] = env_id
    for key, value in expected.items():
        if manifest.get(key) != value:
            raise ModelFileError(f"{name}: the manifest's {key} is {manifest.get(key)!r}, expected {value!r}")
    return manifest


def _check_graph(session: Any, name: str) -> None:
    """Compare the net's own inputs and outputs with what will be bound to it."""
    for what, found, wanted, width in (
        ("inputs", session.get_inputs(), INPUT, N_FEATURES),
        ("outputs", session.get_outputs(), OUTPUT, N_ACTIONS),
    ):
        ports = [(port.name, port.type, list(port.shape)) for port in found]
        expected = [(wanted, "tensor(float)", [BATCH_AXIS, width])]
        if ports != expected:
            raise ModelFileError(f"{name}: the net's {what} are {ports}, expected {expected}")


@contextmanager
def _reading(name: str, part: str) -> Iterator[None]:
    """Turn what a malformed manifest raises into a ModelFileError that says where it is malformed."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ModelFileError(f"{name}: {part} is malformed ({error!r}), expected {FORMAT}") from error


def _as_observation(value: Any) -> NDArray[np.float32]:
    observation = np.asarray(value, dtype=np.float32)
    if observation.shape != (N_FEATURES,):
        raise ValueError(f"observation must have the shape ({N_FEATURES},), got {observation.shape}")
    return observation


def _not_finite(observation: NDArray[np.float32]) -> str:
    """Return the names of the features that are not finite."""
    return ", ".join(FEATURE_NAMES[i] for i in np.flatnonzero(~np.isfinite(observation)))


def _reopen(cls: type[OnnxPolicy], data: bytes, name: str, env_id: str | None) -> OnnxPolicy:
    return cls.from_bytes(data, name=name, env_id=env_id)
