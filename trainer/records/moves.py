"""How runs are made and how they end. What is written is one transaction's; the caller shows his claim before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select, update

from storage.leases import Lease, release
from storage.revision import record_change
from storage.schema import leases
from trainer.records import tables
from trainer.records.errors import PolicyPausedError, RunOpenError
from trainer.records.life import OPEN, UNTRIED, RunState, check_move
from trainer.records.policies import get_policy, note, pause_policy
from trainer.records.rules import document_of
from trainer.records.runs import Run, get_run, open_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

MESSAGE_CHARS_MAX = 1_000
FINDINGS_MAX = 64
_RUN_OF = "trainer.run"
_ON_COMPLETION = {
    RunState.DEPLOYED: "deployed",
    RunState.REFUSED: "refused",
    RunState.ROLLED_BACK: "rolled_back",
    RunState.FAILED: "failed",
}
"""What webhooks are told when a run comes to a state."""


def lease_name(policy: str, number: int) -> str:
    """Return the name of the lease of whoever works on a run."""
    return f"{_RUN_OF}.{policy}.{number}"


def start_run(
    tx: Connection,
    policy_id: str,
    *,
    reason: str,
    actor: str,
    now_us: int,
    trigger: str = "",
    check: int = 0,
    supersede: bool = False,
) -> Run:
    """Make a run and return it.

    Raises
    ------
    PolicyMissingError, PolicyPausedError
        There is no such policy, or it is paused.
    RunOpenError
        The model has a run that is not over, and it is not to be superseded, or it has traffic.
    """
    policy = get_policy(tx, policy_id)
    if policy.paused:
        raise PolicyPausedError(f"{policy_id!r} is paused: {policy.pause_reason}", policy=policy_id)
    for other in open_runs(tx, model=policy.definition.model):
        if not supersede or other.state not in UNTRIED:
            raise RunOpenError(f"{other.name} is {other.state}: a model has one run at a time", run=other.name)
        end_run(tx, other, RunState.SUPERSEDED, [f"superseded: {reason}"], actor=actor, now_us=now_us)
    counting = update(tables.policies).where(tables.policies.c.id == policy_id)
    counting = counting.values(latest_run=tables.policies.c.latest_run + 1)
    number: int = tx.execute(counting.returning(tables.policies.c.latest_run)).scalar_one()
    detail = {
        "trigger": trigger,
        "reason": reason[:MESSAGE_CHARS_MAX],
        "model": f"models/{policy.definition.model}",
    }
    name = f"policies/{policy_id}/runs/{number}"
    revision = record_change(tx, kind="run.queued", resource=name, actor=actor, detail=detail, now_us=now_us)
    tx.execute(
        insert(tables.runs).values(
            policy=policy_id,
            number=number,
            model=policy.definition.model,
            state=RunState.QUEUED.value,
            trigger=trigger,
            check=check,
            reason=reason[:MESSAGE_CHARS_MAX],
            actor=actor,
            definition=document_of(policy.definition),
            as_of_us=now_us,
            version=0,
            experiment="",
            findings=[],
            trainer="",
            created_us=now_us,
            ended_us=0,
            etag=revision,
        )
    )
    add_event(tx, policy_id, number, "queued", reason, now_us=now_us)
    if trigger and policy.definition.notifications.on_trigger:
        note(tx, policy, "triggered", name, now_us=now_us, trigger=trigger, reason=detail["reason"])
    return get_run(tx, policy_id, number)


def end_run(
    tx: Connection,
    run: Run,
    state: RunState,
    findings: Sequence[str],
    *,
    actor: str,
    now_us: int,
    experiment: str = "",
    since_us: int = 0,
) -> Run:
    """Bring a run to a state behind its work and return it, or raise RunStateError. Nobody holds a claim on it then.

    So many failures in a row as the budget names pause the policy.

    Parameters
    ----------
    since_us
        When it was over, where that was found later; 0: now.
    """
    check_move(run.name, run.state, state)
    said = [each[:MESSAGE_CHARS_MAX] for each in findings[:FINDINGS_MAX]]
    revision = record_change(
        tx,
        kind=f"run.{state.value}",
        resource=run.name,
        actor=actor,
        detail={"model": f"models/{run.model}", "findings": said, "version": run.version},
        before={"state": run.state.value},
        after={"state": state.value},
        now_us=now_us,
    )
    _set(
        tx,
        run,
        state=state.value,
        findings=said,
        experiment=experiment or run.experiment,
        ended_us=0 if state in OPEN else since_us or now_us,
        etag=revision,
    )
    add_event(tx, run.policy, run.number, state.value, "; ".join(said), now_us=now_us)
    release_claim(tx, run)
    policy = get_policy(tx, run.policy)
    told = _ON_COMPLETION.get(state)
    if told and policy.definition.notifications.on_completion:
        note(tx, policy, told, run.name, now_us=now_us, findings=said, version=run.version)
    failures = policy.failures + 1 if state is RunState.FAILED else 0
    tx.execute(update(tables.policies).where(tables.policies.c.id == run.policy).values(failures=failures))
    if failures >= policy.definition.budget.failures_max and not policy.paused:
        reason = f"{failures} runs in a row failed, the last by: {said[0] if said else 'an error'}"
        pause_policy(tx, run.policy, reason=reason, actor="trainer", now_us=now_us)
    return get_run(tx, run.policy, run.number)


def release_claim(tx: Connection, run: Run) -> None:
    """Take the claim from whoever has it: all that he still says is refused."""
    found = select(leases.c.token).where(leases.c.name == lease_name(run.policy, run.number))
    token = tx.execute(found).scalar()
    if token is not None:
        release(tx, Lease(lease_name(run.policy, run.number), "", token, 0))


def add_event(tx: Connection, policy: str, number: int, kind: str, message: str, *, now_us: int) -> None:
    """Keep that something happened to a run."""
    table = tables.run_events
    last = tx.execute(select(func.max(table.c.number)).where(table.c.policy == policy, table.c.run == number)).scalar()
    tx.execute(
        insert(table).values(
            policy=policy,
            run=number,
            number=(last or 0) + 1,
            time_us=now_us,
            kind=kind,
            message=message[:MESSAGE_CHARS_MAX],
        )
    )


def _set(tx: Connection, run: Run, **values: object) -> None:
    found = tables.runs
    tx.execute(update(found).where(found.c.policy == run.policy, found.c.number == run.number).values(values))
