"""The net of an SB3 policy as an ONNX graph, node by node: no tracing, so nothing is left out silently."""

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Space
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor

import hftgym
from hftgym.observation import N_FEATURES
from hftgym.policies.onnx import BATCH_AXIS, INPUT, N_ACTIONS, OUTPUT

# Old enough for every onnxruntime that the extra allows.
OPSET, IR_VERSION = 17, 8

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]


class ExportError(ValueError):
    """A model cannot be exported faithfully; nothing has been written."""


def policy_layers(model: PPO) -> list[Layer]:
    """Return (weights (out, in), bias (out,)) of the policy's layers, the last one the action's mean.

    Raises:
        ExportError: The policy is not a tanh net with an unsquashed Gaussian on top of a flat observation, or a weight
            is not finite.
    """
    policy = model.policy
    found = {
        "policy": (type(policy), ActorCriticPolicy),
        "features extractor": (type(policy.features_extractor), FlattenExtractor),
        "activation": (policy.activation_fn, torch.nn.Tanh),
        "squash_output": (policy.squash_output, False),
        "use_sde": (model.use_sde, False),
        "observation shape": (model.observation_space.shape, (N_FEATURES,)),
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
    return layers


def build_graph(layers: list[Layer], actions: Space[Any]) -> ModelProto:
    """Return observation (batch, n) -> Gemm, Tanh, ..., Gemm, Clip -> action (batch, 2), float32.

    Args:
        layers: From `policy_layers`.
        actions: The action space, whose bounds the clip takes.

    Raises:
        ExportError: The space is not a box with the same bounds on both sides.
    """
    if not (isinstance(actions, Box) and len({*actions.low.tolist()}) == len({*actions.high.tolist()}) == 1):
        raise ExportError(f"cannot export this model: its action space is {actions}, expected Box(low, high, (2,))")
    nodes: list[Any] = []
    constants = {"low": actions.low[0], "high": actions.high[0]}
    value = INPUT
    for index, (weights, bias) in enumerate(layers):
        constants |= {f"weights_{index}": weights, f"bias_{index}": bias}
        last = index == len(layers) - 1
        inputs = [value, f"weights_{index}", f"bias_{index}"]
        nodes.append(helper.make_node("Gemm", inputs, [f"linear_{index}"], name=f"linear_{index}", transB=1))
        if not last:
            nodes.append(helper.make_node("Tanh", [f"linear_{index}"], [f"tanh_{index}"], name=f"tanh_{index}"))
        value = f"linear_{index}" if last else f"tanh_{index}"
    nodes.append(helper.make_node("Clip", [value, "low", "high"], [OUTPUT], name="clip"))
    width = layers[0][0].shape[1]
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [BATCH_AXIS, width])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [BATCH_AXIS, N_ACTIONS])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="hftgym",
        producer_version=hftgym.__version__,
    )


def _layer(module: torch.nn.Linear) -> Layer:
    weights, bias = module.weight.detach().numpy(), module.bias.detach().numpy()
    return np.ascontiguousarray(weights, np.float32), np.ascontiguousarray(bias, np.float32)
