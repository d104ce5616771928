"""Policies in the metadata database: created, read, replaced, paused, removed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from storage.revision import record_change
from trainer.records import tables
from trainer.records.errors import (
    PolicyChangedError,
    PolicyExistsError,
    PolicyInvalidError,
    PolicyMissingError,
    RunOpenError,
)
from trainer.records.life import OPEN
from trainer.records.rules import definition_of, document_of
from trainer.records.schedule import next_check_us

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from trainer.records.policy import Definition

POLICIES_MAX = 1_000
REASON_CHARS_MAX = 1_000

# Short enough for the names of its runs' experiments.
_ID = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_table = tables.policies


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy and how it stands.

    Attributes
    ----------
    next_check_us
        When its next check is due; 0: none is.
    failures
        How many of its runs failed in a row.
    etag
        The revision of its last change.
    """

    id: str
    definition: Definition
    paused: bool
    pause_reason: str
    next_check_us: int
    failures: int
    created_us: int
    created_by: str
    etag: int


def resource(policy_id: str) -> str:
    """Return the resource name of a policy."""
    return f"policies/{policy_id}"


def create_policy(
    tx: Connection, policy_id: str, definition: Definition, *, actor: str, now_us: int, chance: float
) -> Policy:
    """Keep a policy and return it, or raise PolicyExistsError or PolicyInvalidError."""
    if _ID.fullmatch(policy_id) is None:
        raise PolicyInvalidError(
            f"{policy_id[:80]!r} cannot be a policy's name: 1 to 40 of a-z, 0-9, '-' and '_', beginning with a letter",
            field="policy_id",
        )
    names = list(tx.execute(select(_table.c.id)).scalars())
    if policy_id in names:
        raise PolicyExistsError(f"there is a policy {policy_id!r} already", policy=policy_id)
    if len(names) >= POLICIES_MAX:
        raise PolicyInvalidError(f"there are {POLICIES_MAX} policies already, as many as there may be")
    revision = _record(tx, policy_id, "created", definition, actor=actor, now_us=now_us, after=document_of(definition))
    tx.execute(
        insert(_table).values(
            id=policy_id,
            model=definition.model,
            definition=document_of(definition),
            paused=False,
            pause_reason="",
            next_check_us=next_check_us(definition.check, after_us=now_us, chance=chance),
            latest_check=0,
            latest_run=0,
            failures=0,
            created_us=now_us,
            created_by=actor,
            etag=revision,
        )
    )
    return get_policy(tx, policy_id)


def get_policy(tx: Connection, policy_id: str) -> Policy:
    """Return the policy, or raise PolicyMissingError."""
    row = tx.execute(select(_table).where(_table.c.id == policy_id)).one_or_none()
    if row is None:
        raise PolicyMissingError(f"there is no policy {policy_id[:63]!r}", policy=policy_id[:63])
    return _policy(row)


def list_policies(tx: Connection, *, after: str = "", limit_max: int = POLICIES_MAX) -> list[Policy]:
    """Return the policies behind a name, by name."""
    query = select(_table).where(_table.c.id > after).order_by(_table.c.id).limit(limit_max)
    return [_policy(row) for row in tx.execute(query)]


def update_policy(
    tx: Connection, policy_id: str, definition: Definition, *, etag: str, actor: str, now_us: int, chance: float
) -> Policy:
    """Replace a policy's definition and return it, or raise PolicyMissingError or PolicyChangedError."""
    present = get_policy(tx, policy_id)
    _check_etag(present, etag)
    before, after = document_of(present.definition), document_of(definition)
    changed = {name for name in after if before[name] != after[name]}
    if not changed:
        return present
    revision = _record(
        tx,
        policy_id,
        "updated",
        definition,
        actor=actor,
        now_us=now_us,
        before={name: before[name] for name in changed},
        after={name: after[name] for name in changed},
    )
    values: dict[str, Any] = {"definition": after, "model": definition.model, "etag": revision}
    if "check" in changed and not present.paused:
        values["next_check_us"] = next_check_us(definition.check, after_us=now_us, chance=chance)
    tx.execute(update(_table).where(_table.c.id == policy_id).values(values))
    return get_policy(tx, policy_id)


def pause_policy(tx: Connection, policy_id: str, *, reason: str, actor: str, now_us: int) -> Policy:
    """Keep the policy from checks and runs and return it, or raise PolicyMissingError; one that is paused stays so."""
    present = get_policy(tx, policy_id)
    if present.paused:
        return present
    reason = reason[:REASON_CHARS_MAX]
    revision = _record(tx, policy_id, "paused", present.definition, actor=actor, now_us=now_us, reason=reason)
    _set(tx, policy_id, paused=True, pause_reason=reason, next_check_us=0, etag=revision)
    if present.definition.notifications.on_completion:
        note(tx, present, "paused", resource(policy_id), now_us=now_us, reason=reason)
    return get_policy(tx, policy_id)


def resume_policy(tx: Connection, policy_id: str, *, actor: str, now_us: int, chance: float) -> Policy:
    """Let the policy go on and return it, or raise PolicyMissingError; its count of failures begins anew."""
    present = get_policy(tx, policy_id)
    if not present.paused:
        return present
    revision = _record(tx, policy_id, "resumed", present.definition, actor=actor, now_us=now_us)
    due_us = next_check_us(present.definition.check, after_us=now_us, chance=chance)
    _set(tx, policy_id, paused=False, pause_reason="", next_check_us=due_us, failures=0, etag=revision)
    return get_policy(tx, policy_id)


def delete_policy(tx: Connection, policy_id: str, *, etag: str, actor: str, now_us: int) -> int:
    """Remove a policy with its checks and runs and return the revision.

    Raises
    ------
    PolicyMissingError, PolicyChangedError
        There is none, or another one than the caller has seen.
    RunOpenError
        It has a run that is not over.
    """
    present = get_policy(tx, policy_id)
    _check_etag(present, etag)
    runs = tables.runs
    is_open = runs.c.state.in_([state.value for state in OPEN])
    if tx.execute(select(runs.c.number).where(runs.c.policy == policy_id, is_open)).first() is not None:
        raise RunOpenError(f"{policy_id!r} has a run that is not over: cancel it first", policy=policy_id)
    for table in (tables.run_events, tables.run_steps, tables.runs, tables.checks):
        tx.execute(delete(table).where(table.c.policy == policy_id))
    tx.execute(delete(_table).where(_table.c.id == policy_id))
    return _record(
        tx,
        policy_id,
        "deleted",
        present.definition,
        actor=actor,
        now_us=now_us,
        before=document_of(present.definition),
    )


def note(tx: Connection, policy: Policy, what: str, about: str, *, now_us: int, **detail: object) -> None:
    """Tell webhooks that something happened: `training.triggered` and so on."""
    named = policy.definition.notifications.channels
    channels = {"channels": list(named)} if named else {}
    record_change(
        tx,
        kind=f"training.{what}",
        resource=about,
        actor="trainer",
        detail={"policy": resource(policy.id), "model": f"models/{policy.definition.model}", **channels, **detail},
        now_us=now_us,
    )


def _check_etag(policy: Policy, etag: str) -> None:
    if etag and etag != str(policy.etag):
        raise PolicyChangedError(
            f"{policy.id!r} has changed since you looked: its etag is {policy.etag}, not {etag[:80]}",
            policy=policy.id,
            etag=policy.etag,
        )


def _record(
    tx: Connection, policy_id: str, what: str, definition: Definition, *, actor: str, now_us: int, **said: Any
) -> int:
    before, after = said.pop("before", None), said.pop("after", None)
    return record_change(
        tx,
        kind=f"policy.{what}",
        resource=resource(policy_id),
        actor=actor,
        detail={"model": f"models/{definition.model}", **said},
        before=before,
        after=after,
        now_us=now_us,
    )


def _set(tx: Connection, policy_id: str, **values: object) -> None:
    tx.execute(update(_table).where(_table.c.id == policy_id).values(values))


def _policy(row: Row[Any]) -> Policy:
    return Policy(
        id=row.id,
        definition=definition_of(row.definition),
        paused=row.paused,
        pause_reason=row.pause_reason,
        next_check_us=row.next_check_us,
        failures=row.failures,
        created_us=row.created_us,
        created_by=row.created_by,
        etag=row.etag,
    )
