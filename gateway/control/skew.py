"""Skew replay: what predictions were served, against the point-in-time recomputation of the same calls.

No transaction is open and no lock is held while data is read: what a query needs to know is taken from the database
first.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features import records
from features.definitions import Source
from features.offline import OfflineLimits
from features.plan import REQUEST
from features.schedule import ttl_us_of
from features.skew import ViewSkew, compare_view
from features.sql import quoted
from features.training import training_table
from gateway.control.skew_rows import known_of, matrix_of, names_of, recomputed_of, served_of, transforms_compared
from registry.errors import FieldInvalidError
from registry.probe import Probe
from registry.versions import get_version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from features.definitions import FeatureSet, View
    from gateway.control.trial import Trial
    from gateway.journal.log import EventLog
    from registry.artifacts import ArtifactStore
    from registry.records import Version
    from storage.database import Database

    Floats = NDArray[np.float64]
    Changes = tuple[Sequence[dict[str, Any]], str]

ROWS_MAX = 100_000
ROWS_DEFAULT = 10_000
TOLERANCE_DEFAULT = 1e-6
LAG_DEFAULT_US = 86_400_000_000
_LAG_REFRESHES = 2
_TABLE = "turnout_replayed"
_ROW = "replayed_row"
_OWN_COLUMNS = 4


@dataclass(frozen=True, slots=True)
class Window:
    """Which predictions are replayed: event times from the one to before the other, the newest `rows_max` of them."""

    start_us: int | None = None
    end_us: int | None = None
    rows_max: int = ROWS_DEFAULT


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay found.

    Attributes
    ----------
    calls
        How many predictions were replayed.
    views
        How each view compares, in the order of the set.
    outputs, outputs_reason
        How the version answers what was served and what was recomputed, by output; or why that is not known.
    """

    calls: int
    views: tuple[ViewSkew, ...]
    outputs: Sequence[dict[str, Any]]
    outputs_reason: str

    @property
    def findings(self) -> tuple[str, ...]:
        """Return what is wrong, a sentence each."""
        return tuple(sentence for view in self.views for sentence in view.findings)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a replay needs of the database."""

    version: Version
    feature_set: FeatureSet
    views: list[View]
    sources: list[Source]


class SkewReplay:
    """Replays the features of predictions.

    Parameters
    ----------
    database, artifacts, events
        Where definitions, bytes and predictions are.
    trial
        What runs graphs, away from the control plane.
    limits
        What a query over the offline store may use.
    """

    def __init__(
        self,
        *,
        database: Database,
        artifacts: ArtifactStore,
        events: EventLog,
        trial: Trial,
        limits: OfflineLimits | None = None,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._events = events
        self._trial = trial
        self._limits = limits or OfflineLimits()

    def replay(
        self,
        model: str,
        number: int,
        *,
        window: Window | None = None,
        lag_us: int | None = None,
        tolerance: float = TOLERANCE_DEFAULT,
        outputs: bool = True,
    ) -> Replayed:
        """Return how the features of the model's predictions compare that were read by this version's definition.

        Parameters
        ----------
        window
            Which predictions.
        lag_us
            How far the online store may stand behind; None: twice a view's refresh interval, a day where it has none.
        tolerance
            The relative difference up to which values are equal.
        outputs
            Whether the version is run on both.

        Raises
        ------
        VersionMissingError, FieldInvalidError
            There is no such version, or it reads no features.
        FeatureSqlInvalidError, SourceUnreadableError, OfflineQueryError
            The sources cannot be read.
        """
        window = window or Window()
        with self._database.read() as tx:
            asked = _asked(tx, model, number)
        with tempfile.TemporaryDirectory(prefix="turnout-skew-", dir=self._limits.scratch) as folder:
            calls = self._calls(asked, window)
            if not calls.num_rows:
                return Replayed(0, (), (), "no prediction was made with these features in that time")
            lags = [_lag_of(view) if lag_us is None else lag_us for view in asked.views]
            passes = {lag: self._recomputed(asked, calls, Path(folder), lag) for lag in {0, *lags}}
            feature_set = asked.feature_set
            served = [served_of(feature_set, view, calls, place) for place, view in enumerate(asked.views)]
            now = [known_of(feature_set, view, passes[0], 0, served[at]) for at, view in enumerate(asked.views)]
            views = tuple(
                compare_view(
                    view.name,
                    names_of(feature_set, view),
                    served[place],
                    now[place],
                    known_of(feature_set, view, passes[lag], lag, served[place]),
                    tolerance=tolerance,
                )
                for place, (view, lag) in enumerate(zip(asked.views, lags, strict=True))
            )
            views += transforms_compared(feature_set, calls)
            found: Changes = ((), "not asked for")
            if outputs:
                rows = recomputed_of(feature_set, asked.views, passes[0], now)
                found = self._outputs(asked, matrix_of(calls, feature_set), rows, Path(folder))
        return Replayed(calls.num_rows, views, *found)

    def judge(self, model: str, number: int) -> tuple[int, Sequence[str]]:
        """Return how many calls were replayed for a version's gate, and what was wrong with them."""
        found = self.replay(model, number, outputs=False)
        return found.calls, found.findings

    def _calls(self, asked: _Asked, window: Window) -> pa.Table:
        """Return the answered predictions that were made with this definition of the set, oldest first."""
        keys = list(dict.fromkeys(key for view in asked.views for key in view.join_keys))
        columns = "".join(f", map_extract_value(entities, ?) AS {quoted(key)}" for key in keys)
        sql = (
            f"SELECT event_time_us, features, view_status, view_age_ms{columns} FROM predictions "
            "WHERE model = ? AND feature_set = ? AND status = 0 AND len(features) = ? "
            "AND event_time_us >= ? AND event_time_us < ? ORDER BY time_us DESC LIMIT ?"
        )
        bound = f"{asked.feature_set.name}@{asked.feature_set.digest}"
        given: list[object] = [*keys, asked.version.model, bound, len(asked.feature_set.columns)]
        given += [window.start_us or -(2**62), window.end_us or 2**62]
        with self._events.snapshot() as connection:
            table: pa.Table = connection.execute(sql, [*given, min(window.rows_max, ROWS_MAX)]).to_arrow_table()
        return table.sort_by("event_time_us")

    def _recomputed(self, asked: _Asked, calls: pa.Table, folder: Path, lag_us: int) -> pa.Table:
        """Return what a training table with its marks gives for the calls, so much earlier; one row a call.

        Its views know no time to live: whether a row was too old is asked of the call that was served it.
        """
        columns = {name: calls.column(name) for name in calls.column_names[_OWN_COLUMNS:]}
        served = matrix_of(calls, asked.feature_set)
        for place, name in enumerate(asked.feature_set.columns):
            view, _, column = name.partition(".")
            if view == REQUEST:
                columns[column] = pa.array(served[:, place])
        times = pa.array(calls.column("event_time_us").to_numpy() - lag_us, pa.timestamp("us"))
        labels = pa.nulls(calls.num_rows, pa.float64())
        columns |= {"event_time": times, "label": labels, _ROW: pa.array(np.arange(calls.num_rows))}
        path = folder / f"calls-{lag_us}.parquet"
        pq.write_table(pa.table(columns), path)
        table = training_table(
            asked.feature_set,
            [replace(view, ttl_us=0) for view in asked.views],
            sources=[*asked.sources, Source(name=_TABLE, kind="parquet", path=str(path))],
            label_sql=f"SELECT * FROM {_TABLE}",
            start_us=None,
            end_us=None,
            limits=self._limits,
            marks=True,
        )
        with table as batches:
            return batches.read_all().sort_by(_ROW)

    def _outputs(self, asked: _Asked, served: Floats, recomputed: Floats, folder: Path) -> Changes:
        """Return how the version's answers to both differ, by output, or why that is not known."""
        version = asked.version
        spec = next(port for port in version.signature.inputs if port.name == version.feature_input)
        paths = []
        for name, rows in (("served", served), ("recomputed", recomputed)):
            paths.append(folder / f"{name}.npz")
            taken = rows[:, : len(asked.feature_set.features)]
            paths[-1].write_bytes(Probe({spec.name: taken.astype(spec.dtype)}, {}).encode())
        return self._trial.change(self._artifacts.verify(version.artifact_sha256), *paths)


def _asked(tx: Connection, model: str, number: int) -> _Asked:
    version = get_version(tx, model, number)
    if not version.feature_set:
        raise FieldInvalidError(f"version {number} of {model!r} reads no features", field="name")
    feature_set = records.get_set(tx, version.feature_set, version.feature_set_digest)
    return _Asked(
        version=version,
        feature_set=feature_set,
        views=[bound.view for bound in records.views_of_set(tx, feature_set)],
        sources=records.list_sources(tx),
    )


def _lag_of(view: View) -> int:
    """Return how far a view may stand behind in the online store, unless something else is asked for."""
    interval_us = ttl_us_of(view.refresh)
    return _LAG_REFRESHES * interval_us if interval_us else LAG_DEFAULT_US
