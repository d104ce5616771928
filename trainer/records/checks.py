"""Looks at a policy's triggers: asked for or due, claimed by a trainer, and what came of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, update

from storage.leases import Lease, acquire, database_now_us, release, renew
from trainer.records import tables
from trainer.records.errors import CheckMissingError, StepInvalidError
from trainer.records.moves import start_run
from trainer.records.policies import Policy, get_policy
from trainer.records.runs import Run, open_runs
from trainer.records.schedule import Past, next_check_us, refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

LEASE_US = 600_000_000
KEPT_MAX = 1_000
"""How many of a policy's checks are kept; those that made a run are kept beyond that."""
EVIDENCE_BYTES_MAX = 1024 * 1024
SENTENCE_CHARS_MAX = 1_000

_table = tables.checks


@dataclass(frozen=True, slots=True)
class Check:
    """One look; see the contract's Check.

    Attributes
    ----------
    evidence
        One document for each trigger: kind, verdict, sentence, evidence, runs, blessed.
    """

    policy: str
    number: int
    dry_run: bool
    done: bool
    verdict: str
    evidence: tuple[dict[str, Any], ...]
    run: int
    sentence: str
    actor: str
    created_us: int
    ended_us: int


def ask_check(tx: Connection, policy_id: str, *, actor: str, now_us: int) -> Check:
    """Ask for a look that makes no run, and return it, or raise PolicyMissingError."""
    get_policy(tx, policy_id)
    return _add(tx, policy_id, dry_run=True, actor=actor, now_us=now_us)


def get_check(tx: Connection, policy: str, number: int) -> Check:
    """Return the check, or raise CheckMissingError."""
    row = tx.execute(select(_table).where(_table.c.policy == policy, _table.c.number == number)).one_or_none()
    if row is None:
        raise CheckMissingError(f"there is no check {number} of the policy {policy[:63]!r}", policy=policy[:63])
    return _check(row)


def list_checks(tx: Connection, policy: str, *, before: int | None, limit_max: int) -> list[Check]:
    """Return a policy's checks, newest first, or raise PolicyMissingError."""
    get_policy(tx, policy)
    query = select(_table).where(_table.c.policy == policy).order_by(_table.c.number.desc()).limit(limit_max)
    if before is not None:
        query = query.where(_table.c.number < before)
    return [_check(row) for row in tx.execute(query)]


def is_due(tx: Connection, *, now_us: int) -> bool:
    """Return whether there may be a check to take: a look that costs little."""
    waits = tx.execute(select(_table.c.number).where(_table.c.done.is_(False)).limit(1)).first() is not None
    return waits or bool(_due(tx, now_us=now_us))


def claim_check(tx: Connection, trainer: str, *, now_us: int, chance: float) -> tuple[Check, Policy, int] | None:
    """Return a check to make, its policy and the token of the claim; None: none is due.

    Parameters
    ----------
    trainer
        Who makes it.
    now_us
        The time that schedules go by.
    chance
        A number in [0, 1) that decides the jitter of the next one.
    """
    for policy_id in _due(tx, now_us=now_us):
        policy = get_policy(tx, policy_id)
        due_us = next_check_us(policy.definition.check, after_us=now_us, chance=chance)
        tx.execute(update(tables.policies).where(tables.policies.c.id == policy_id).values(next_check_us=due_us))
        if not _waiting(tx, policy_id):
            _add(tx, policy_id, dry_run=False, actor="", now_us=now_us)
    for row in tx.execute(select(_table).where(_table.c.done.is_(False)).order_by(_table.c.created_us)).all():
        check = _check(row)
        lease = acquire(tx, name=_lease_name(check), holder=trainer, duration_us=LEASE_US, now_us=database_now_us(tx))
        if lease is not None:
            return check, get_policy(tx, check.policy), lease.token
    return None


def finish_check(
    tx: Connection,
    policy_id: str,
    number: int,
    token: int,
    *,
    evidence: Sequence[dict[str, Any]],
    failure: str,
    now_us: int,
) -> Check:
    """Keep what the triggers say, make a run if one fires and the budget lets it, and return the check.

    Raises
    ------
    LeaseLostError
        Another trainer makes it now, or it is done.
    StepInvalidError
        The evidence is too large.
    """
    check, policy = get_check(tx, policy_id, number), get_policy(tx, policy_id)
    lease = renew(tx, Lease(_lease_name(check), "", token, 0), duration_us=LEASE_US, now_us=database_now_us(tx))
    if len(json.dumps(list(evidence))) > EVIDENCE_BYTES_MAX:
        raise StepInvalidError(f"the evidence of a check has at most {EVIDENCE_BYTES_MAX} bytes")
    said = [each["verdict"] for each in evidence]
    verdict = "FIRE" if "FIRE" in said else "QUIET" if "QUIET" in said else "INSUFFICIENT"
    run, sentence = None, failure
    if not failure:
        run, sentence = _act(tx, check, policy, evidence, verdict, now_us=now_us)
    tx.execute(
        update(_table)
        .where(_table.c.policy == policy_id, _table.c.number == number)
        .values(
            done=True,
            verdict="" if failure else verdict,
            evidence=list(evidence),
            run=0 if run is None else run.number,
            sentence=sentence[:SENTENCE_CHARS_MAX],
            ended_us=now_us,
        )
    )
    release(tx, lease)
    forgotten = (_table.c.policy == policy_id) & (_table.c.number <= number - KEPT_MAX)
    tx.execute(delete(_table).where(forgotten, _table.c.run == 0, _table.c.done.is_(True)))
    return get_check(tx, policy_id, number)


def _act(
    tx: Connection, check: Check, policy: Policy, evidence: Sequence[dict[str, Any]], verdict: str, *, now_us: int
) -> tuple[Run | None, str]:
    """Return the run that the evidence makes, if it makes one, and a sentence."""
    if verdict != "FIRE":
        return None, "no trigger fires" if verdict == "QUIET" else "there is too little to tell by"
    fired = next(each for each in evidence if each["verdict"] == "FIRE")
    if check.dry_run:
        return None, f"{fired['kind']} fires; this was only a look"
    others = open_runs(tx, model=policy.definition.model)
    if policy.paused or others:
        why = "the policy is paused" if policy.paused else f"{others[0].name} is {others[0].state}"
        return None, f"{fired['kind']} fires, and {why}"
    why = refusal(policy.definition.budget, _past(tx, policy.id), now_us=now_us)
    if why:
        return None, f"{fired['kind']} fires, and {why}"
    run = start_run(
        tx,
        policy.id,
        reason=f"{fired['kind']}: {fired['sentence']}",
        actor="",
        trigger=fired["kind"],
        check=check.number,
        now_us=now_us,
    )
    return run, f"{fired['kind']} fires: {fired['sentence']}"


def _past(tx: Connection, policy: str) -> Past:
    runs = tables.runs
    of_policy = runs.c.policy == policy
    ended = tx.execute(select(func.max(runs.c.ended_us)).where(of_policy)).scalar()
    made = tx.execute(select(runs.c.created_us).where(of_policy, runs.c.trigger != "")).scalars()
    return Past(ended or 0, tuple(made))


def _due(tx: Connection, *, now_us: int) -> list[str]:
    policies = tables.policies
    due = (policies.c.next_check_us > 0) & (policies.c.next_check_us <= now_us) & policies.c.paused.is_(False)
    return list(tx.execute(select(policies.c.id).where(due).order_by(policies.c.next_check_us)).scalars())


def _waiting(tx: Connection, policy: str) -> bool:
    waits = (_table.c.policy == policy) & _table.c.done.is_(False) & _table.c.dry_run.is_(False)
    return tx.execute(select(_table.c.number).where(waits).limit(1)).first() is not None


def _add(tx: Connection, policy: str, *, dry_run: bool, actor: str, now_us: int) -> Check:
    counting = update(tables.policies).where(tables.policies.c.id == policy)
    counting = counting.values(latest_check=tables.policies.c.latest_check + 1)
    number: int = tx.execute(counting.returning(tables.policies.c.latest_check)).scalar_one()
    values = {"done": False, "verdict": "", "evidence": [], "run": 0, "sentence": "", "ended_us": 0}
    tx.execute(
        insert(_table).values(policy=policy, number=number, dry_run=dry_run, actor=actor, created_us=now_us, **values)
    )
    return get_check(tx, policy, number)


def _lease_name(check: Check) -> str:
    return f"trainer.check.{check.policy}.{check.number}"


def _check(row: Row[Any]) -> Check:
    return Check(
        policy=row.policy,
        number=row.number,
        dry_run=row.dry_run,
        done=row.done,
        verdict=row.verdict,
        evidence=tuple(row.evidence),
        run=row.run,
        sentence=row.sentence,
        actor=row.actor,
        created_us=row.created_us,
        ended_us=row.ended_us,
    )
