"""Profiles on the control plane: of a view's values, online and offline, and of what a version was served.

No transaction is open and no lock is held while data is read.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from features import lookup, records
from features.codec import CODEC_FLOAT64, FLAG_NULLS, key_prefix, value_bytes, value_dtype
from features.offline import OfflineLimits, open_offline
from features.profile import Profile, ProfileBuilder
from features.view_rows import view_rows
from registry.errors import FieldInvalidError
from registry.versions import get_version

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from features.definitions import BoundView, FeatureSet
    from features.store import OnlineStore
    from gateway.journal.log import EventLog
    from registry.records import Version
    from storage.database import Database

_ROWS_AT_ONCE = 65_536
_FIRST_US, _LAST_US = -(2**62), 2**62
_STATUSES = {
    getattr(lookup, name): name
    for name in ("PRESENT", "MISSING", "STALE", "UNAVAILABLE", "GIVEN", "NULL", "STALE_SERVED")
}


@dataclass(frozen=True, slots=True)
class Span:
    """Event times from the one to before the other, in microseconds since the Unix epoch; None: no bound."""

    start_us: int | None = None
    end_us: int | None = None

    def bounds(self) -> tuple[int, int]:
        """Return the two as numbers."""
        return (
            _FIRST_US if self.start_us is None else self.start_us,
            _LAST_US if self.end_us is None else self.end_us,
        )


class Profiling:
    """Makes profiles.

    Parameters
    ----------
    database, store, events
        Where definitions, online values and predictions are.
    limits
        What a query over the offline store may use.
    """

    def __init__(
        self, *, database: Database, store: OnlineStore, events: EventLog, limits: OfflineLimits | None = None
    ) -> None:
        self._database = database
        self._store = store
        self._events = events
        self._limits = limits or OfflineLimits()

    def online(self, view: str, span: Span) -> Profile:
        """Return the profile of a view's values in the online store, or raise ViewMissingError."""
        with self._database.read() as tx:
            bound = records.get_view(tx, view)
        builder = ProfileBuilder("online", _names(bound))
        first_us, last_us = span.bounds()
        for times, rows in _stored(self._store, bound):
            kept = (times >= first_us) & (times < last_us)
            builder.add(rows[kept], event_time_us=times[kept])
        return builder.profile()

    def offline(self, view: str, span: Span) -> Profile:
        """Return the profile of the rows that a view gives over its sources.

        Raises
        ------
        ViewMissingError, FeatureSqlInvalidError, SourceUnreadableError, OfflineQueryError
            There is no such view, or it cannot be read.
        """
        with self._database.read() as tx:
            bound = records.get_view(tx, view)
            sources = records.list_sources(tx)
        builder = ProfileBuilder("offline", _names(bound))
        with open_offline(sources, self._limits) as store:
            since_us = None if span.start_us is None else span.start_us - 1
            until_us = None if span.end_us is None else span.end_us - 1
            sql, parameters = view_rows(store, bound.view, since_us=since_us, until_us=until_us)
            columns = ", ".join(f"f{place}" for place in range(len(bound.view.features)))
            for batch in store.stream(f"SELECT event_us, {columns} FROM ({sql}) WHERE NOT deleted", parameters):
                times, *values = (batch.column(place) for place in range(batch.num_columns))
                builder.add(np.column_stack([_floats(column) for column in values]), event_time_us=times.to_numpy())
        return builder.profile()

    def serving(self, model: str, number: int, span: Span) -> Profile:
        """Return the profile of what a version was served and answered, failed calls left out.

        Raises
        ------
        VersionMissingError, FieldInvalidError
            There is no such version, or it reads no features.
        """
        with self._database.read() as tx:
            version = get_version(tx, model, number)
            if not version.feature_set:
                raise FieldInvalidError(f"version {number} of {model!r} reads no features", field="name")
            feature_set = records.get_set(tx, version.feature_set, version.feature_set_digest)
            views = [bound.view.name for bound in records.views_of_set(tx, feature_set)]
        outputs = [port.name for port in version.signature.outputs if port.dtype in {"float32", "float64"}]
        names = [*feature_set.columns, *(f"output:{name}" for name in outputs)]
        builder = ProfileBuilder("serving", names)
        for batch in self._served(version, feature_set, outputs, span):
            rows = np.column_stack(
                [
                    _listed(batch.column("features"), len(feature_set.columns)),
                    *(_floats(batch.column(f"output{place}")) for place in range(len(outputs))),
                ]
            )
            status = _listed(batch.column("view_status"), len(views)).astype(np.int64)
            builder.add(
                rows,
                event_time_us=batch.column("event_time_us").to_numpy(),
                statuses={view: _counted(status[:, place]) for place, view in enumerate(views)},
            )
        return builder.profile()

    def training(self, model: str, number: int) -> Profile:
        """Return the profile that was published with a version.

        Raises
        ------
        VersionMissingError, FieldInvalidError
            There is no such version, or it has none.
        """
        with self._database.read() as tx:
            document = get_version(tx, model, number).facts.profile
        if not document:
            raise FieldInvalidError(f"version {number} of {model!r} was published without a profile", field="name")
        return Profile.from_document(document)

    def _served(
        self, version: Version, feature_set: FeatureSet, outputs: list[str], span: Span
    ) -> Iterator[pa.RecordBatch]:
        """Yield what the version was served."""
        columns = "".join(
            f", coalesce(outputs[?][-1], 'NaN'::DOUBLE) AS output{place}" for place in range(len(outputs))
        )
        sql = (
            f"SELECT event_time_us, features, view_status{columns} FROM predictions "
            "WHERE model = ? AND version = ? AND feature_set = ? AND status = 0 AND len(features) = ? "
            "AND event_time_us >= ? AND event_time_us < ?"
        )
        bound = f"{feature_set.name}@{feature_set.digest}"
        given = [*outputs, version.model, version.number, bound, len(feature_set.columns), *span.bounds()]
        with self._events.snapshot() as connection:
            batches: pa.RecordBatchReader = connection.execute(sql, given).to_arrow_reader(_ROWS_AT_ONCE)
            yield from batches


def _names(bound: BoundView) -> list[str]:
    return [f"{bound.view.name}.{feature.name}" for feature in bound.view.features]


def _stored(store: OnlineStore, bound: BoundView) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield the event times and the values of a view in the online store, many at once."""
    prefix = key_prefix(bound.view.name, bound.schema_id).encode()
    features = len(bound.view.features)
    size, held = value_bytes(features), bytearray()
    for key, blob in store.scan():
        if key.startswith(prefix) and len(blob) == size and blob[2] == CODEC_FLOAT64:
            held += blob
        if len(held) >= _ROWS_AT_ONCE * size:
            yield _decoded(held, features)
            held = bytearray()
    if held:
        yield _decoded(held, features)


def _decoded(held: bytearray, features: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    table = np.frombuffer(bytes(held), value_dtype(features))
    nulls = np.unpackbits(table["nulls"], axis=1, bitorder="little", count=features).astype(bool)
    has_nulls = (table["head"] >> 24 & FLAG_NULLS).astype(bool)
    return table["event_us"], np.where(nulls & has_nulls[:, None], np.nan, table["values"])


def _floats(column: Any) -> NDArray[np.float64]:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)


def _listed(column: Any, width: int) -> NDArray[Any]:
    """Return a column of lists of one length as a matrix."""
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False)).reshape(len(column), width)


def _counted(status: NDArray[np.int64]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for number, calls in zip(*np.unique(status, return_counts=True), strict=True):
        counts[_STATUSES.get(int(number), str(number))] += int(calls)
    return dict(counts)
