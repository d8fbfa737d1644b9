"""The compiled tier of `OnnxPolicy`: C made from the same file, checked against onnxruntime before it decides.

A decision is one call of a C function that Python sees as a built-in: it reads the observation, refuses it if it is
not finite, runs the net and checks what comes out, without a Python instruction in between. (ctypes would cost 0.1 to
0.2 us per call, the same checks in Python 0.6 us; ctypes is only used to load the library.)
"""

import ctypes
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hftgym.policies.artefact import N_ACTIONS
from hftgym.policies.compiled.build import BuildError, load_library
from hftgym.policies.compiled.generate import c_source
from hftgym.policies.compiled.parity import ParityError, check_parity
from hftgym.policies.compiled.program import NotCoveredError
from hftgym.policies.engine import Engine
from hftgym.policies.row import State, as_observation, not_finite, overflow, starts_of, wrong_state

__all__ = ["Compiled", "CompiledEngine", "CompiledRow", "compile_policy"]

_START = 4 * N_ACTIONS  # where `start` lies in binding.h's struct row; the memories come 4 bytes later


class Compiled(NamedTuple):
    """A compiled policy: what computes batches, and what decides about one observation after the other."""

    engine: "CompiledEngine"
    row: "CompiledRow"


def compile_policy(data: bytes, reference: Engine, *, widths: Mapping[str, int], name: str) -> Compiled | None:
    """Compile a policy, or warn and return None.

    Args:
        data: The policy's file, already checked.
        reference: onnxruntime on the same file.
        widths: Of every memory, by name, in order.
        name: What warnings and errors call the policy.
    """
    try:
        if sys.implementation.name != "cpython":
            raise BuildError(f"it needs CPython, this is {sys.implementation.name}")
        library = load_library(data, lambda: _generated(data))
        engine = CompiledEngine(library, widths)
        check_parity(engine, reference, widths=widths)
        return Compiled(engine, CompiledRow(library, widths, name))
    except (BuildError, NotCoveredError, ParityError) as error:
        warnings.warn(
            f"{name}: the backend 'compiled' cannot be used, so onnxruntime decides: {error}",
            RuntimeWarning,
            stacklevel=4,
        )
        return None


class CompiledEngine:
    """Computes batches by the compiled net, row after row, so that a batch equals its rows bit for bit.

    Args:
        library: From `load_library`.
        widths: Of every memory, by name, in order.
    """

    def __init__(self, library: ctypes.CDLL, widths: Mapping[str, int]) -> None:
        self._batch = library.batch
        self._batch.argtypes = (ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p)
        self._batch.restype = None
        self._widths = (N_ACTIONS, *widths.values())

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Return the outputs for a batch of any size."""
        # C walks through them row after row: a view with other strides is copied.
        inputs = [np.ascontiguousarray(array) for array in inputs]
        outputs = [np.empty((len(inputs[0]), width), dtype=np.float32) for width in self._widths]
        self._batch(len(inputs[0]), _addresses(inputs), _addresses(outputs))
        return outputs


class CompiledRow:
    """Decides about one observation after the other, as `Row` and `RememberingRow` do.

    Args:
        library: From `load_library`.
        widths: Of every memory, by name, in order.
        name: What errors call the policy.
    """

    def __init__(self, library: ctypes.CDLL, widths: Mapping[str, int], name: str) -> None:
        self._name, self._widths = name, widths
        slices = [slice(*ends) for ends in pairwise(accumulate(widths.values(), initial=0))]
        size = sum(widths.values())
        # binding.h's struct row: action, start and three bytes more, four memories.
        memory = np.zeros(_START + 4 + 16 * max(size, 1), dtype=np.uint8)
        self._action, self._start = memory[:_START].view(np.float32), memory[_START : _START + 1]
        taken = memory[_START + 4 :].view(np.float32)[3 * size : 4 * size]
        self._taken = [taken[part] for part in slices]
        self._nothing = tuple(np.zeros(width, dtype=np.float32) for width in widths.values())
        # binding.h's `self`. It holds all that the C function points to for as long as the function lives.
        holder = (memory.ctypes.data, self._action, as_observation, self._as_state, _as_start, self._refuse)
        self._act, self._step = (_built_in(library, method, holder) for method in ("act_method", "step_method"))
        self.reset()

    @property
    def act(self) -> Callable[[Any], NDArray[np.float32]]:
        """The built-in that returns the action of an observation, a view; see `OnnxPolicy.act`."""
        return self._act

    def reset(self) -> None:
        """Start an episode: the next `act` knows nothing of the past."""
        self._start[0] = 1

    def predict(self, observation: Any, state: Any, start: Any) -> tuple[NDArray[np.float32], Any]:
        """Return (action, new state), copies; the memory of `act` is left alone."""
        if not self._taken:
            return self._act(observation).copy(), state
        begins = True if state is None else start
        if begins is not None and getattr(begins, "shape", None) != (1,):
            begins = _as_start(begins)  # a list of one False is true to C
        action = self._step(observation, self._nothing if state is None else state, begins)
        return action.copy(), tuple([part.copy() for part in self._taken])

    def _as_state(self, state: Any) -> State:
        """Return the caller's state as float32 arrays, or raise a ValueError."""
        shapes = [(width,) for width in self._widths.values()]
        if type(state) is not tuple or [getattr(part, "shape", None) for part in state] != shapes:
            raise wrong_state(self._widths, state)
        return tuple(np.asarray(part, dtype=np.float32) for part in state)

    def _refuse(self, observation: Any) -> None:
        """Raise what is wrong with a decision."""
        observation = as_observation(observation)
        if not np.isfinite(observation).all():
            raise not_finite(observation)
        if not np.isfinite(self._action).all():
            raise overflow(self._name, observation, self._action)
        raise FloatingPointError(f"{self._name}: the net's new memory is not finite")


def _as_start(start: Any) -> bool:
    """Return `episode_start` of one observation, or raise a ValueError."""
    return bool(starts_of(start, 1)[0])


def _built_in(library: ctypes.CDLL, method: str, holder: tuple[Any, ...]) -> Any:
    """Return a function of the library as a built-in of Python; `holder` is what C gets as `self`."""
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.argtypes, make.restype = (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p), ctypes.py_object
    return make(ctypes.addressof(ctypes.c_char.in_dll(library, method)), holder, None)


def _addresses(arrays: Sequence[NDArray[Any]]) -> Any:
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


def _generated(data: bytes) -> str:
    """Return the C program of a file; only here is the `onnx` package needed."""
    try:
        from onnx import load_from_string
    except ImportError as error:
        raise BuildError(
            'the first compilation on a machine needs the package onnx: pip install "onnx>=1.17"'
        ) from error
    return c_source(load_from_string(data))
