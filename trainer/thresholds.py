"""Thresholds of trees in float32: rounded down, so that a value of float32 takes the side that it takes in float64.

skl2onnx 1.20 rounds those of HistGradientBoosting to the nearest, and onnxmltools 1.16 those of LightGBM: with a
threshold of 2.45 the value 2.45, in float32 above it, would go left in the graph and right in the estimator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from skl2onnx.sklapi import CastTransformer
from sklearn.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

    Thresholds = dict[tuple[int, float], set[float]]


def thresholds_of(estimator: Any) -> Thresholds:
    """Return by feature and nearest float32 the float32 values just below the thresholds that an estimator holds.

    None for trees behind transformers that give float64: what the graph computes there is rounded to the nearest too.
    """
    found: Thresholds = {}
    if isinstance(estimator, Pipeline) and len(estimator) > 1 and not isinstance(estimator[-2], CastTransformer):
        return found
    parts = [estimator]
    if hasattr(estimator, "get_params"):
        parts += list(estimator.get_params(deep=True).values())
    for part in parts:
        for feature, value in (*_of_histograms(part), *_of_lightgbm(part)):
            nearest = np.float32(value)
            # Compared in float64: beside a float32 Python would round the threshold too.
            lower = np.nextafter(nearest, np.float32(-np.inf)) if float(nearest) > value else nearest
            found.setdefault((feature, float(nearest)), set()).add(float(lower))
    return found


def _of_histograms(part: Any) -> Iterator[tuple[int, float]]:
    for trees in getattr(part, "_predictors", ()):
        for tree in trees:
            nodes = tree.nodes[(tree.nodes["is_leaf"] == 0) & (tree.nodes["is_categorical"] == 0)]
            for feature, value in zip(nodes["feature_idx"], nodes["num_threshold"], strict=True):
                yield int(feature), float(value)


def _of_lightgbm(part: Any) -> Iterator[tuple[int, float]]:
    if not type(part).__module__.startswith("lightgbm.") or not hasattr(part, "booster_"):
        return
    left = [tree["tree_structure"] for tree in part.booster_.dump_model()["tree_info"]]
    while left:
        node = left.pop()
        if "split_feature" not in node:
            continue
        left += [node["left_child"], node["right_child"]]
        if node["decision_type"] == "<=":
            yield int(node["split_feature"]), float(node["threshold"])


def lower_thresholds(graph: onnx.ModelProto, thresholds: Thresholds) -> None:
    """Lower the thresholds of a graph's trees to those; where two that differ have one nearest value it is kept."""
    for node in graph.graph.node if thresholds else ():
        said = {each.name: each for each in node.attribute}
        if "nodes_values" not in said or "nodes_featureids" not in said:
            continue
        values = said["nodes_values"].floats
        for place, feature in enumerate(said["nodes_featureids"].ints):
            lower = thresholds.get((feature, values[place]), ())
            if len(lower) == 1:
                (values[place],) = lower
