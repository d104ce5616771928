"""The training table, as the gateway gives it: each label row with the features as they were known then."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa

from features.transforms import Transform, is_computed
from trainer.errors import TrainingTableError
from turnout import resources
from turnout.features.v1 import feature_service_pb2 as features_pb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from turnout.control import Control

_PAGE_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Raw:
    """What the transforms of a table's set were computed of.

    Attributes
    ----------
    columns, rows
        What is given and stored; float64 [n, columns].
    transforms
        What was computed of them.
    definition
        The digest of the set's definition without its transforms.
    """

    columns: tuple[str, ...]
    rows: NDArray[np.float64]
    transforms: tuple[Transform, ...]
    definition: str


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
    definition
        The digest of the set's definition that it was made of; empty when that is not known.
    raw
        What the set's transforms were computed of; None where it has none.
    """

    feature_set: str
    feature_names: tuple[str, ...]
    rows: NDArray[np.float64]
    labels: NDArray[np.float64]
    event_time_us: NDArray[np.int64]
    fingerprint: str
    definition: str = ""
    raw: Raw | None = None


def fetch(
    control: Control, feature_set: str, *, label_sql: str, start_us: int | None = None, end_us: int | None = None
) -> TrainingTable:
    """Return the point-in-time training table that the gateway makes for the label rows, or raise TrainingTableError.

    Parameters
    ----------
    control
        The gateway.
    feature_set
        The feature set's id.
    label_sql
        SQL over the declared sources: the join keys, ``event_time``, ``label`` and the request features.
    start_us, end_us
        Only label rows from the one to before the other, in microseconds since the Unix epoch.

    Raises
    ------
    turnout.errors.TurnoutError
        The gateway refused it.
    """
    content, definition, fingerprint = download(
        control, feature_set, label_sql=label_sql, start_us=start_us, end_us=end_us
    )
    table = training_table(content, feature_set=feature_set, feature_names=definition.features, fingerprint=fingerprint)
    return replace(table, definition=definition.digest, raw=_raw(definition, content))


def download(
    control: Control, feature_set: str, *, label_sql: str, start_us: int | None = None, end_us: int | None = None
) -> tuple[pa.Table, features_pb.FeatureSet, str]:
    """Return the table with all its columns, the set's definition and the fingerprint; raises as `fetch` does."""
    with downloaded(control, feature_set, label_sql=label_sql, start_us=start_us, end_us=end_us) as found:
        reader, definition, fingerprint = found
        return reader.read_all(), definition, fingerprint


@contextlib.contextmanager
def downloaded(
    control: Control, feature_set: str, *, label_sql: str, start_us: int | None = None, end_us: int | None = None
) -> Iterator[tuple[pa.RecordBatchReader, features_pb.FeatureSet, str]]:
    """Give the table as a stream from the disk, the set's definition and the fingerprint; raises as `fetch` does."""
    request = features_pb.GetTrainingDataRequest(
        feature_set=resources.set_name(feature_set), label_sql=label_sql, start_us=start_us, end_us=end_us
    )
    definition = _definition(control, feature_set)
    with tempfile.TemporaryFile() as stream:
        fingerprint = control.download_training_data(request, stream)
        stream.seek(0)
        with pa.ipc.open_stream(stream) as reader:
            yield reader, definition, fingerprint


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
    times = _column(content, "event_time").cast(pa.timestamp("us")).cast(pa.int64())
    return TrainingTable(
        feature_set=feature_set,
        feature_names=tuple(feature_names),
        rows=numbers_in(content, feature_names),
        labels=_numbers(_column(content, "label")),
        event_time_us=cast("NDArray[np.int64]", times.to_numpy()),
        fingerprint=fingerprint,
    )


def numbers_in(content: pa.Table, names: Sequence[str]) -> NDArray[np.float64]:
    """Return features of a table, float64 [n, names], or raise TrainingTableError when a column is missing."""
    return np.column_stack([_numbers(_column(content, name, name.removeprefix("request."))) for name in names])


def _definition(control: Control, feature_set: str) -> features_pb.FeatureSet:
    """Return a set's current definition, or raise TrainingTableError when there is no such set."""
    request = features_pb.ListFeatureSetsRequest(page_size=_PAGE_ROWS)
    while True:
        page = control.features.ListFeatureSets(request)
        for one in page.feature_sets:
            if one.name == resources.set_name(feature_set):
                return one
        if not page.next_page_token:
            raise TrainingTableError(f"there is no feature set {feature_set}", feature_set=feature_set)
        request.page_token = page.next_page_token


def _raw(definition: features_pb.FeatureSet, content: pa.Table) -> Raw | None:
    """Return the columns that the set's transforms were computed of."""
    if not definition.transforms:
        return None
    columns = tuple(name for name in (*definition.features, *definition.operands) if not is_computed(name))
    return Raw(
        columns,
        np.column_stack([_numbers(_column(content, name)) for name in columns]),
        tuple(Transform(name=one.name, expression=one.expression, type=one.type) for one in definition.transforms),
        definition.raw_digest,
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
