"""What features are made of: sources, views and sets, as values."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

from features.transforms import Transform, is_computed, operands_beside, transforms_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A table of the offline store, as the views' SQL sees it.

    Attributes
    ----------
    name
        The table's name.
    kind
        `parquet` or `csv`: a file; `duckdb`: a table of a DuckDB file; `postgresql`: a table of a PostgreSQL.
    path
        An absolute path; of a Parquet or CSV file perhaps an address in a bucket; the address of a PostgreSQL.
    null_text
        What stands for NULL in a CSV file.
    table
        The table in the DuckDB file or the PostgreSQL, perhaps with its schema before a dot.
    """

    name: str
    kind: str
    path: str
    null_text: str = ""
    table: str = ""

    @property
    def digest(self) -> str:
        """Return the sha256 of the source: of where the data lies, not of the data."""
        return digest_of([self.name, self.kind, self.path, self.null_text, *([self.table] if self.table else [])])

    def document(self) -> dict[str, Any]:
        """Return the source as JSON knows it."""
        return {"kind": self.kind, "path": self.path, "null_text": self.null_text, "table": self.table}


FEATURE_TYPES = ("float", "int", "bool")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One column of a view, stored as a float64.

    Attributes
    ----------
    default
        Its value when nothing is known; None stands for NaN.
    type
        What its column must be, one of `FEATURE_TYPES`; empty: any number.
    """

    name: str
    default: float | None = None
    description: str = ""
    type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A table of columns for an entity.

    Attributes
    ----------
    name
        Unique among views.
    join_keys
        What its entity is made of, in order.
    sql
        One SELECT over the sources: the join keys, `event_time`, optionally `created_time`, and the features.
    code, inputs, code_sha256
        Of a view in Python: its function, `module:function`; the sources that it takes; what the code was when the
        view was applied. `sql` then reads what the function gives.
    features
        In the order in which they are stored.
    ttl_us
        How long a value may be used after its event time; 0 is forever.
    refresh
        When it is materialized by itself: an interval or a cron expression; empty: never.
    description, owner, tags
        What it is; who answers for it; words to find it by.
    """

    name: str
    join_keys: tuple[str, ...]
    sql: str
    features: tuple[Feature, ...]
    ttl_us: int = 0
    refresh: str = ""
    description: str = ""
    code: str = ""
    inputs: tuple[str, ...] = ()
    code_sha256: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Return the sha256 of all that changes a value that a model sees; words about it do not."""
        return digest_of(
            [
                *self._layout(),
                self.ttl_us,
                [feature.default for feature in self.features],
            ]
        )

    @property
    def layout(self) -> str:
        """Return the sha256 of all that changes a stored value; readers apply defaults and the time to live."""
        return digest_of(self._layout())

    def _layout(self) -> list[Any]:
        code = [self.code, self.inputs, self.code_sha256] if self.code else []
        return [self.name, self.join_keys, self.sql, [feature.name for feature in self.features], *code]

    def document(self) -> dict[str, Any]:
        """Return the view as JSON knows it."""
        return {
            "join_keys": list(self.join_keys),
            "sql": self.sql,
            "ttl_us": self.ttl_us,
            "refresh": self.refresh,
            "features": [
                {
                    "name": feature.name,
                    "default": feature.default,
                    "description": feature.description,
                    "type": feature.type,
                }
                for feature in self.features
            ],
            "description": self.description,
            "code": self.code,
            "inputs": list(self.inputs),
            "code_sha256": self.code_sha256,
            "owner": self.owner,
            "tags": list(self.tags),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundView:
    """One definition of a view, and the number of its layout in the online store."""

    view: View
    schema_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDefault:
    """A feature that the caller may leave out, and its value then."""

    name: str
    default: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSet:
    """The ordered list of features that a version takes.

    Attributes
    ----------
    name
        Unique among sets.
    features
        `view.feature`, `request.feature` or `transform.name`, in the order of the model's input.
    view_digests
        The view and the digest of its definition, in the order in which `columns` first names the views.
    requests
        Defaults of request features.
    transforms
        What is computed of the others when a call comes.
    stale_up_to_us
        For how long past its time to live a value may be served rather than the defaults.
    refuse
        Without which views a call is refused rather than answered with defaults: those that are `missing`, `stale` or
        `unavailable`.
    description, owner, tags
        What it is; who answers for it; words to find it by.
    """

    name: str
    features: tuple[str, ...]
    view_digests: tuple[tuple[str, str], ...]
    requests: tuple[RequestDefault, ...] = ()
    transforms: tuple[Transform, ...] = ()
    stale_up_to_us: int = 0
    refuse: tuple[str, ...] = ()
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()

    @property
    def operands(self) -> tuple[str, ...]:
        """Return what is read for the transforms alone, and is no input of the model."""
        return operands_beside(self.features, self.transforms)

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns of a row: the features, and behind them the operands."""
        return self.features + self.operands

    @property
    def raw(self) -> FeatureSet:
        """Return the set as a graph takes it that computes the transforms itself: what is given and stored."""
        features = tuple(column for column in self.columns if not is_computed(column))
        return replace(self, features=features, transforms=())

    @property
    def digest(self) -> str:
        """Return the sha256 of all that changes a value that a model is trained on, the views' definitions included.

        What is done when there is no fresh value may change while a version serves.
        """
        transforms = [[transform.meaning for transform in self.transforms]] if self.transforms else []
        return digest_of(
            [
                self.name,
                self.features,
                self.view_digests,
                [[request.name, request.default] for request in self.requests],
                *transforms,
            ]
        )

    def document(self) -> dict[str, Any]:
        """Return the set as JSON knows it."""
        return {
            "features": list(self.features),
            "views": [list(pair) for pair in self.view_digests],
            "requests": [{"name": request.name, "default": request.default} for request in self.requests],
            "transforms": [transform.document() for transform in self.transforms],
            "stale_up_to_us": self.stale_up_to_us,
            "refuse": list(self.refuse),
            "description": self.description,
            "owner": self.owner,
            "tags": list(self.tags),
        }


def view_of(name: str, document: dict[str, Any]) -> View:
    """Return the view that a document of `View.document` describes."""
    return View(
        name=name,
        join_keys=tuple(document["join_keys"]),
        sql=document["sql"],
        ttl_us=document["ttl_us"],
        refresh=document.get("refresh", ""),
        features=tuple(Feature(**feature) for feature in document["features"]),
        description=document["description"],
        code=document.get("code", ""),
        inputs=tuple(document.get("inputs", ())),
        code_sha256=document.get("code_sha256", ""),
        owner=document.get("owner", ""),
        tags=tuple(document.get("tags", ())),
    )


def set_of(name: str, document: dict[str, Any]) -> FeatureSet:
    """Return the set that a document of `FeatureSet.document` describes."""
    return FeatureSet(
        name=name,
        features=tuple(document["features"]),
        view_digests=tuple((view, digest) for view, digest in document["views"]),
        requests=tuple(RequestDefault(**request) for request in document["requests"]),
        transforms=transforms_of(document.get("transforms", ())),
        stale_up_to_us=document.get("stale_up_to_us", 0),
        refuse=tuple(document.get("refuse", ())),
        description=document["description"],
        owner=document.get("owner", ""),
        tags=tuple(document.get("tags", ())),
    )


def digest_of(parts: list[Any]) -> str:
    """Return the sha256 of the parts as compact JSON."""
    return hashlib.sha256(json.dumps(parts, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def trimmed_sql(sql: str) -> str:
    """Return the statement without the semicolon that ends it, so that it can stand within another."""
    return sql.strip().removesuffix(";")


def code_table(view: str) -> str:
    """Return the table in which SQL finds what a view in Python gives."""
    return f"turnout_code_{view}"
