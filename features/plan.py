"""The plan of a feature set: everything that reading it needs, compiled once for each serving table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from features.codec import FLAG_NULLS, HEADER, bitmap_bytes, head_of, key_prefix, value_bytes, value_dtype
from features.kernels import Kernels
from features.lookup import MISSING, STALE, UNAVAILABLE
from features.transforms import transforms_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from features.definitions import BoundView, FeatureSet

REQUEST = "request"
TTL_FOREVER_US = (1 << 63) - 1
_REFUSED = {"missing": MISSING, "stale": STALE, "unavailable": UNAVAILABLE}
REFUSALS = tuple(_REFUSED)
"""What a set may refuse to be served without."""
_FLOAT_BYTES = 8

Selection = slice | Any  # a slice where the positions follow one another, else an array of them


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ViewPlan:
    """How the values of one view are found and where they go.

    Attributes
    ----------
    name
        The view.
    prefix
        What its keys begin with.
    join_keys
        What its entity is made of, in order.
    schema_id, features, size
        The layout: its number, how many features it stores, the length of a value in bytes.
    ttl_us, usable_us
        How long a value is fresh after its event time; for how long it may be used at all.
    head_plain, head_nulls
        How the first four bytes of a value without and with nulls read as a number.
    dtype, blank, values_at
        The structure of a value; one that is no value, for rows where nothing was found; where its floats begin.
    whole, picks, columns, columns_given
        Whether the set takes the stored features as they are; else which ones; into which columns of the matrix; the
        same as a set.
    defaults
        The defaults of those columns.
    """

    name: str
    prefix: str
    join_keys: tuple[str, ...]
    schema_id: int
    features: int
    size: int
    ttl_us: int
    usable_us: int
    head_plain: int
    head_nulls: int
    dtype: np.dtype[np.void]
    blank: bytes
    values_at: int
    span: tuple[int, int, int] | None
    whole: bool
    picks: Selection
    columns: Selection
    columns_given: frozenset[int]
    defaults: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFeature:
    """A feature that the caller gives: its name without `request.`, its column, its default or None."""

    name: str
    column: int
    default: float | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FeaturePlan:
    """How the features of one definition of a set are read.

    Attributes
    ----------
    name, digest
        The definition.
    feature_names
        `view.feature`, `request.feature` or `transform.name`, one a column: the model's, and behind them the
        operands of transforms.
    width
        How many columns are the model's.
    kernels
        What computes the transforms; None where there are none.
    views
        The views, in the order in which the set first names them.
    requests
        What the caller gives.
    demanding
        Whether there is a feature that the caller must give.
    join_keys, join_key_set
        What entities are looked up by, each once; the same as a set.
    defaults, default_row
        One a column; NaN where there is none. The same as the bytes of a row.
    column_of
        Where a given feature goes, by its whole name; a request feature also without `request.`. Nobody gives a
        transform.
    heads_plain, heads_nulls, ttls_us, usables_us
        `head_plain`, `head_nulls`, `ttl_us` and `usable_us` of the views.
    lasting
        Whether no view has a time to live.
    row_dtype, row_fields, row_sizes
        The structure of the values of all views one after another; the name of each view in it; the length of each.
    stale_up_to_us
        For how long past its time to live a value may be served.
    refused
        The statuses of a view with which a call is refused instead of being answered with defaults.
    """

    name: str
    digest: str
    feature_names: tuple[str, ...]
    width: int
    kernels: Kernels | None
    views: tuple[ViewPlan, ...]
    requests: tuple[RequestFeature, ...]
    demanding: bool
    join_keys: tuple[str, ...]
    join_key_set: frozenset[str]
    defaults: NDArray[np.float64]
    default_row: bytes
    column_of: Mapping[str, int]
    heads_plain: NDArray[np.uint32]
    heads_nulls: NDArray[np.uint32]
    ttls_us: NDArray[np.int64]
    usables_us: NDArray[np.int64]
    lasting: bool
    row_dtype: np.dtype[np.void]
    row_fields: tuple[str, ...]
    row_sizes: list[int]
    stale_up_to_us: int
    refused: bytes

    def lacking(self, entities: Mapping[str, str], given: Mapping[str, float]) -> list[str]:
        """Return what a call must still say: request features without a default, join keys of views not given."""
        lacking = [
            request.name
            for request in self.requests
            if request.default is None and request.name not in given and self.feature_names[request.column] not in given
        ]
        if self.join_key_set <= entities.keys():
            return lacking
        columns = given_columns(self, given)
        for view in self.views:
            if not view.columns_given <= columns:
                lacking += [key for key in view.join_keys if key not in entities and key not in lacking]
        return lacking


def given_columns(plan: FeaturePlan, given: Mapping[str, float]) -> set[int]:
    """Return the columns that a call gives; names that are no feature of the set are passed over."""
    return {plan.column_of[name] for name in given if name in plan.column_of}


def plan_document(feature_set: FeatureSet, views: Sequence[BoundView]) -> dict[str, Any]:
    """Return the plan as JSON knows it: written into the serving table, compiled by each worker.

    Parameters
    ----------
    feature_set
        The definition of the set.
    views
        Its views, each as the definition was made with, in the order in which the set first names them.
    """
    return {
        "set": feature_set.name,
        "digest": feature_set.digest,
        "features": list(feature_set.features),
        "operands": list(feature_set.operands),
        "transforms": [transform.document() for transform in feature_set.transforms],
        "requests": [{"name": request.name, "default": request.default} for request in feature_set.requests],
        "stale_up_to_us": feature_set.stale_up_to_us,
        "refuse": list(feature_set.refuse),
        "views": [
            {
                "name": bound.view.name,
                "digest": bound.view.digest,
                "schema_id": bound.schema_id,
                "join_keys": list(bound.view.join_keys),
                "ttl_us": bound.view.ttl_us,
                "features": [feature.name for feature in bound.view.features],
                "defaults": [feature.default for feature in bound.view.features],
            }
            for bound in views
        ],
    }


def compile_plan(document: Mapping[str, Any]) -> FeaturePlan:
    """Return the plan that a document of `plan_document` describes."""
    names: tuple[str, ...] = (*document["features"], *document.get("operands", ()))
    transforms = transforms_of(document.get("transforms", ()))
    computed = {transform.column for transform in transforms}
    stale_up_to_us: int = document.get("stale_up_to_us", 0)
    views = tuple(_view_plan(view, names, stale_up_to_us) for view in document["views"])
    declared = {request["name"]: request["default"] for request in document["requests"]}
    requests = tuple(
        RequestFeature(name=name.partition(".")[2], column=column, default=declared.get(name.partition(".")[2]))
        for column, name in enumerate(names)
        if name.startswith(REQUEST + ".")
    )
    defaults = np.full(len(names), math.nan)
    for request in requests:
        defaults[request.column] = math.nan if request.default is None else request.default
    for view in views:
        defaults[view.columns] = view.defaults
    defaults.flags.writeable = False
    return FeaturePlan(
        name=document["set"],
        digest=document["digest"],
        feature_names=names,
        width=len(document["features"]),
        kernels=Kernels(transforms, names) if transforms else None,
        views=views,
        requests=requests,
        demanding=any(request.default is None for request in requests),
        join_keys=tuple(dict.fromkeys(key for view in views for key in view.join_keys)),
        join_key_set=frozenset(key for view in views for key in view.join_keys),
        defaults=defaults,
        default_row=defaults.astype("<f8").tobytes(),
        column_of={name: column for column, name in enumerate(names) if name not in computed}
        | {request.name: request.column for request in requests},
        heads_plain=np.array([view.head_plain for view in views], dtype=np.uint32),
        heads_nulls=np.array([view.head_nulls for view in views], dtype=np.uint32),
        ttls_us=np.array([view.ttl_us for view in views], dtype=np.int64),
        usables_us=np.array([view.usable_us for view in views], dtype=np.int64),
        lasting=all(view.ttl_us == TTL_FOREVER_US for view in views),
        row_dtype=np.dtype([(view.name, view.dtype) for view in views]),
        row_fields=tuple(view.name for view in views),
        row_sizes=[view.size for view in views],
        stale_up_to_us=stale_up_to_us,
        refused=bytes(_REFUSED[said] for said in document.get("refuse", ())),
    )


def _view_plan(view: Mapping[str, Any], names: tuple[str, ...], stale_up_to_us: int) -> ViewPlan:
    stored: list[str] = view["features"]
    columns = [column for column, name in enumerate(names) if name.partition(".")[0] == view["name"]]
    picks = [stored.index(names[column].partition(".")[2]) for column in columns]
    defaults = [math.nan if view["defaults"][pick] is None else view["defaults"][pick] for pick in picks]
    size = value_bytes(len(stored))
    values_at = HEADER.size + bitmap_bytes(len(stored))
    return ViewPlan(
        name=view["name"],
        prefix=key_prefix(view["name"], view["schema_id"]),
        join_keys=tuple(view["join_keys"]),
        schema_id=view["schema_id"],
        features=len(stored),
        size=size,
        ttl_us=view["ttl_us"] or TTL_FOREVER_US,
        usable_us=min(view["ttl_us"] + stale_up_to_us, TTL_FOREVER_US) if view["ttl_us"] else TTL_FOREVER_US,
        head_plain=head_of(view["schema_id"], 0),
        head_nulls=head_of(view["schema_id"], FLAG_NULLS),
        dtype=value_dtype(len(stored)),
        blank=bytes(size),
        values_at=values_at,
        span=_span(picks, columns, values_at),
        whole=picks == list(range(len(stored))),
        picks=_selection(picks),
        columns=_selection(columns),
        columns_given=frozenset(columns),
        defaults=np.array(defaults, dtype=np.float64),
    )


def _span(picks: list[int], columns: list[int], values_at: int) -> tuple[int, int, int] | None:
    """Return where the picked floats are in a value and go in a row, in bytes, where both follow one another."""
    count = len(picks)
    if picks != list(range(picks[0], picks[0] + count)) or columns != list(range(columns[0], columns[0] + count)):
        return None
    start = values_at + _FLOAT_BYTES * picks[0]
    return start, start + _FLOAT_BYTES * count, _FLOAT_BYTES * columns[0]


def _selection(positions: list[int]) -> Selection:
    """Return the positions as a slice where they follow one another: numpy copies slices several times as fast."""
    if positions == list(range(positions[0], positions[0] + len(positions))):
        return slice(positions[0], positions[0] + len(positions))
    return np.array(positions, dtype=np.intp)
