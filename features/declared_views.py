"""A view as a definition file declares it, understood."""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from features.code_folder import REFERENCE
from features.declared import COLUMN, FEATURES_MAX, named, require, tags_of
from features.definitions import FEATURE_TYPES, Feature, View, code_table, trimmed_sql
from features.plan import REQUEST
from features.schedule import refresh_is_valid, ttl_us_of
from features.transforms import TRANSFORM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from features.declared import ViewText

_RESERVED = frozenset({"event_time", "created_time", "deleted", "label"})


def read_view(path: str, view: ViewText, files: Mapping[str, str]) -> View:
    """Return a view, its SQL taken from the files, or raise DefinitionInvalidError."""
    name = named(path, "view", view.name)
    require(name != REQUEST, path, "no view is named 'request': that is what the caller gives")
    require(name != TRANSFORM, path, "no view is named 'transform': that is what a set computes")
    sql = _python_sql(path, view) if view.python else _sql_of(path, view, files)
    ttl_us = ttl_us_of(view.ttl)
    require(ttl_us is not None, path, f"view {name}: ttl is like '14d', '12h', '30m' or '90s', not {view.ttl!r}")
    require(
        refresh_is_valid(view.refresh), path, f"view {name}: refresh is like '15m' or '0 3 * * *', not {view.refresh!r}"
    )
    require(0 < len(view.features) <= FEATURES_MAX, path, f"view {name}: has 1 to {FEATURES_MAX} features")
    require(view.join_keys, path, f"view {name}: names no join key")
    columns = [*view.join_keys, *(feature.name for feature in view.features)]
    for column in columns:
        require(COLUMN.fullmatch(column), path, f"view {name}: {column!r} is not a name for a column")
        require(column.lower() not in _RESERVED, path, f"view {name}: {column!r} is a reserved name")
    lower = [column.lower() for column in columns]  # SQL does not tell the cases apart
    require(len(set(lower)) == len(lower), path, f"view {name}: a join key or feature is named twice")
    for feature in view.features:
        require(
            feature.default is None or math.isfinite(feature.default),
            path,
            f"view {name}: the default of {feature.name} is not finite; leave it out for NaN",
        )
        require(
            feature.type in {"", *FEATURE_TYPES},
            path,
            f"view {name}: the type of {feature.name} is one of {', '.join(FEATURE_TYPES)}",
        )
    return View(
        name=name,
        join_keys=tuple(view.join_keys),
        sql=sql,
        features=tuple(
            Feature(name=feature.name, default=feature.default, type=feature.type, description=feature.description)
            for feature in view.features
        ),
        ttl_us=ttl_us or 0,
        refresh=view.refresh,
        description=view.description,
        owner=view.owner,
        tags=tags_of(path, f"view {name}", view.owner, view.tags),
        code=view.python,
        inputs=tuple(view.inputs),
    )


def _sql_of(path: str, view: ViewText, files: Mapping[str, str]) -> str:
    """Return the SQL of a view's file."""
    require(not view.inputs, path, f"view {view.name}: inputs are of a view in Python; SQL names its sources itself")
    sql_path = str(PurePosixPath(path).parent / view.sql)
    require(sql_path in files, path, f"view {view.name}: there is no file {sql_path!r}")
    return trimmed_sql(files[sql_path])


def _python_sql(path: str, view: ViewText) -> str:
    """Return the SQL that reads what a view in Python gives."""
    what = f"view {view.name}"
    require(not view.sql, path, f"{what}: it is SQL or Python, not both")
    require(REFERENCE.fullmatch(view.python), path, f"{what}: python is like 'module:function', not {view.python!r}")
    require(view.inputs, path, f"{what}: inputs names the sources that its function takes")
    require(len(set(view.inputs)) == len(view.inputs), path, f"{what}: an input is named twice")
    for name in view.inputs:
        require(COLUMN.fullmatch(name) and name not in {"since", "until"}, path, f"{what}: {name!r} is no source")
    return f'SELECT * FROM "{code_table(view.name)}"'
