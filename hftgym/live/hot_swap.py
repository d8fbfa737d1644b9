"""Another model between two ticks: a policy that follows its file."""

import hashlib
import logging
import threading
from pathlib import Path
from typing import Any, Self

import numpy as np

from hftgym.policies.artefact import ModelFileError, read_file
from hftgym.policies.onnx import Backend, OnnxPolicy

_LOOK_EVERY_S = 0.5

log = logging.getLogger("hftgym.live.hot_swap")


class Reloading:
    """An agent's file as a policy; once another file stands at the path, that one decides from the next tick on.

    The new file is read, verified and made ready in a thread of its own; a decision only ever takes what is ready. A
    file that does not verify, was not written completely, or has gone, is refused: the old model stays, and the log
    says why. A model with a memory starts with an empty one.

    Write it as `agents.retraining` does, with a rename. A file that is written in place is refused until it is whole.

    Args:
        path: The file.
        backend: As for `OnnxPolicy`.
        look_every_s: Seconds between two looks at the file.

    Attributes:
        path: The file.
        policy: The model that decides now.
        sha256: Of its file.
        swaps: How often another model took over.
        refused: How many files were refused.

    Raises:
        ModelFileError: The first file does not verify.
    """

    def __init__(
        self, path: str | Path, *, backend: Backend = "onnxruntime", look_every_s: float = _LOOK_EVERY_S
    ) -> None:
        self.path, self._look_every_s = Path(path), look_every_s
        self._backend: Backend = backend
        self.swaps = self.refused = 0
        self._stamp = self._look()
        self.policy, self.sha256 = self._load()
        self._next: tuple[OnnxPolicy, str] | None = None
        self._handover = threading.Lock()
        self._closing = threading.Event()
        self._watcher: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Begin to watch the file."""
        self._watcher = threading.Thread(target=self._watch, name="hot swap", daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop watching; the model goes on deciding."""
        self._closing.set()
        if self._watcher is not None:
            self._watcher.join()

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return (action, state) as `OnnxPolicy.predict`, by the newest model that has verified."""
        if self._swap():
            state = None  # it is the old model's memory
        return self.policy.predict(observation, state, episode_start, deterministic)

    def act(self, observation: Any) -> np.ndarray:
        """Return the action for one observation, as `OnnxPolicy.act`, by the newest model that has verified."""
        self._swap()
        return self.policy.act(observation)

    def reset(self) -> None:
        """Forget what `act` remembers."""
        self.policy.reset()

    def _swap(self) -> bool:
        """Let the model that is ready take over, and say whether there was one."""
        if self._next is None:
            return False
        with self._handover:
            if self._next is None:  # withdrawn in between
                return False
            (self.policy, self.sha256), self._next = self._next, None
        self.swaps += 1
        log.warning("another model decides from now on: %s", self.path, extra={"sha256": self.sha256})
        return True

    def _watch(self) -> None:
        while not self._closing.wait(self._look_every_s):
            stamp = self._look()
            if stamp == self._stamp:
                continue
            self._stamp = stamp  # looked at before it is read: what is written meanwhile is another file
            try:
                policy, sha256 = self._load()
            except (ModelFileError, ImportError, OSError, ValueError, RuntimeError, FloatingPointError) as error:
                self.refused += 1
                log.error("the new model is refused, the old one goes on: %s", error, extra={"sha256": self.sha256})
            else:
                # Written there and back again: what decides already need not forget what it remembers.
                with self._handover:
                    self._next = (policy, sha256) if sha256 != self.sha256 else None

    def _look(self) -> tuple[int, ...]:
        """Return what changes when the file does; empty if there is none."""
        try:
            status = self.path.stat()
        except OSError:
            return ()
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _load(self) -> tuple[OnnxPolicy, str]:
        """Return a model that has passed every gate, and the hash of its file."""
        data = read_file(self.path)
        policy = OnnxPolicy.from_bytes(data, name=str(self.path), backend=self._backend)
        return policy, hashlib.sha256(data).hexdigest()
