"""The tables of a skew replay as arrays: one row a call, one column a feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from features.kernels import Kernels
from features.lookup import STALE_SERVED
from features.skew import Known, Served, ViewSkew, compare_values
from features.transforms import TRANSFORM, is_computed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from features.definitions import FeatureSet, View

    Floats = NDArray[np.float64]

_US_PER_MS = 1000


def names_of(feature_set: FeatureSet, view: View) -> list[str]:
    """Return the features of a view that the set reads, in its order."""
    parts = (name.partition(".") for name in feature_set.columns)
    return [column for owner, _, column in parts if owner == view.name]


def _columns_of(feature_set: FeatureSet, view: View) -> list[int]:
    return [place for place, name in enumerate(feature_set.columns) if name.partition(".")[0] == view.name]


def _listed(calls: pa.Table, name: str) -> NDArray[Any]:
    """Return a column of lists of one length as a matrix."""
    flat = calls.column(name).combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat).reshape(calls.num_rows, -1)


def matrix_of(calls: pa.Table, feature_set: FeatureSet) -> Floats:
    """Return what the calls were served."""
    return _listed(calls, "features").astype(np.float64).reshape(-1, len(feature_set.columns))


def recomputed_of(
    feature_set: FeatureSet, views: Sequence[View], recomputed: pa.Table, known: Sequence[Known]
) -> Floats:
    """Return the rows that the calls should have been served: what is known of each view, and the transforms of it."""
    rows = _table_of(recomputed, feature_set)
    for view, one in zip(views, known, strict=True):
        rows[:, _columns_of(feature_set, view)] = one.values
    if feature_set.transforms:
        Kernels(feature_set.transforms, feature_set.columns).fill(rows)
    return rows


def _table_of(recomputed: pa.Table, feature_set: FeatureSet) -> Floats:
    columns = [recomputed.column(name).to_numpy(zero_copy_only=False) for name in feature_set.columns]
    return np.column_stack(columns).astype(np.float64)


def served_of(feature_set: FeatureSet, view: View, calls: pa.Table, place: int) -> Served:
    """Return what the calls were served of a view, which stands at a place among those of the set."""
    status = _listed(calls, "view_status")[:, place].astype(np.uint8)
    age_ms = _listed(calls, "view_age_ms")[:, place].astype(np.float64)
    lives_ms = view.ttl_us / _US_PER_MS if view.ttl_us else np.inf
    return Served(
        matrix_of(calls, feature_set)[:, _columns_of(feature_set, view)],
        status,
        age_ms,
        (status == STALE_SERVED) & (age_ms <= lives_ms),
    )


def known_of(feature_set: FeatureSet, view: View, recomputed: pa.Table, lag_us: int, served: Served) -> Known:
    """Return what a recomputation so much earlier gives of a view that knows no time to live, and should be served."""
    ages_us = recomputed.column(f"{view.name}@age_us").cast(pa.float64()).to_numpy(zero_copy_only=False) + lag_us
    status = np.array(recomputed.column(f"{view.name}@status").to_pylist())
    values = _table_of(recomputed, feature_set)[:, _columns_of(feature_set, view)]
    if view.ttl_us:
        defaults = {feature.name: feature.default for feature in view.features}
        row = [np.nan if defaults[name] is None else defaults[name] for name in names_of(feature_set, view)]
        dropped = (ages_us > view.ttl_us) & (served.status != STALE_SERVED)
        values = np.where(dropped[:, None], np.array(row, np.float64), values)
    return Known(values, status != "MISSING", ages_us / _US_PER_MS)


def transforms_compared(feature_set: FeatureSet, calls: pa.Table) -> tuple[ViewSkew, ...]:
    """Return how the transforms that were served compare with those of the operands that were; nothing without any.

    Where an operand is skewed, its view says so; here it is asked whether a transform was computed as it is declared.
    """
    if not feature_set.transforms:
        return ()
    served = matrix_of(calls, feature_set)
    computed = served.copy()
    Kernels(feature_set.transforms, feature_set.columns).fill(computed)
    columns = [column for column, name in enumerate(feature_set.columns) if is_computed(name)]
    rows = calls.num_rows
    names = [feature_set.columns[column].partition(".")[2] for column in columns]
    compared = tuple(
        compare_values(name, served[:, column], computed[:, column], 0.0)
        for name, column in zip(names, columns, strict=True)
    )
    return (ViewSkew(TRANSFORM, rows, rows, 0, 0, 0, 0, compared),)
