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
    owner = "ops@example.org"  # who answers for it, and words to find it by; of sets as well
    tags = ["delay"]
    [[view.features]]
    name = "late_rate_7d"
    default = 0.2              # absent: NaN
    type = "float"             # "float", "int" or "bool": another column is refused; absent: any number
    description = "..."

    [[set]]
    name = "flight-delay"
    features = ["request.hour", "carrier.late_rate_7d", "transform.at_night"]
    stale_up_to = "2h"         # served so long past the time to live rather than defaults; absent: not at all
    refuse = ["unavailable"]   # refuse a call rather than use defaults for views that are missing, stale, unavailable
    [[set.request]]            # only for request features that a caller may leave out
    name = "hour"
    default = 12.0
    [[set.transform]]          # computed when a call comes; among the features it is "transform.at_night"
    name = "at_night"          # it may take the transforms before it, and what is no feature of the set
    expression = "request.hour < 6 or request.hour >= 22"    # see features/expression.py
    type = "bool"              # "float64" (if absent), "float32" or "bool"

A view's SQL may give `created_time` (when a row became known; absent: when it happened) and `deleted` (a row that says
that there is no value from then on). It may use the parameters `$since` and `$until` to limit its scan: see
`features.view_rows.bounds_of`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import msgspec

from features.declared import FileText
from features.declared_sets import SetWish, read_set
from features.declared_sources import read_source
from features.declared_views import read_view
from features.definitions import Source, View
from features.errors import DefinitionInvalidError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


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
        sources += [read_source(path, source, base_dir) for source in declared.source]
        views += [read_view(path, view, files) for view in declared.view]
        sets += [read_set(path, feature_set) for feature_set in declared.set]
    if not (sources or views or sets):
        raise DefinitionInvalidError("no definition is in the files: give at least one *.toml")
    return Definitions(
        sources=tuple(_unique("source", sources)), views=tuple(_unique("view", views)), sets=tuple(_unique("set", sets))
    )


def _parse(path: str, text: str) -> FileText:
    try:
        return msgspec.convert(tomllib.loads(text), FileText)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise DefinitionInvalidError(f"{path}: {error}", path=path) from error


_Named = TypeVar("_Named", Source, View, SetWish)


def _unique(kind: str, declared: Iterable[_Named]) -> list[_Named]:
    """Return the declared things by name, or raise DefinitionInvalidError when one is declared twice."""
    by_name: dict[str, _Named] = {}
    for thing in declared:
        if thing.name in by_name:
            raise DefinitionInvalidError(f"{kind} {thing.name} is declared twice", name=thing.name)
        by_name[thing.name] = thing
    return [by_name[name] for name in sorted(by_name)]
