"""The net of an SB3 policy as an ONNX graph, node by node: no tracing, so nothing is left out silently."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Space
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor

import hftgym
from agents.checkpoint import Model
from agents.onnx_memory import Averages, ExportError, Lstm, Part
from agents.recurrent import LstmPolicy
from agents.return_memory import return_memory_of
from hftgym.observation import N_FEATURES
from hftgym.policies.onnx import BATCH_AXIS, INPUT, N_ACTIONS, NEXT, OUTPUT, START

# Old enough for every onnxruntime that the extra allows.
OPSET, IR_VERSION = 17, 8

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Net:
    """What a policy computes.

    Attributes:
        memory: What comes before the layers and remembers; None without a memory.
        layers: (weights (out, in), bias (out,)), with tanh between them; the last one gives the action's mean.
    """

    memory: Averages | Lstm | None
    layers: list[Layer]

    @property
    def widths(self) -> dict[str, int]:
        """What the policy remembers: name -> width, in order."""
        return self.memory.widths if self.memory else {}


def policy_net(model: Model) -> Net:
    """Return the net of a policy.

    Raises:
        ExportError: The policy is not a tanh net with an unsquashed Gaussian on top of a flat observation or of one
            LSTM layer, or a weight is not finite.
    """
    policy, memory = model.policy, return_memory_of(model)
    allowed = (LstmPolicy, RecurrentActorCriticPolicy) if isinstance(model, RecurrentPPO) else (ActorCriticPolicy,)
    width = N_FEATURES + (len(memory.weights) if memory else 0)
    found = {
        "policy": (type(policy), type(policy) if type(policy) in allowed else allowed[-1]),
        "features extractor": (type(policy.features_extractor), FlattenExtractor),
        "activation": (policy.activation_fn, torch.nn.Tanh),
        "squash_output": (policy.squash_output, False),
        "use_sde": (model.use_sde, False),
        "observation shape": (model.observation_space.shape, (width,)),
        "action shape": (model.action_space.shape, (N_ACTIONS,)),
    }
    for what, (value, expected) in found.items():
        if value != expected:
            raise ExportError(f"cannot export this model: its {what} is {value}, expected {expected}")
    modules = (*policy.mlp_extractor.policy_net, policy.action_net)
    layers = [_layer(module) for module in modules if isinstance(module, torch.nn.Linear)]
    for index, (weights, bias) in enumerate(layers):
        if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
            raise ExportError(f"cannot export this model: layer {index} has a weight that is not finite")
    if isinstance(model, RecurrentPPO):
        assert isinstance(policy.lstm_actor, torch.nn.LSTM)
        return Net(memory=Lstm.of(policy.lstm_actor, observed=isinstance(policy, LstmPolicy)), layers=layers)
    return Net(memory=Averages(memory) if memory else None, layers=layers)


def build_graph(net: Net, actions: Space[Any]) -> ModelProto:
    """Return observation (batch, 8) -> memory, if any -> Gemm, Tanh, ..., Gemm, Clip -> action (batch, 2), float32.

    Args:
        net: From `policy_net`.
        actions: The action space, whose bounds the clip takes.

    Raises:
        ExportError: The space is not a box with the same bounds on both sides.
    """
    if not (isinstance(actions, Box) and len({*actions.low.tolist()}) == len({*actions.high.tolist()}) == 1):
        raise ExportError(f"cannot export this model: its action space is {actions}, expected Box(low, high, (2,))")
    before = net.memory.part() if net.memory else Part(output=INPUT)
    layers = _layers(net.layers, before.output)
    clip = helper.make_node("Clip", [layers.output, "low", "high"], [OUTPUT], name="clip")
    constants = before.constants | layers.constants | {"low": actions.low[0], "high": actions.high[0]}
    start = [_port(START, TensorProto.BOOL, 1)] if net.memory else []
    states = [(name, TensorProto.FLOAT, width) for name, width in net.widths.items()]
    graph = helper.make_graph(
        [*before.nodes, *layers.nodes, clip],
        "policy",
        [_port(INPUT, TensorProto.FLOAT, N_FEATURES), *start, *(_port(*state) for state in states)],
        [_port(OUTPUT, TensorProto.FLOAT, N_ACTIONS), *(_port(name + NEXT, kind, w) for name, kind, w in states)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="hftgym",
        producer_version=hftgym.__version__,
    )


def _layers(layers: list[Layer], value: str) -> Part:
    """Return Gemm, Tanh, ..., Gemm."""
    nodes: list[Any] = []
    constants: dict[str, NDArray[Any]] = {}
    for index, (weights, bias) in enumerate(layers):
        constants |= {f"weights_{index}": weights, f"bias_{index}": bias}
        last = index == len(layers) - 1
        inputs = [value, f"weights_{index}", f"bias_{index}"]
        nodes.append(helper.make_node("Gemm", inputs, [f"linear_{index}"], name=f"linear_{index}", transB=1))
        if not last:
            nodes.append(helper.make_node("Tanh", [f"linear_{index}"], [f"tanh_{index}"], name=f"tanh_{index}"))
        value = f"linear_{index}" if last else f"tanh_{index}"
    return Part(output=value, nodes=nodes, constants=constants)


def _port(name: str, kind: int, width: int) -> Any:
    return helper.make_tensor_value_info(name, kind, [BATCH_AXIS, width])


def _layer(module: torch.nn.Linear) -> Layer:
    weights, bias = module.weight.detach().numpy(), module.bias.detach().numpy()
    return np.ascontiguousarray(weights, np.float32), np.ascontiguousarray(bias, np.float32)
