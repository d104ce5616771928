"""Forests of any size, made up: what they say means nothing, but they load, run and are freed as real ones are."""

from __future__ import annotations

import numpy as np
from model import FEATURES, INPUT
from onnx import TensorProto, helper

BYTES_PER_NODE = 33
_DEPTHS = ((4_000_000, 9), (10**12, 13))
"""Up to so many bytes, the depth of its trees."""


def forest(size_bytes: int, *, seed: int) -> bytes:
    """Return an ONNX file of about that size: a forest of complete trees that gives one `score` a row."""
    depth = next(depth for most, depth in _DEPTHS if size_bytes <= most)
    nodes = 2 ** (depth + 1) - 1
    trees = max(1, round(size_bytes / BYTES_PER_NODE / nodes))
    inner = 2**depth - 1
    random = np.random.default_rng(seed)
    ids = np.arange(nodes)
    is_inner = ids < inner
    columns = {
        "nodes_treeids": np.repeat(np.arange(trees), nodes),
        "nodes_nodeids": np.tile(ids, trees),
        "nodes_featureids": np.where(np.tile(is_inner, trees), random.integers(0, FEATURES, trees * nodes), 0),
        "nodes_values": np.where(np.tile(is_inner, trees), random.normal(size=trees * nodes), 0.0).astype(np.float32),
        "nodes_truenodeids": np.tile(np.where(is_inner, 2 * ids + 1, 0), trees),
        "nodes_falsenodeids": np.tile(np.where(is_inner, 2 * ids + 2, 0), trees),
        "target_treeids": np.repeat(np.arange(trees), nodes - inner),
        "target_nodeids": np.tile(ids[inner:], trees),
        "target_ids": np.zeros(trees * (nodes - inner), np.int64),
        "target_weights": random.normal(size=trees * (nodes - inner)).astype(np.float32),
    }
    node = helper.make_node(
        "TreeEnsembleRegressor",
        [INPUT],
        ["score"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_modes=(["BRANCH_LEQ"] * inner + ["LEAF"] * (nodes - inner)) * trees,
        **{name: column.tolist() for name, column in columns.items()},
    )
    graph = helper.make_graph(
        [node],
        "forest",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, FEATURES])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
