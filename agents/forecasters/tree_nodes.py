"""Trees of LightGBM as the attributes of ONNX's TreeEnsembleRegressor, with thresholds that float32 cannot miss."""

from typing import Any

import lightgbm
import numpy as np

from agents.onnx_graph import ExportError


def below(threshold: float) -> float:
    """Return the largest float32 number that is at most `threshold`.

    LightGBM compares in float64, ONNX in float32. For every float32 x, x <= threshold if and only if x <= this.
    Rounded to nearest instead, a number between the two would take the other branch.
    """
    with np.errstate(over="ignore"):
        nearest = np.float32(threshold)
    return float(nearest if nearest <= threshold else np.nextafter(nearest, np.float32(-np.inf)))


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
