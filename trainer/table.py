"""The training table, as the gateway gives it: each label row with the features as they were known then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa

from trainer.errors import TrainingTableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TrainingTable:
    """Rows to learn from.

    Attributes
    ----------
    feature_set
        The feature set's id.
    feature_names
        The columns of ``rows``, in the order of the set.
    rows
        The features, float64 [n, features].
    labels
        The labels, float64 [n].
    event_time_us
        The moment that each row is a prediction for, int64 [n], microseconds since the Unix epoch.
    fingerprint
        Of the whole table, whatever its order.
    """

    feature_set: str
    feature_names: tuple[str, ...]
    rows: NDArray[np.float64]
    labels: NDArray[np.float64]
    event_time_us: NDArray[np.int64]
    fingerprint: str


def training_table(
    content: pa.Table, *, feature_set: str, feature_names: Sequence[str], fingerprint: str
) -> TrainingTable:
    """Return the table as arrays, or raise TrainingTableError when it is empty or a column is missing.

    Parameters
    ----------
    content
        Columns named as the features are, ``event_time`` and ``label``. A request feature ``request.hour`` may be a
        column ``hour``.
    feature_set
        The feature set's id.
    feature_names
        The features of the set, in order.
    fingerprint
        The fingerprint of the table.
    """
    if not content.num_rows:
        raise TrainingTableError("the training table has no rows", feature_set=feature_set)
    columns = [_column(content, name, name.removeprefix("request.")) for name in feature_names]
    times = _column(content, "event_time").cast(pa.timestamp("us")).cast(pa.int64())
    return TrainingTable(
        feature_set=feature_set,
        feature_names=tuple(feature_names),
        rows=np.column_stack([_numbers(column) for column in columns]),
        labels=_numbers(_column(content, "label")),
        event_time_us=cast("NDArray[np.int64]", times.to_numpy()),
        fingerprint=fingerprint,
    )


def _column(content: pa.Table, *names: str) -> pa.ChunkedArray:
    """Return the first column that is there, or raise TrainingTableError."""
    for name in names:
        if name in content.column_names:
            return content.column(name)
    raise TrainingTableError(f"the training table lacks the column {names[0]}", column=names[0])


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return the column as float64; what is missing is NaN."""
    return cast("NDArray[np.float64]", column.cast(pa.float64()).to_numpy())
