"""Searching versions: a filter's tree becomes one statement with bound values, ordered and in pages."""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Table, and_, exists, false, not_, or_, select

from registry import tables
from registry.errors import FilterInvalidError
from registry.filter import All, Comparison, Not, Tree, parse
from registry.lineage import ancestors, descendants
from registry.names import check_model_id
from registry.records import Stage
from registry.versions import get_version, version_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from registry.records import Version

Condition = ColumnElement[bool]

_OPERATORS: dict[str, Callable[[Any, Any], Condition]] = {
    "=": operator.eq,
    ":": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_V = tables.versions.c
_TEXTS: dict[str, ColumnElement[str]] = {
    "model": _V.model,
    "algorithm": _V.algorithm,
    "description": _V.description,
    "created_by": _V.created_by,
    "feature_set": _V.feature_set,
    "artifact_sha256": _V.artifact_sha256,
    "data_fingerprint": _V.data_fingerprint,
    "deprecated": _V.deprecated,
    "signed_by": _V.signed_by,
}
_NUMBERS: dict[str, ColumnElement[int]] = {"version": _V.number, "artifact_bytes": _V.artifact_bytes}
_TIMES: dict[str, ColumnElement[int]] = {"create_time": _V.created_us}
_NAMED: dict[str, Table] = {
    "tags": tables.version_tags,
    "parameters": tables.version_parameters,
    "metrics": tables.version_metrics,
}
_LINES = {"ancestor_of": ancestors, "descendant_of": descendants}
FIELDS = sorted([*_TEXTS, *_NUMBERS, *_TIMES, "stage", "alias", "owner", *_LINES, *(f"{name}.NAME" for name in _NAMED)])


@dataclass(frozen=True, slots=True)
class Page:
    """Some versions, and where the next ones begin; an empty token after the last."""

    versions: tuple[Version, ...]
    next_token: str


@dataclass(frozen=True, slots=True)
class _Order:
    """What versions are ordered by, before model and number."""

    text: str
    by: Any
    descending: bool
    nullable: bool = False


def search_versions(
    tx: Connection, *, filter_text: str = "", order_by: str = "", token: str = "", limit_max: int, deleted: bool = False
) -> Page:
    """Return a page of the versions that pass the filter.

    Parameters
    ----------
    filter_text
        As `registry.filter` has it; empty: all versions.
    order_by
        ``create_time``, ``version``, ``artifact_bytes``, ``model`` or ``metrics.NAME``, perhaps followed by ``desc``;
        empty: by model and number. Versions without that metric come last.
    token
        The token of the previous page of the same search.

    Raises
    ------
    FilterInvalidError
        The filter, the order or the token cannot be understood.
    """
    tree = parse(filter_text)
    order = _order(order_by)
    query = select(tables.versions) if order.by is None else select(tables.versions, order.by.label("ordered"))
    if tree is not None:
        query = query.where(_condition(tx, tree))
    if not deleted:
        query = query.where(_V.deleted_us == 0)
    if token:
        query = query.where(_after(order, *_read_token(token, filter_text, order.text)))
    rows = tx.execute(query.order_by(*_ordering(order)).limit(limit_max + 1)).all()
    page = rows[:limit_max]
    following = ""
    if len(rows) > limit_max:
        last = page[-1]
        value = None if order.by is None else last.ordered
        following = _token([value, last.model, last.number], filter_text, order.text)
    return Page(tuple(version_of(row) for row in page), following)


def _condition(tx: Connection, tree: Tree) -> Condition:
    match tree:
        case Comparison():
            return _compared(tx, tree)
        case Not(inside):
            return not_(_condition(tx, inside))
        case All(parts):
            return and_(*(_condition(tx, part) for part in parts))
        case _:
            return or_(*(_condition(tx, part) for part in tree.parts))


def _compared(tx: Connection, one: Comparison) -> Condition:  # noqa: PLR0911  (one for each kind of field)
    """Return the condition of one comparison, or raise FilterInvalidError for a field or value that does not fit."""
    if one.field in _NAMED and one.name:
        return _compared_named(_NAMED[one.field], one)
    if one.name:
        raise _no_field(f"{one.field}.{one.name}")
    compare = _OPERATORS[one.operator]
    if one.field in _TEXTS:
        column = _TEXTS[one.field]
        if one.present:
            return column != ""
        return column.contains(one.value, autoescape=True) if one.operator == ":" else compare(column, one.value)
    if one.field in _NUMBERS:
        return compare(_NUMBERS[one.field], _number(one, int))
    if one.field in _TIMES:
        return compare(_TIMES[one.field], _time_us(one))
    if one.field == "stage":
        return compare(_V.stage, _stage(one))
    if one.field in {"alias", "owner"}:
        return _compared_elsewhere(one)
    if one.field in _LINES:
        return _in_line(tx, one)
    raise _no_field(one.field)


def _compared_named(table: Table, one: Comparison) -> Condition:
    """Compare what the version has under a name; a version that has nothing there does not pass, not even by !=."""
    named = and_(table.c.model == _V.model, table.c.number == _V.number, table.c.name == one.name)
    if one.present:
        return exists().where(named)
    value = _number(one, float) if table is tables.version_metrics else one.value
    return exists().where(named, _OPERATORS[one.operator](table.c.value, value))


def _compared_elsewhere(one: Comparison) -> Condition:
    if one.operator not in {"=", ":", "!="}:
        raise FilterInvalidError(f"`{one.field}` is compared by =, != and :*", field=one.field)
    if one.field == "alias":
        where = [tables.aliases.c.model == _V.model, tables.aliases.c.version == _V.number]
        if not one.present:
            where.append(tables.aliases.c.alias == one.value)
    else:
        where = [tables.models.c.id == _V.model, tables.models.c.owner == one.value]
        if one.present:
            where[1] = tables.models.c.owner != ""
    found = exists().where(*where)
    return not_(found) if one.operator == "!=" else found


def _in_line(tx: Connection, one: Comparison) -> Condition:
    parts = one.value.split("/")
    if one.operator not in {"=", ":"} or len(parts) != 4 or parts[::2] != ["models", "versions"]:  # noqa: PLR2004
        raise FilterInvalidError(f"`{one.field}` is compared like {one.field} = models/a/versions/1", field=one.field)
    if not (parts[3].isascii() and parts[3].isdigit()) or len(parts[3]) > 18:  # noqa: PLR2004  (fits 64 bits)
        raise FilterInvalidError(f"{one.value[:80]!r} is not a version", field=one.field)
    found = _LINES[one.field](tx, get_version(tx, check_model_id(parts[1]), int(parts[3])))
    if not found:
        return false()
    return or_(*(and_(_V.model == each.model, _V.number == each.number) for each in found))


def _number(one: Comparison, kind: type[int | float]) -> int | float:
    try:
        value = kind(one.value)
        if math.isfinite(value) and abs(value) < 2**63:
            return value
    except ValueError:
        pass
    raise FilterInvalidError(f"`{one.field}` is compared with a number, not {one.value[:64]!r}", field=one.field)


def _time_us(one: Comparison) -> int:
    """Return a time, given in ISO 8601 or in microseconds since the Unix epoch; without an offset it is UTC."""
    if one.value.isascii() and one.value.isdigit() and len(one.value) > 8:  # noqa: PLR2004  (20260101 is a date)
        return int(one.value[:18])
    try:
        time = dt.datetime.fromisoformat(one.value)
    except ValueError:
        raise FilterInvalidError(
            f"`{one.field}` is compared with a time like 2026-01-31T12:00:00Z, not {one.value[:64]!r}", field=one.field
        ) from None
    since = (time if time.tzinfo else time.replace(tzinfo=dt.UTC)) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return since // dt.timedelta(microseconds=1)


def _stage(one: Comparison) -> str:
    try:
        return Stage(one.value.lower()).value
    except ValueError:
        raise FilterInvalidError(
            f"there is no stage {one.value[:64]!r}; there are: {', '.join(Stage)}", field="stage"
        ) from None


def _no_field(name: str) -> FilterInvalidError:
    return FilterInvalidError(f"there is no field {name[:80]!r}; there are: {', '.join(FIELDS)}", field=name[:80])


def _order(text: str) -> _Order:
    words = text.split()
    if not words:
        return _Order("", None, descending=False)
    if len(words) > 2 or (len(words) == 2 and words[1] not in {"asc", "desc"}):  # noqa: PLR2004
        raise FilterInvalidError(f"an order is a field, perhaps followed by desc, not {text[:80]!r}", field="order_by")
    descending = words[-1] == "desc"
    head, _, name = words[0].partition(".")
    plain = {**_NUMBERS, **_TIMES, "model": _V.model}
    if not name and head in plain:
        return _Order(" ".join(words), plain[head], descending=descending)
    if head == "metrics" and name:
        metrics = tables.version_metrics
        value = select(metrics.c.value).where(
            metrics.c.model == _V.model, metrics.c.number == _V.number, metrics.c.name == name
        )
        return _Order(" ".join(words), value.scalar_subquery(), descending=descending, nullable=True)
    raise FilterInvalidError(
        f"versions are not ordered by {words[0][:64]!r}, but by {', '.join([*plain, 'metrics.NAME'])}", field="order_by"
    )


def _ordering(order: _Order) -> list[Any]:
    """Return what to order by; ties go in the same direction, so that one index serves both."""
    ties = [_V.model.desc(), _V.number.desc()] if order.descending else [_V.model, _V.number]
    if order.by is None:
        return ties
    first = order.by.desc() if order.descending else order.by.asc()
    return [order.by.is_(None), first, *ties] if order.nullable else [first, *ties]


def _after(order: _Order, value: object, model: str, number: int) -> Condition:
    """Return the condition of what comes after a place in the order; nulls come last."""
    comes: Callable[[Any, Any], Condition] = operator.lt if order.descending else operator.gt
    later = or_(comes(_V.model, model), and_(_V.model == model, comes(_V.number, number)))
    if order.by is None:
        return later
    if value is None:
        return and_(order.by.is_(None), later)
    beyond = or_(comes(order.by, value), and_(order.by == value, later))
    return or_(order.by.is_(None), beyond) if order.nullable else beyond


def _token(place: list[object], filter_text: str, order: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([filter_text, order, place]).encode()).decode()


def _read_token(token: str, filter_text: str, order: str) -> tuple[object, str, int]:
    try:
        seen_filter, seen_order, (value, model, number) = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError):
        raise FilterInvalidError("the page token is not one of a search", field="page_token") from None
    if (seen_filter, seen_order) != (filter_text, order):
        raise FilterInvalidError("the page token is of another search: begin anew", field="page_token")
    if not isinstance(model, str) or not isinstance(number, int) or isinstance(value, list | dict):
        raise FilterInvalidError("the page token is not one of a search", field="page_token")
    return value, model, number
