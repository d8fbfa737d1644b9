"""What computes a policy's net: onnxruntime, or anything else that offers the same methods."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hftgym.policies.artefact import ModelFileError


class Engine(Protocol):
    """Computes a policy's net.

    Arrays come in the order of the net's ports: inputs observation float32 (n, 8) and, with a memory, episode_start
    bool (n, 1) and one float32 (n, width) per memory; outputs action float32 (n, 2) and the new memories. They are
    C-contiguous. Observations have been checked, and what comes out is checked by whoever asked.
    """

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Return the outputs for a batch of any size."""
        ...


class BindingEngine(Engine, Protocol):
    """One that can be bound to fixed buffers."""

    def bind(self, inputs: Sequence[NDArray[Any]], outputs: Sequence[NDArray[np.float32]]) -> Callable[[], object]:
        """Return a function that computes one row from `inputs` into `outputs`, as often as it is called.

        The caller keeps the arrays alive; outputs are never inputs of the same call.
        """
        ...


class OnnxruntimeEngine:
    """An onnxruntime session on one thread.

    Args:
        session: From `open_session`.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._inputs = [port.name for port in session.get_inputs()]
        self._outputs = [port.name for port in session.get_outputs()]

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Return the outputs for a batch of any size."""
        return self._session.run(self._outputs, dict(zip(self._inputs, inputs, strict=True)))

    def bind(self, inputs: Sequence[NDArray[Any]], outputs: Sequence[NDArray[np.float32]]) -> Callable[[], object]:
        """Return a function that computes one row from `inputs` into `outputs`, by IO binding."""
        import onnxruntime as ort

        binding = self._session.io_binding()
        for name, array in zip(self._inputs, inputs, strict=True):
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in zip(self._outputs, outputs, strict=True):
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        # The session's own method does nothing but unwrap its arguments, for a twelfth of the decision's time, and
        # without options onnxruntime makes new ones for every run, for a fifth of it.
        return partial(self._session._sess.run_with_iobinding, binding._iobinding, ort.RunOptions())


def open_session(data: bytes, name: str) -> Any:
    """Return an onnxruntime session on one thread.

    Raises:
        ModelFileError: onnxruntime refuses the model.
        ImportError: onnxruntime is not installed.
    """
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
