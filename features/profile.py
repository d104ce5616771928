"""Profiles: what a window of feature values looks like, small enough to keep, and mergeable."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from features.moments import ShapeMoments
from features.sketch import POINTS_MAX, Sketch, TopValues

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FORMAT = 1
PENDING_MAX = 32
"""How many parts are kept before they are made one: the sketches' errors grow with each time, not with each part."""
_PART_POINTS_MAX = 4_096


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """What one column looks like.

    Attributes
    ----------
    rows, nulls, infinite
        How many rows there are; in how many it is missing (NaN); in how many it is infinite.
    moments
        Of the finite values.
    sketch, top
        Of the finite values: their distribution, and the most frequent.
    """

    rows: int
    nulls: int
    infinite: int
    moments: ShapeMoments
    sketch: Sketch
    top: TopValues

    @classmethod
    def of(cls, values: Floats) -> ColumnProfile:
        """Return the profile of a column, exact but for the most frequent values."""
        finite = values[np.isfinite(values)]
        nulls = int(np.isnan(values).sum())
        return cls(
            rows=len(values),
            nulls=nulls,
            infinite=len(values) - nulls - len(finite),
            moments=ShapeMoments.of(finite),
            sketch=Sketch.of(finite),
            top=TopValues.of(finite),
        )

    @classmethod
    def merged(cls, every: Sequence[ColumnProfile]) -> ColumnProfile:
        """Return the profile of all the rows together."""
        first, *others = every
        return cls(
            rows=sum(one.rows for one in every),
            nulls=sum(one.nulls for one in every),
            infinite=sum(one.infinite for one in every),
            moments=ShapeMoments.merged(one.moments for one in every),
            sketch=first.sketch.merged(*(one.sketch for one in others)),
            top=TopValues.merged(one.top for one in every),
        )

    @property
    def null_rate(self) -> float:
        """The part of the rows in which it is missing; NaN where there is no row."""
        return self.nulls / self.rows if self.rows else float("nan")

    def document(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return {
            "rows": self.rows,
            "nulls": self.nulls,
            "infinite": self.infinite,
            "moments": self.moments.document(),
            "sketch": self.sketch.document(),
            "top": self.top.document(),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ColumnProfile:
        """Return what `document` was made of."""
        return cls(
            rows=int(document["rows"]),
            nulls=int(document["nulls"]),
            infinite=int(document["infinite"]),
            moments=ShapeMoments.from_document(document["moments"]),
            sketch=Sketch.from_document(document["sketch"]),
            top=TopValues.from_document(document["top"]),
        )


@dataclass(frozen=True, slots=True)
class Profile:
    """What a window of rows looks like.

    Attributes
    ----------
    origin
        Where the rows are from: ``training``, ``offline``, ``online`` or ``serving``.
    rows
        How many there are.
    columns
        By name, in the order of the view or set.
    start_us, end_us
        The window: the first and the last event time, in microseconds since the Unix epoch; None when not known.
    statuses
        How the lookups of each view ended: view, status, calls.
    """

    origin: str
    rows: int
    columns: Mapping[str, ColumnProfile]
    start_us: int | None = None
    end_us: int | None = None
    statuses: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def compressed(self, points_max: int = POINTS_MAX) -> Profile:
        """Return it with sketches of at most so many points."""
        columns = {
            name: replace(column, sketch=column.sketch.compressed(points_max)) for name, column in self.columns.items()
        }
        return replace(self, columns=columns)

    @classmethod
    def merged(cls, every: Sequence[Profile]) -> Profile:
        """Return the profile of all the rows together; they have the same columns and are from the same place."""
        first = every[0]
        starts = [one.start_us for one in every if one.start_us is not None]
        ends = [one.end_us for one in every if one.end_us is not None]
        return cls(
            origin=first.origin,
            rows=sum(one.rows for one in every),
            columns={name: ColumnProfile.merged([one.columns[name] for one in every]) for name in first.columns},
            start_us=min(starts, default=None),
            end_us=max(ends, default=None),
            statuses=_summed(one.statuses for one in every),
        )

    def document(self) -> dict[str, Any]:
        """Return it as JSON knows it: what is kept with a version."""
        return {
            "format": FORMAT,
            "origin": self.origin,
            "rows": self.rows,
            "start_us": self.start_us,
            "end_us": self.end_us,
            "statuses": {view: dict(sorted(calls.items())) for view, calls in self.statuses.items()},
            "columns": {name: column.document() for name, column in self.columns.items()},
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Profile:
        """Return what `document` was made of, or raise ValueError for a format that is not known."""
        if document.get("format") != FORMAT:
            raise ValueError(f"a profile of format {document.get('format')!r}; {FORMAT} is known")
        return cls(
            origin=document["origin"],
            rows=int(document["rows"]),
            columns={name: ColumnProfile.from_document(one) for name, one in document["columns"].items()},
            start_us=document["start_us"],
            end_us=document["end_us"],
            statuses=document["statuses"],
        )

    def to_json(self) -> str:
        """Return the document as text; the same profile always gives the same text."""
        return json.dumps(self.document(), separators=(",", ":"), allow_nan=False)


class ProfileBuilder:
    """Makes the profile of rows that come in parts, in bounded memory.

    Parameters
    ----------
    origin
        Where the rows are from.
    names
        The columns.
    """

    def __init__(self, origin: str, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._parts: list[Profile] = [Profile(origin, 0, {name: ColumnProfile.of(np.empty(0)) for name in self._names})]

    def add(
        self,
        rows: Floats,
        *,
        event_time_us: NDArray[np.int64] | None = None,
        statuses: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        """Take in rows: float64 [rows, columns], the time of each, and how each view's lookups ended."""
        timed = event_time_us is not None and len(event_time_us)
        part = Profile(
            origin=self._parts[0].origin,
            rows=len(rows),
            columns={name: ColumnProfile.of(rows[:, place]) for place, name in enumerate(self._names)},
            start_us=int(np.min(event_time_us)) if timed and event_time_us is not None else None,
            end_us=int(np.max(event_time_us)) if timed and event_time_us is not None else None,
            statuses=statuses or {},
        )
        self._parts.append(part.compressed(_PART_POINTS_MAX))
        if len(self._parts) > PENDING_MAX:
            self._parts = [Profile.merged(self._parts).compressed(_PART_POINTS_MAX)]

    def profile(self, points_max: int = POINTS_MAX) -> Profile:
        """Return the profile of all the rows so far."""
        return Profile.merged(self._parts).compressed(points_max)


def _summed(every: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    total: dict[str, Counter[str]] = {}
    for one in every:
        for view, calls in one.items():
            total.setdefault(view, Counter()).update(calls)
    return {view: dict(calls) for view, calls in total.items()}
