"""The features of one call as they were known at an earlier time: a training table of one row."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.definitions import Source
from features.lookup import AGE_NONE_MS, MISSING, NULL, PRESENT, STALE, FeatureMatrix
from features.plan import REQUEST
from features.training import training_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from features.definitions import FeatureSet, View
    from features.offline import OfflineLimits

_TABLE = "turnout_asked"
_STATUSES = {"PRESENT": PRESENT, "NULL": NULL, "MISSING": MISSING, "STALE": STALE}
_US_PER_MS = 1000


def read_as_of(
    feature_set: FeatureSet,
    views: Sequence[View],
    *,
    sources: Sequence[Source],
    entities: Mapping[str, str],
    as_of_us: int,
    limits: OfflineLimits,
) -> FeatureMatrix:
    """Return what a prediction would have got, had the store been materialized up to that very moment.

    A view whose join key is not among the entities is MISSING, as it is online.

    Raises
    ------
    FeatureSqlInvalidError, SourceUnreadableError, OfflineQueryError
        The sources cannot be read.
    """
    keys = dict.fromkeys(key for view in views for key in view.join_keys)
    requests = [name.partition(".")[2] for name in feature_set.columns if name.startswith(REQUEST + ".")]
    columns = {key: pa.array([entities.get(key)], pa.string()) for key in keys}
    columns |= {name: pa.array([None], pa.float64()) for name in requests}
    columns |= {"event_time": pa.array([as_of_us], pa.timestamp("us")), "label": pa.array([None], pa.float64())}
    with tempfile.TemporaryDirectory(prefix="turnout-asked-", dir=limits.scratch) as folder:
        path = Path(folder) / "asked.parquet"
        pq.write_table(pa.table(columns), path)
        table = training_table(
            feature_set,
            views,
            sources=[*sources, Source(name=_TABLE, kind="parquet", path=str(path))],
            label_sql=f"SELECT * FROM {_TABLE}",
            start_us=None,
            end_us=None,
            limits=limits,
            marks=True,
        )
        with table as batches:
            [row] = batches.read_all().to_pylist()
    ages = [row[f"{view.name}@age_us"] for view in views]
    return FeatureMatrix(
        np.array([[row[name] for name in feature_set.columns]], np.float64),
        bytearray(_STATUSES[row[f"{view.name}@status"]] for view in views),
        [AGE_NONE_MS if age is None else age // _US_PER_MS for age in ages],
    )
