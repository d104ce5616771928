"""May this version become the champion? Its taints and its model's gates, decided and kept in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from registry import tables
from registry.errors import FieldInvalidError, GatesNotPassedError, TaintedError
from registry.gates import Evidence, Verdict, decide
from registry.models import get_model
from registry.taints import taints_of
from registry.versions import get_version, live_version
from storage.revision import record_change

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Row

    from registry.records import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """What is known of a version beyond the registry.

    Parameters
    ----------
    probe_passed, probe_sentence
        Whether its probe rows were replayed just now with the right outputs; None when nobody did.
    trials
        What experiments and shadows say, as `registry.gates.Evidence` has it.
    skew
        How many calls with its features were replayed for skew, and what was wrong with them; None when nobody did.
    evaluation
        How a training run judged it, as `registry.gates.Evidence` has it; None when no run did.
    views
        The feature views that its feature set reads.
    override_reason
        Why it is promoted although a gate or a taint says no; empty when nothing is overridden. The caller has seen
        to it that who asks has the authority.
    """

    probe_passed: bool | None = None
    probe_sentence: str = ""
    trials: Sequence[Mapping[str, object]] = ()
    skew: tuple[int, Sequence[str]] | None = None
    evaluation: Mapping[str, object] | None = None
    views: Sequence[str] = ()
    override_reason: str = ""


NOTHING_KNOWN = Support()


@dataclass(frozen=True, slots=True)
class KeptVerdict:
    """A verdict as it was when the version became the champion, or as it is now."""

    model: str
    number: int
    revision: int
    gate: str
    passed: bool
    sentence: str
    evidence: Mapping[str, object]
    overridden: bool
    override_reason: str
    actor: str
    time_us: int


@dataclass(frozen=True, slots=True)
class Approval:
    """One person's yes, or its withdrawal."""

    model: str
    number: int
    revision: int
    role: str
    approved: bool
    note: str
    actor: str
    time_us: int


def verdicts(tx: Connection, version: Version, champion: int, support: Support) -> list[Verdict]:
    """Return how the version stands at its model's gates and taints, without keeping anything."""
    evidence = Evidence(
        version=version,
        champion=get_version(tx, version.model, champion) if champion else None,
        probe_passed=support.probe_passed,
        probe_sentence=support.probe_sentence,
        approvals=[(each.role, each.actor) for each in approvals_of(tx, version) if each.approved],
        trials=support.trials,
        skew=support.skew,
        evaluation=support.evaluation,
    )
    return [*_taint_verdicts(tx, version, support), *decide(get_model(tx, version.model).gates, evidence)]


def clear(
    tx: Connection,
    version: Version,
    champion: int,
    support: Support,
    *,
    rollback: bool,
    revision: int,
    actor: str,
    now_us: int,
) -> None:
    """Keep the verdicts under the promotion's revision.

    Raises
    ------
    TaintedError, GatesNotPassedError
        A verdict is no and nothing overrides it; the transaction must not be committed.
    """
    found = _taint_verdicts(tx, version, support) if rollback else verdicts(tx, version, champion, support)
    refused = [verdict for verdict in found if not verdict.passed]
    if refused and not support.override_reason:
        sentences = "; ".join(verdict.sentence for verdict in refused)
        kind = TaintedError if any(verdict.gate["kind"] == "taint" for verdict in refused) else GatesNotPassedError
        raise kind(
            f"version {version.number} of {version.model!r} may not become the champion: {sentences}",
            model=version.model,
            version=version.number,
            gates=",".join(str(verdict.gate["kind"]) for verdict in refused),
        )
    for position, verdict in enumerate(found):
        tx.execute(
            insert(tables.gate_verdicts).values(
                model=version.model,
                number=version.number,
                revision=revision,
                position=position,
                gate=str(verdict.gate["kind"]),
                passed=verdict.passed,
                sentence=verdict.sentence,
                evidence={"gate": dict(verdict.gate), **verdict.evidence},
                overridden=not verdict.passed,
                override_reason="" if verdict.passed else support.override_reason,
                actor=actor,
                time_us=now_us,
            )
        )


def kept_verdicts(tx: Connection, version: Version) -> list[KeptVerdict]:
    """Return the verdicts of all the times that the version became the champion, newest first."""
    table = tables.gate_verdicts
    query = select(table).where(table.c.model == version.model, table.c.number == version.number)
    rows = tx.execute(query.order_by(table.c.revision.desc(), table.c.position))
    return [KeptVerdict(**{name: getattr(row, name) for name in KeptVerdict.__dataclass_fields__}) for row in rows]


def approve(
    tx: Connection, model: str, number: int, *, role: str, approved: bool, note: str = "", actor: str, now_us: int
) -> Approval:
    """Keep one person's yes to a version, or its withdrawal, and return it.

    Raises
    ------
    FieldInvalidError
        No role is named.
    """
    version = live_version(tx, model, number)
    if not 1 <= len(role) <= 63:  # noqa: PLR2004  (the column's width)
        raise FieldInvalidError("an approval is given as somebody: name a role of 1 to 63 characters", field="role")
    earlier = next((each for each in approvals_of(tx, version) if (each.role, each.actor) == (role, actor)), None)
    revision = record_change(
        tx,
        kind="version.approved" if approved else "version.approval_withdrawn",
        resource=f"models/{model}/versions/{number}",
        actor=actor,
        detail={"role": role, "note": note},
        before=None if earlier is None else {"role": role, "approved": earlier.approved, "note": earlier.note},
        after={"role": role, "approved": approved, "note": note},
        now_us=now_us,
    )
    approval = Approval(version.model, version.number, revision, role, approved, note, actor, now_us)
    tx.execute(insert(tables.approvals).values(_fields(approval)))
    return approval


def approvals_of(tx: Connection, version: Version) -> list[Approval]:
    """Return the newest decision of each person and role, oldest first."""
    table = tables.approvals
    query = select(table).where(table.c.model == version.model, table.c.number == version.number)
    newest = {(row.role, row.actor): _approval(row) for row in tx.execute(query.order_by(table.c.revision))}
    return sorted(newest.values(), key=lambda each: each.revision)


def _taint_verdicts(tx: Connection, version: Version, support: Support) -> list[Verdict]:
    return [
        Verdict(
            {"kind": "taint"},
            False,
            f"{taint.kind} {taint.subject} is marked as wrong: {taint.reason}",
            {"taint": taint.id},
        )
        for taint in taints_of(tx, version, views=support.views)
    ]


def _approval(row: Row[Any]) -> Approval:
    return Approval(**{name: getattr(row, name) for name in Approval.__dataclass_fields__})


def _fields(approval: Approval) -> dict[str, object]:
    return {name: getattr(approval, name) for name in Approval.__dataclass_fields__}
