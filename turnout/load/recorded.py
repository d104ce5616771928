"""Requests as the journal recorded them, from Parquet files of predictions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from turnout.prediction import Ask

if TYPE_CHECKING:
    from pathlib import Path

    from turnout.load.shape import Shape

_COLUMNS = ["time_us", "model", "unit_id", "entities", "attributes", "features", "feature_set"]


class NothingRecordedError(ValueError):
    """A file or a folder has no prediction that can be asked for again."""


@dataclass(slots=True)
class Recorded:
    """Requests, and how many predictions could not be asked for again: what they were made of is not in the journal."""

    bodies: list[bytes] = field(default_factory=list)
    left_out: int = 0


def read(path: Path, shape: Shape, *, rows_max: int, stored: bool = True) -> Recorded:
    """Return a model's recorded predictions as requests, in the order of their recording.

    The journal keeps the entities, the unit, the attributes and the row of features, and no tensor that a caller gave.

    Parameters
    ----------
    path
        A file that `turnout events export` wrote, or a folder of the journal's own, such as a state folder's `events`.
    shape
        What the model takes.
    rows_max
        At most so many, the first.
    stored
        Whether features are read from the online store as they are now; otherwise the recorded values are given.

    Raises
    ------
    NothingRecordedError
        There is none.
    """
    import pyarrow.compute as pc  # noqa: PLC0415  (no part of the command line's own install)
    import pyarrow.dataset as ds  # noqa: PLC0415

    files = sorted(str(each) for each in path.rglob("*.parquet")) if path.is_dir() else [str(path)]
    files = [each for each in files if not path.is_dir() or "prediction" in each.removeprefix(str(path))]
    if not files:
        raise NothingRecordedError(f"{path} has no Parquet file of predictions")
    if shape.inputs:
        raise NothingRecordedError(f"{shape.model} takes tensors, which the journal does not keep")
    source = ds.dataset(files, format="parquet", partitioning=None)
    found = source.to_table(columns=_COLUMNS, filter=pc.field("model") == shape.model)
    recorded = Recorded()
    given = shape.given(stored=stored)
    for row in found.sort_by("time_us").slice(0, rows_max).to_pylist():
        body = _body(row, shape, given)
        if body is None:
            recorded.left_out += 1
        else:
            recorded.bodies.append(body)
    if not recorded.bodies:
        raise NothingRecordedError(f"{path} has no prediction of {shape.model} that can be asked for again")
    return recorded


def _body(row: dict[str, Any], shape: Shape, given: list[tuple[str, int]]) -> bytes | None:
    features = row["features"] or []
    if given and len(features) != len(shape.columns):
        return None  # it failed before its row was made, or was answered by a version with other features
    ask = Ask(
        entities=dict(row["entities"] or ()),
        unit_id=row["unit_id"] or None,
        attributes=dict(row["attributes"] or ()),
        features={
            name: features[place]
            for name, place in given
            if features[place] is not None and not math.isnan(features[place])
        },
    )
    message = ask.message(shape.model)
    message.request_id = ""  # a request is sent many times, and each is a prediction of its own
    return message.SerializeToString()
