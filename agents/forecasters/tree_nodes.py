"""Trees of LightGBM as the attributes of ONNX's TreeEnsembleRegressor, with thresholds that float32 cannot miss."""

from typing import Any

import lightgbm
import numpy as np

from agents.onnx_graph import ExportError

# What LightGBM's predictor takes for 0: a float32 number written as a double.
_ZERO = float(np.float32(1e-35))


def below(threshold: float) -> float:
    """Return the largest float32 number that LightGBM sends to the left of `threshold`.

    LightGBM compares in float64, ONNX in float32. For every float32 x, x <= threshold if and only if x <= this.
    Rounded to nearest instead, a number between the two would take the other branch. And LightGBM takes numbers within
    1e-35 of zero for zero, which is right of a threshold just below it.
    """
    if -_ZERO <= threshold < 0.0:
        return float(np.nextafter(np.float32(-_ZERO), np.float32(-np.inf)))
    nearest = np.float32(threshold)
    # As Python floats: NumPy would compare a float32 number and a float in float32, where they are equal.
    return float(nearest if float(nearest) <= float(threshold) else np.nextafter(nearest, np.float32(-np.inf)))


def tree_attributes(booster: lightgbm.Booster) -> dict[str, Any]:
    """Return the attributes of a node that gives the sum of a booster's leaves, its log-odds.

    Raises:
        ExportError: A tree has something else than comparisons of numbers without missing values.
    """
    nodes: dict[str, list[Any]] = {name: [] for name in ("tree", "id", "feature", "mode", "value", "true", "false")}
    leaves: dict[str, list[Any]] = {name: [] for name in ("tree", "id", "weight")}
    for number, tree in enumerate(booster.dump_model()["tree_info"]):
        _add(tree["tree_structure"], number, [0], nodes, leaves)
    return {
        "n_targets": 1,
        "aggregate_function": "SUM",
        "post_transform": "NONE",
        "nodes_treeids": nodes["tree"],
        "nodes_nodeids": nodes["id"],
        "nodes_featureids": nodes["feature"],
        "nodes_modes": nodes["mode"],
        "nodes_values": nodes["value"],
        "nodes_truenodeids": nodes["true"],
        "nodes_falsenodeids": nodes["false"],
        "target_treeids": leaves["tree"],
        "target_nodeids": leaves["id"],
        "target_ids": [0] * len(leaves["id"]),
        "target_weights": leaves["weight"],
    }


def _add(part: dict[str, Any], tree: int, counter: list[int], nodes: dict[str, Any], leaves: dict[str, Any]) -> int:
    """Add a node and everything below it, and return its number."""
    own = counter[0]
    counter[0] += 1
    leaf = "leaf_value" in part
    place = len(nodes["id"])
    row = {"tree": tree, "id": own, "feature": 0, "mode": "LEAF", "value": 0.0, "true": 0, "false": 0}
    if not leaf:
        if part["decision_type"] != "<=" or part["missing_type"] != "None":
            found = f"{part['decision_type']}, missing {part['missing_type']}"
            raise ExportError(f"cannot export these trees: a node decides by {found}, expected <=, missing None")
        row |= {"feature": part["split_feature"], "mode": "BRANCH_LEQ", "value": below(part["threshold"])}
    for name, value in row.items():
        nodes[name].append(value)
    if leaf:
        for name, value in (("tree", tree), ("id", own), ("weight", part["leaf_value"])):
            leaves[name].append(value)
        return own
    nodes["true"][place] = _add(part["left_child"], tree, counter, nodes, leaves)
    nodes["false"][place] = _add(part["right_child"], tree, counter, nodes, leaves)
    return own
