"""The grammar of definition files: TOML that names SQL files, read into values.

::

    [[source]]
    name = "flights"           # the table's name in the views' SQL
    kind = "parquet"           # or "csv", with an optional null_text = "NA"; or "duckdb", "postgresql"
    path = "flights.parquet"   # absolute, or relative to the base directory; s3://bucket/key?endpoint=…&region=…;
                               # postgresql://user@host:5432/database (its password comes from the environment)
    table = "main.flights"     # only of a DuckDB file or a PostgreSQL

    [[view]]
    name = "carrier"
    join_keys = ["carrier"]
    sql = "carrier.sql"        # beside this file; or, of the operator's own modules, a function over Arrow tables:
                               # python = "prices.features:sma", inputs = ["prices"]
    ttl = "14d"                # s, m, h or d; absent: forever
    refresh = "15m"            # materialized by itself: so often, or by cron ("0 3 * * *", UTC); absent: never
    description = "..."
    [[view.features]]
    name = "late_rate_7d"
    default = 0.2              # absent: NaN
    description = "..."

    [[set]]
    name = "flight-delay"
    features = ["request.hour", "carrier.late_rate_7d"]
    stale_up_to = "2h"         # served so long past the time to live rather than defaults; absent: not at all
    refuse = ["unavailable"]   # refuse a call rather than use defaults for views that are missing, stale, unavailable
    [[set.request]]            # only for request features that a caller may leave out
    name = "hour"
    default = 12.0

A view's SQL may give `created_time` (when a row became known; absent: when it happened) and `deleted` (a row that says
that there is no value from then on). It may use the parameters `$since` and `$until` to limit its scan: see
`features.offline.bounds_of`.
"""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import msgspec

from features.code_folder import REFERENCE
from features.definitions import Feature, RequestDefault, Source, View, code_table, trimmed_sql
from features.errors import DefinitionInvalidError
from features.plan import REFUSALS, REQUEST
from features.schedule import refresh_is_valid, ttl_us_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)
_RESERVED = frozenset({"event_time", "created_time", "deleted", "label"})
FEATURES_MAX = 4096
SOURCE_KINDS = ("parquet", "csv", "duckdb", "postgresql")
_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}(\.[A-Za-z_][A-Za-z0-9_$]{0,62})?", re.ASCII)
# What begins so is shown to SQL by Turnout itself.
OWN_TABLES = "turnout_"
# What the gateway itself shows to the SQL of labels.
JOURNAL_TABLE = "journal_outcomes"


class _Source(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    kind: str
    path: str
    null_text: str = ""
    table: str = ""


class _Feature(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    default: float | None = None
    description: str = ""


class _View(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    join_keys: list[str]
    features: list[_Feature]
    sql: str = ""
    python: str = ""
    inputs: list[str] = []
    ttl: str = ""
    refresh: str = ""
    description: str = ""


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    default: float


class _Set(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    features: list[str]
    request: list[_Request] = []
    stale_up_to: str = ""
    refuse: list[str] = []
    description: str = ""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    source: list[_Source] = []
    view: list[_View] = []
    set: list[_Set] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWish:
    """A set as a file declares it, before its views are looked up."""

    name: str
    features: tuple[str, ...]
    requests: tuple[RequestDefault, ...]
    stale_up_to_us: int
    refuse: tuple[str, ...]
    description: str

    @property
    def views(self) -> tuple[str, ...]:
        """Return the views, in the order in which the features first name them."""
        names = (feature.partition(".")[0] for feature in self.features)
        return tuple(dict.fromkeys(name for name in names if name != REQUEST))


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """All that a directory declares."""

    sources: tuple[Source, ...]
    views: tuple[View, ...]
    sets: tuple[SetWish, ...]


def read_definitions(files: Mapping[str, str], base_dir: str) -> Definitions:
    """Return what the files declare, or raise DefinitionInvalidError with the file and the place.

    Parameters
    ----------
    files
        Path within the directory to text: `*.toml`, and the SQL files that they name.
    base_dir
        The absolute directory that relative source paths start from.
    """
    sources: list[Source] = []
    views: list[View] = []
    sets: list[SetWish] = []
    for path in sorted(files):
        if not path.endswith(".toml"):
            continue
        declared = _parse(path, files[path])
        sources += [_source(path, source, base_dir) for source in declared.source]
        views += [_view(path, view, files) for view in declared.view]
        sets += [_set(path, feature_set) for feature_set in declared.set]
    if not (sources or views or sets):
        raise DefinitionInvalidError("no definition is in the files: give at least one *.toml")
    return Definitions(
        sources=tuple(_unique("source", sources)), views=tuple(_unique("view", views)), sets=tuple(_unique("set", sets))
    )


def _parse(path: str, text: str) -> _File:
    try:
        return msgspec.convert(tomllib.loads(text), _File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise DefinitionInvalidError(f"{path}: {error}", path=path) from error


def _require(condition: object, path: str, message: str) -> None:
    if not condition:
        raise DefinitionInvalidError(f"{path}: {message}", path=path)


def _named(path: str, kind: str, name: str) -> str:
    _require(
        _NAME.fullmatch(name),
        path,
        f"{kind} {name!r}: a name is 1 to 63 of a-z, 0-9, '-' and '_', beginning with a letter",
    )
    return name


def _source(path: str, source: _Source, base_dir: str) -> Source:
    what = f"source {source.name}"
    _require(_COLUMN.fullmatch(source.name), path, f"source {source.name!r}: not a name for a table")
    _require(source.name.lower() != JOURNAL_TABLE, path, f"{what}: that is the journal's table")
    _require(not source.name.lower().startswith(OWN_TABLES), path, f"{what}: names with {OWN_TABLES} are Turnout's own")
    _require(source.kind in SOURCE_KINDS, path, f"{what}: kind is one of {', '.join(SOURCE_KINDS)}")
    in_database = source.kind in {"duckdb", "postgresql"}
    _require(bool(source.table) == in_database, path, f"{what}: a table is named of DuckDB and PostgreSQL, of no file")
    _require(
        not source.table or _TABLE.fullmatch(source.table), path, f"{what}: table is like 'flights' or 'a.flights'"
    )
    if source.kind == "postgresql" or "://" in source.path:
        place = _address(path, source)
    else:
        _require(source.path and not set(source.path) & set("*?["), path, f"{what}: path is one file")
        _require(base_dir.startswith("/") or source.path.startswith("/"), path, "base_dir is an absolute directory")
        place = str(PurePosixPath(base_dir or "/", source.path))
    return Source(name=source.name, kind=source.kind, path=place, null_text=source.null_text, table=source.table)


def _address(path: str, source: _Source) -> str:
    """Return an address that a source may have, or raise DefinitionInvalidError."""
    what = f"source {source.name}"
    try:
        parts = urlsplit(source.path)
    except ValueError as error:
        raise DefinitionInvalidError(f"{path}: {what}: its address cannot be read: {error}", path=path) from error
    scheme = "postgresql" if source.kind == "postgresql" else "s3"
    _require(source.kind != "duckdb", path, f"{what}: a DuckDB is a file of this machine")
    _require(parts.scheme == scheme and parts.hostname, path, f"{what}: path is a file, or like {scheme}://host/name")
    _require(not parts.password, path, f"{what}: a password is no part of a definition; the environment gives it")
    return source.path


def _view(path: str, view: _View, files: Mapping[str, str]) -> View:
    name = _named(path, "view", view.name)
    _require(name != REQUEST, path, "no view is named 'request': that is what the caller gives")
    sql = _python_sql(path, view) if view.python else _sql_of(path, view, files)
    ttl_us = ttl_us_of(view.ttl)
    _require(ttl_us is not None, path, f"view {name}: ttl is like '14d', '12h', '30m' or '90s', not {view.ttl!r}")
    _require(
        refresh_is_valid(view.refresh), path, f"view {name}: refresh is like '15m' or '0 3 * * *', not {view.refresh!r}"
    )
    _require(0 < len(view.features) <= FEATURES_MAX, path, f"view {name}: has 1 to {FEATURES_MAX} features")
    _require(view.join_keys, path, f"view {name}: names no join key")
    columns = [*view.join_keys, *(feature.name for feature in view.features)]
    for column in columns:
        _require(_COLUMN.fullmatch(column), path, f"view {name}: {column!r} is not a name for a column")
        _require(column.lower() not in _RESERVED, path, f"view {name}: {column!r} is a reserved name")
    lower = [column.lower() for column in columns]  # SQL does not tell the cases apart
    _require(len(set(lower)) == len(lower), path, f"view {name}: a join key or feature is named twice")
    for feature in view.features:
        _require(
            feature.default is None or math.isfinite(feature.default),
            path,
            f"view {name}: the default of {feature.name} is not finite; leave it out for NaN",
        )
    return View(
        name=name,
        join_keys=tuple(view.join_keys),
        sql=sql,
        features=tuple(
            Feature(name=feature.name, default=feature.default, description=feature.description)
            for feature in view.features
        ),
        ttl_us=ttl_us or 0,
        refresh=view.refresh,
        description=view.description,
        code=view.python,
        inputs=tuple(view.inputs),
    )


def _sql_of(path: str, view: _View, files: Mapping[str, str]) -> str:
    """Return the SQL of a view's file."""
    _require(not view.inputs, path, f"view {view.name}: inputs are of a view in Python; SQL names its sources itself")
    sql_path = str(PurePosixPath(path).parent / view.sql)
    _require(sql_path in files, path, f"view {view.name}: there is no file {sql_path!r}")
    return trimmed_sql(files[sql_path])


def _python_sql(path: str, view: _View) -> str:
    """Return the SQL that reads what a view in Python gives."""
    what = f"view {view.name}"
    _require(not view.sql, path, f"{what}: it is SQL or Python, not both")
    _require(REFERENCE.fullmatch(view.python), path, f"{what}: python is like 'module:function', not {view.python!r}")
    _require(view.inputs, path, f"{what}: inputs names the sources that its function takes")
    _require(len(set(view.inputs)) == len(view.inputs), path, f"{what}: an input is named twice")
    for name in view.inputs:
        _require(_COLUMN.fullmatch(name) and name not in {"since", "until"}, path, f"{what}: {name!r} is no source")
    return f'SELECT * FROM "{code_table(view.name)}"'


def _set(path: str, wish: _Set) -> SetWish:
    name = _named(path, "set", wish.name)
    _require(0 < len(wish.features) <= FEATURES_MAX, path, f"set {name}: has 1 to {FEATURES_MAX} features")
    _require(len(set(wish.features)) == len(wish.features), path, f"set {name}: a feature is named twice")
    for feature in wish.features:
        view, _, column = feature.partition(".")
        _require(
            _NAME.fullmatch(view) and _COLUMN.fullmatch(column),
            path,
            f"set {name}: {feature!r} is not view.feature or request.feature",
        )
    for request in wish.request:
        _require(
            f"{REQUEST}.{request.name}" in wish.features,
            path,
            f"set {name}: request feature {request.name!r} is not among its features",
        )
        _require(math.isfinite(request.default), path, f"set {name}: the default of {request.name} is not finite")
    stale_up_to_us = ttl_us_of(wish.stale_up_to)
    _require(stale_up_to_us is not None, path, f"set {name}: stale_up_to is like '12h', not {wish.stale_up_to!r}")
    _require(set(wish.refuse) <= set(REFUSALS), path, f"set {name}: refuse takes {', '.join(REFUSALS)}")
    return SetWish(
        name=name,
        features=tuple(wish.features),
        requests=tuple(RequestDefault(name=request.name, default=request.default) for request in wish.request),
        stale_up_to_us=stale_up_to_us or 0,
        refuse=tuple(dict.fromkeys(wish.refuse)),
        description=wish.description,
    )


_Named = TypeVar("_Named", Source, View, SetWish)


def _unique(kind: str, declared: Iterable[_Named]) -> list[_Named]:
    """Return the declared things by name, or raise DefinitionInvalidError when one is declared twice."""
    by_name: dict[str, _Named] = {}
    for thing in declared:
        if thing.name in by_name:
            raise DefinitionInvalidError(f"{kind} {thing.name} is declared twice", name=thing.name)
        by_name[thing.name] = thing
    return [by_name[name] for name in sorted(by_name)]
