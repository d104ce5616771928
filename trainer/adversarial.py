"""Rows made to provoke a disagreement between an estimator and its graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from skl2onnx.sklapi import CastTransformer
from sklearn.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BASES_MAX = 64
_EXTREME_BASES_MAX = 8
_THRESHOLDS_MAX = 5_000
_TREES = frozenset({"TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"})
_PASSES_ON = frozenset({"Cast", "Identity"})
_LARGEST = float(np.finfo(np.float32).max)
_DENORMAL = float(np.finfo(np.float32).smallest_subnormal)


def adversarial_rows(rows: Floats, *, seed: int) -> dict[str, Floats]:
    """Return rows made to provoke a disagreement, by kind: each a real row with one column changed."""
    generator = np.random.default_rng(seed)
    chosen = generator.choice(len(rows), size=min(_BASES_MAX, len(rows)), replace=False)
    bases = rows[np.sort(chosen)]
    finite = np.where(np.isfinite(rows), rows, 0.0)
    low, high = finite.min(axis=0), finite.max(axis=0)
    single = finite.astype(np.float32)
    neighbours = np.nextafter(single[chosen], np.float32(np.inf)).astype(np.float64)
    return {
        "lowest": _replace(bases, lambda column: low[column]),
        "highest": _replace(bases, lambda column: high[column]),
        "zero": _replace(bases, lambda _: 0.0),
        "far below": _replace(bases, lambda column: low[column] - 1e3 * (high[column] - low[column] + 1)),
        "far above": _replace(bases, lambda column: high[column] + 1e3 * (high[column] - low[column] + 1)),
        "next float32": _replace(bases, lambda column: neighbours[np.argsort(chosen), column]),
        "between categories": _between(bases, rows),
        "missing": _replace(bases, lambda _: np.nan, columns=np.flatnonzero(np.isnan(rows).any(axis=0))),
        "infinite": np.concatenate([_replace(bases, lambda _: np.inf), _replace(bases[:8], lambda _: -np.inf)]),
    }


def extreme_rows(rows: Floats) -> dict[str, Floats]:
    """Return rows with the smallest and the largest that float32 holds, by kind: what computes with them overflows."""
    bases = rows[:_EXTREME_BASES_MAX]
    return {
        "denormal": _replace(bases, lambda _: _DENORMAL),
        "largest float32": _replace(bases, lambda _: _LARGEST),
        "lowest float32": _replace(bases, lambda _: -_LARGEST),
    }


def threshold_rows(estimator: Any, content: bytes, rows: Floats, *, seed: int) -> tuple[Floats, str]:
    """Return rows next to every split of the trees of a graph, and why there are none; empty where there are.

    Each threshold, or of more than 5 000 as many spread evenly, gives four rows: a real one with the split's column at
    the value, at the float32 below and above it, and at the float64 below it. Behind transformers the value is taken
    back through their inverse.

    Parameters
    ----------
    estimator
        The estimator; its transformers are asked for their inverse.
    content
        Its graph, which holds the thresholds.
    rows
        Real rows [n, features].
    seed
        Of the choice of real rows.
    """
    splits, behind = _splits(content)
    if not len(splits):
        return rows[:0], "the graph has no trees"
    splits = splits[np.unique(np.linspace(0, len(splits) - 1, min(len(splits), _THRESHOLDS_MAX)).astype(np.int64))]
    column, value = splits[:, 0].astype(np.int64), splits[:, 1]
    bases = rows[np.random.default_rng(seed).integers(0, len(rows), len(splits))]
    if behind:
        if not isinstance(estimator, Pipeline):
            return rows[:0], "what stands before the trees is not known"
        # Rounding has no inverse, and needs none.
        head = Pipeline([each for each in estimator.steps[:-1] if not isinstance(each[1], CastTransformer)])
        try:
            moved = np.asarray(head.transform(bases), np.float64)
            moved[np.arange(len(moved)), column] = value
            back = np.asarray(head.inverse_transform(moved), np.float64)
        except (AttributeError, ValueError, TypeError, IndexError):
            return rows[:0], "the transformers before the trees have no inverse"
        if back.shape != bases.shape:
            return rows[:0], "the transformers before the trees have no inverse"
        value = back[np.arange(len(back)), column]
    made = np.repeat(bases[np.newaxis], 4, axis=0)
    with np.errstate(over="ignore"):
        single = value.astype(np.float32)
    at = (single, np.nextafter(single, np.float32(-np.inf)), np.nextafter(single, np.float32(np.inf)))
    for copy, values in zip(made, (*at, np.nextafter(value, -np.inf)), strict=True):
        copy[np.arange(len(value)), column] = values
    return made.reshape(-1, rows.shape[1]), ""


def _splits(content: bytes) -> tuple[Floats, bool]:
    """Return the different splits of a graph's trees, column and threshold [n, 2], and whether nodes stand before."""
    model = onnx.load_model_from_string(content)
    raw = {port.name for port in model.graph.input}
    for node in model.graph.node:
        if node.op_type in _PASSES_ON and node.input[0] in raw:
            raw.add(node.output[0])
    found, behind = [], False
    for node in model.graph.node:
        if node.op_type not in _TREES:
            continue
        said = {each.name: each for each in node.attribute}
        if not {"nodes_values", "nodes_featureids", "nodes_modes"} <= said.keys():
            continue
        values = said["nodes_values"].floats
        behind = behind or node.input[0] not in raw
        split = np.array([mode != b"LEAF" for mode in said["nodes_modes"].strings])
        found.append(np.column_stack([said["nodes_featureids"].ints, values])[split])
    joined = np.concatenate(found) if found else np.empty((0, 2))
    return np.unique(joined[np.isfinite(joined).all(axis=1)], axis=0), behind


def _between(bases: Floats, rows: Floats) -> Floats:
    """Return rows with values between and beyond those of columns of few whole values: categories never seen."""
    few = 50
    columns = []
    for column in range(rows.shape[1]):
        kinds = np.unique(rows[np.isfinite(rows[:, column]), column])
        if 1 < len(kinds) <= few and np.equal(kinds, kinds.round()).all():
            columns.append(column)
    if not columns:
        return rows[:0]
    chosen = np.array(columns)
    last = np.nanmax(np.where(np.isfinite(rows), rows, np.nan)[:, chosen], axis=0)
    beyond = dict(zip(columns, last + 1, strict=True))
    return np.concatenate(
        [
            _replace(bases, lambda column: beyond[column], columns=chosen),
            _replace(bases, lambda column: beyond[column] - 1.5, columns=chosen),
        ]
    )


def _replace(
    bases: Floats,
    value: Callable[[int], float | Floats],
    *,
    columns: NDArray[np.int64] | None = None,
) -> Floats:
    """Return the rows once for each of the columns (all, unless named), with that column changed."""
    chosen = range(bases.shape[1]) if columns is None else columns.tolist()
    made = np.repeat(bases[np.newaxis], len(chosen), axis=0)
    for index, column in enumerate(chosen):
        made[index, :, column] = value(column)
    return made.reshape(-1, bases.shape[1])
