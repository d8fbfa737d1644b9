"""A trained agent from one `.onnx` file: numpy and onnxruntime, no compiler, no net library."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from hftgym.observation import N_FEATURES
from hftgym.policies.artefact import (
    BATCH_AXIS,
    FORMAT,
    INPUT,
    MAX_FILE_BYTES,
    N_ACTIONS,
    NEXT,
    OUTPUT,
    START,
    ModelFileError,
    check_seal,
    checked_manifest,
    checked_probes,
    checked_widths,
    read_file,
    seal,
)
from hftgym.policies.base import Policy, checked_observation
from hftgym.policies.engine import Engine, OnnxruntimeEngine, open_session
from hftgym.policies.row import Decides, RememberingRow, Row, starts_of, wrong_state

__all__ = [
    "BATCH_AXIS",
    "FORMAT",
    "INPUT",
    "MAX_FILE_BYTES",
    "NEXT",
    "N_ACTIONS",
    "OUTPUT",
    "START",
    "Backend",
    "ModelFileError",
    "OnnxPolicy",
    "seal",
]

Backend = Literal["onnxruntime", "compiled"]


class OnnxPolicy(Policy):
    """A policy that `agents.export` wrote, verified while it is loaded.

    A policy with a memory keeps it in `act`, until `reset`; `predict` takes it and hands it back. An instance serves
    one thread at a time; pickling it takes the file's bytes along, and not what `act` remembers.

    Args:
        path: The file.
        env_id: Refuse a policy of another environment; None accepts any.
        backend: What computes the net: "compiled" makes C of it, compiles that once per machine, and checks it against
            onnxruntime; where it cannot, it warns, and onnxruntime decides.

    Attributes:
        manifest: What the file says about itself: `env_id`, `params` (the market it was trained in), `seed`, `parity`
            and so on.
        backend: What computes the net, after all.
        widths: What the policy remembers: name -> number of float32, in order; empty without a memory.

    Raises:
        ModelFileError: The file is missing, damaged, not of this format, or made for other observations.
        ImportError: onnxruntime is not installed.
        ValueError: There is no such backend.
    """

    manifest: Mapping[str, Any]
    widths: Mapping[str, int]
    backend: Backend

    def __init__(self, path: str | Path, *, env_id: str | None = None, backend: Backend = "onnxruntime") -> None:
        self._open(read_file(Path(path)), str(path), env_id, backend)

    @classmethod
    def from_bytes(
        cls, data: bytes, *, name: str = "<bytes>", env_id: str | None = None, backend: Backend = "onnxruntime"
    ) -> Self:
        """Return the policy of a file's bytes; `name` stands for the file in error messages."""
        policy = cls.__new__(cls)
        policy._open(data, name, env_id, backend)
        return policy

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.float32], tuple[np.ndarray, ...] | None]:
        """Return (action, state) for one observation or a batch, as `Policy.predict`.

        Args:
            observation: float32 (8,) or (N, 8), the features in the order of `FEATURE_NAMES`.
            state: What the last call returned: float32 arrays, (width,) for one observation and (N, width) for a batch;
                None where every episode starts here. Without a memory it is handed back as it came.
            episode_start: bool (N,): which episodes start here, whatever the state; None is none of them.
            deterministic: Must be True.

        Raises:
            ValueError: The observation or the state has another shape, a feature is not finite, or `deterministic` is
                False: the file holds the mean of the policy, not its exploration.
            FloatingPointError: The net overflowed.
        """
        if not deterministic:
            raise ValueError("deterministic must be True: an exported policy has no exploration")
        if type(observation) is np.ndarray and observation.shape == (N_FEATURES,):
            return self._row.predict(observation, state, episode_start)
        observations = checked_observation(observation)
        if observations.ndim == 1:
            return self._row.predict(observations, state, episode_start)
        if not self.widths:
            return self._run([observations])[0], state
        action, *memory = self._run([observations, *self._past(len(observations), state, episode_start)])
        return action, tuple(memory)

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the action of one observation, by the shortest path.

        A policy with a memory takes it from the last call and keeps it for the next one; a call that raises leaves it
        as it was.

        Args:
            observation: (8,), float32 or what converts to it.

        Returns:
            float32 (2,), order (bid, ask): a view of the policy's own buffer, overwritten by the next call of `act` or
            of `predict` with one observation. Copy what has to last.

        Raises:
            ValueError: The observation has another shape, or a feature is not finite.
            FloatingPointError: The net overflowed.
        """
        return self._row.act(observation)

    def reset(self) -> None:
        """Start an episode: what `act` remembers is forgotten."""
        self._row.reset()

    def actions(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return actions (N, 2) for checked observations, float32 (N, 8), as at the start of an episode."""
        return self.predict(observations)[0]

    def _past(self, count: int, state: Any, episode_start: Any) -> list[NDArray[Any]]:
        """Return episode_start bool (N, 1) and the memories (N, width) of a batch."""
        starts = starts_of(episode_start, count)
        if state is None:
            memories = [np.zeros((count, width), dtype=np.float32) for width in self.widths.values()]
            return [np.ones((count, 1), dtype=np.bool_), *memories]
        wanted = [(count, width) for width in self.widths.values()]
        if not isinstance(state, tuple) or [np.shape(part) for part in state] != wanted:
            raise wrong_state(self.widths, state, count)
        return [np.ascontiguousarray(starts[:, None]), *(np.ascontiguousarray(part, np.float32) for part in state)]

    def _run(self, inputs: list[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Return what the net gives for a batch, all of it finite."""
        outputs = self._engine.run(inputs)
        for port, array in zip(("action", *(f"new memory {name}" for name in self.widths)), outputs, strict=True):
            if not np.isfinite(array).all():
                raise FloatingPointError(f"{self._name}: the net returned what cannot be used: {port} is not finite")
        return outputs

    def _open(self, data: bytes, name: str, env_id: str | None, backend: Backend) -> None:
        """Pass every gate, then bind the buffers of the fast path."""
        if backend not in get_args(Backend):
            raise ValueError(f"backend must be one of {', '.join(get_args(Backend))}, got {backend!r}")
        self._data, self._name, self._env_id, self._asked = data, name, env_id, backend
        check_seal(data, name)
        session = open_session(data, name)
        self.manifest = checked_manifest(session, name, env_id)
        self.widths = checked_widths(session, self.manifest, name)
        engine = OnnxruntimeEngine(session)
        self._use(
            engine, RememberingRow(engine, self.widths, name) if self.widths else Row(engine, name), "onnxruntime"
        )
        if backend == "compiled":
            from hftgym.policies.compiled import compile_policy

            if compiled := compile_policy(data, engine, widths=self.widths, name=name):
                self._use(*compiled, "compiled")

    def _use(self, engine: Engine, row: Decides, backend: Backend) -> None:
        """Let an engine compute the net from now on, if it answers the probes as it should."""
        self._engine, self._row, self.backend = engine, row, backend
        if type(self).act is OnnxPolicy.act:
            # The method in between would take a fifth of a compiled decision.
            vars(self)["act"] = row.act
        self._check_probes()

    def _check_probes(self) -> None:
        """Run the observations in the manifest again and compare with what they gave when it was written."""
        probes = checked_probes(self.manifest, self._name)
        self.reset()
        try:
            actions = np.array([self.act(row).copy() for row in probes.observations])
        except (ValueError, FloatingPointError) as error:
            raise ModelFileError(f"{self._name}: a probe must give a finite action: {error}") from error
        self.reset()
        worst = np.abs(actions - probes.actions).max()
        if not worst <= probes.tolerance:  # NaN too
            raise ModelFileError(
                f"{self._name}: a probe's action is off by {worst:g}, expected at most {probes.tolerance:g}"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the bytes, not the session: the copy passes every gate again."""
        return _reopen, (type(self), self._data, self._name, self._env_id, self._asked)


def _reopen(cls: type[OnnxPolicy], data: bytes, name: str, env_id: str | None, backend: Backend) -> OnnxPolicy:
    return cls.from_bytes(data, name=name, env_id=env_id, backend=backend)
