"""Single values that somebody pushes into the online store, beside those that are materialized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from features.codec import encode_tombstone, encode_values, entity_key, joined, key_prefix
from features.errors import FeatureRowInvalidError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from features.definitions import BoundView, View
    from features.store import OnlineStore

ROWS_MAX = 10_000
AHEAD_US_MAX = 300_000_000
_TIME_US_MAX = 1 << 53  # what Redis' script compares exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is known of one entity.

    Attributes
    ----------
    entities
        Join key to value.
    values
        Feature to value; one that is not named is null.
    event_us
        When it became true; None: now.
    deleted
        Whether there is no value any more.
    """

    entities: Mapping[str, str]
    values: Mapping[str, float]
    event_us: int | None = None
    deleted: bool = False


def check_rows(view: View, rows: Sequence[Row], now_us: int) -> None:
    """Raise FeatureRowInvalidError unless each row is one of the view, of a time that has come."""
    names = {feature.name for feature in view.features}
    if len(rows) > ROWS_MAX:
        raise FeatureRowInvalidError(f"{len(rows)} rows; at most {ROWS_MAX} are written at once", view=view.name)
    for place, row in enumerate(rows):
        said = f"row {place} for view {view.name}"
        if row.entities.keys() != set(view.join_keys):
            raise FeatureRowInvalidError(f"{said}: its join keys are {', '.join(view.join_keys)}", view=view.name)
        unknown = sorted(row.values.keys() - names)
        if unknown:
            raise FeatureRowInvalidError(f"{said}: the view has no feature {unknown[0]!r}", view=view.name)
        if row.deleted and row.values:
            raise FeatureRowInvalidError(f"{said}: it is deleted and has values", view=view.name)
        if row.event_us is not None and not -_TIME_US_MAX < row.event_us <= now_us + AHEAD_US_MAX:
            raise FeatureRowInvalidError(f"{said}: its event time has not come yet", view=view.name)


def write_rows(store: OnlineStore, bound: BoundView, rows: Sequence[Row], now_us: int, *, kept_us: int = 0) -> int:
    """Write checked rows, each unless the stored value is newer; return how many changed it.

    They are kept for so long after their event times, or for ever. A layout that lacks some of the features takes those
    that it has.
    """
    names = [feature.name for feature in bound.view.features]
    values = np.array([[row.values.get(name, np.nan) for name in names] for row in rows], np.float64)
    nulls = np.array([[name not in row.values for name in names] for row in rows], np.bool_)
    times_us = [now_us if row.event_us is None else row.event_us for row in rows]
    blobs = encode_values(
        schema_id=bound.schema_id,
        event_us=np.array(times_us, np.int64),
        written_us=np.full(len(rows), now_us, np.int64),
        values=values.reshape(len(rows), len(names)),
        nulls=nulls.reshape(len(rows), len(names)),
    )
    for place, row in enumerate(rows):
        if row.deleted:
            blobs[place] = encode_tombstone(schema_id=bound.schema_id, event_us=times_us[place], written_us=now_us)
    prefix = key_prefix(bound.view.name, bound.schema_id)
    entities = [joined([row.entities[key] for key in bound.view.join_keys]) for row in rows]
    pairs = [(entity_key(prefix, entity), blob) for entity, blob in zip(entities, blobs, strict=True)]
    return store.put_many(pairs, kept_us=kept_us)
