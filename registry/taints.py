"""Taints: what is known to be wrong, and which versions it touches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from sqlalchemy import and_, insert, or_, select, update

from registry import tables
from registry.errors import FieldInvalidError, TaintMissingError
from registry.fingerprints import parts_of
from registry.labels import check_text
from registry.lineage import ancestors
from storage.revision import record_change

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection, Row

    from registry.records import Version

Kind = Literal["data", "feature_view", "version"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Taint:
    """A mark that something is wrong.

    Parameters
    ----------
    id
        The revision that made it.
    kind, subject
        What is wrong: a data fingerprint, a feature view's name, or a version's resource name.
    cleared_us
        When somebody found that it no longer is; 0 while it stands.
    """

    id: int
    kind: str
    subject: str
    reason: str
    actor: str
    time_us: int
    cleared_us: int
    cleared_by: str
    cleared_reason: str


def add_taint(tx: Connection, kind: str, subject: str, *, reason: str, actor: str, now_us: int) -> Taint:
    """Mark something as wrong and return the mark, or raise FieldInvalidError."""
    if kind not in KINDS:
        raise FieldInvalidError(f"a taint is of {', '.join(KINDS)}, not {kind[:64]!r}", field="kind")
    if not subject or not reason:
        raise FieldInvalidError("a taint names its subject and its reason", field="subject" if reason else "reason")
    check_text("subject", subject, chars_max=512)
    said = {"kind": kind, "subject": subject, "reason": check_text("reason", reason)}
    revision = record_change(
        tx,
        kind="taint.added",
        resource=f"taints/{kind}/{subject}"[:512],
        actor=actor,
        detail=said,
        after=said,
        now_us=now_us,
    )
    row = {"kind": kind, "subject": subject, "reason": reason, "actor": actor, "time_us": now_us}
    tx.execute(insert(tables.taints).values(id=revision, **row, cleared_us=0, cleared_by="", cleared_reason=""))
    return _get(tx, revision)


def clear_taint(tx: Connection, taint_id: int, *, reason: str, actor: str, now_us: int) -> Taint:
    """Say that it is no longer wrong, and why, or raise TaintMissingError or FieldInvalidError."""
    taint = _get(tx, taint_id)
    if not reason:
        raise FieldInvalidError("say why it is no longer wrong", field="reason")
    if taint.cleared_us:
        return taint
    values = {"cleared_us": now_us, "cleared_by": actor, "cleared_reason": check_text("reason", reason)}
    tx.execute(update(tables.taints).where(tables.taints.c.id == taint_id).values(**values))
    record_change(
        tx,
        kind="taint.cleared",
        resource=f"taints/{taint.kind}/{taint.subject}"[:512],
        actor=actor,
        detail={"id": taint_id, "reason": reason},
        before={name: getattr(taint, name) for name in values},
        after=values,
        now_us=now_us,
    )
    return _get(tx, taint_id)


def list_taints(tx: Connection, *, standing: bool, before: int | None = None, limit_max: int) -> list[Taint]:
    """Return at most `limit_max` taints, newest first, only those that stand when asked for."""
    query = select(tables.taints).order_by(tables.taints.c.id.desc()).limit(limit_max)
    if standing:
        query = query.where(tables.taints.c.cleared_us == 0)
    if before is not None:
        query = query.where(tables.taints.c.id < before)
    return [_taint(row) for row in tx.execute(query)]


def taints_of(tx: Connection, version: Version, *, views: Collection[str] = ()) -> list[Taint]:
    """Return the taints that stand and touch the version: its data, its views, itself, or what it was made from.

    Parameters
    ----------
    views
        The names of the feature views that its feature set reads.
    """
    line = [(version.model, version.number), *((each.model, each.number) for each in ancestors(tx, version))]
    names = [f"models/{model}/versions/{number}" for model, number in line]
    touching = [_about("version", names)]
    if version.facts.data_fingerprint:
        touching.append(_about("data", parts_of(version.facts.data_fingerprint)))
    if views:
        touching.append(_about("feature_view", list(views)))
    query = select(tables.taints).where(tables.taints.c.cleared_us == 0, or_(*touching))
    return [_taint(row) for row in tx.execute(query.order_by(tables.taints.c.id))]


def _about(kind: Kind, subjects: list[str]) -> Any:
    return and_(tables.taints.c.kind == kind, tables.taints.c.subject.in_(subjects))


def _get(tx: Connection, taint_id: int) -> Taint:
    row = tx.execute(select(tables.taints).where(tables.taints.c.id == taint_id)).one_or_none()
    if row is None:
        raise TaintMissingError(f"there is no taint {taint_id}", taint=taint_id)
    return _taint(row)


def _taint(row: Row[Any]) -> Taint:
    return Taint(**{name: getattr(row, name) for name in Taint.__dataclass_fields__})
