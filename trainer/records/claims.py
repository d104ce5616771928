"""What trainers do to runs: claim, renew, report, finish. Each but the claim shows the fencing token of the claim.

A claim is a lease by the database's own time, so that all who share the database agree when it ends. What trainers say
is written in the transaction that renewed the lease: whoever lost it writes nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from storage.leases import Lease, acquire, database_now_us, renew
from storage.revision import record_change
from storage.schema import leases
from trainer.records import tables
from trainer.records.errors import RunStateError, StepInvalidError
from trainer.records.life import FINISHING, UNTRIED, RunState, Step, check_move
from trainer.records.moves import add_event, end_run, lease_name
from trainer.records.policies import get_policy, note
from trainer.records.runs import Run, get_run, open_runs, steps_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

LEASE_US = 30_000_000
LEASE_US_RANGE = (1_000_000, 600_000_000)
MOMENT_US = 1_000_000
RESULT_BYTES_MAX = 256 * 1024
TRAINER_CHARS_MAX = 256


def is_claimable(tx: Connection) -> bool:
    """Return whether there may be a run to take: a look that costs little."""
    return bool(open_runs(tx, tuple(UNTRIED)))


def claim_run(tx: Connection, trainer: str, *, lease_us: int = LEASE_US, now_us: int) -> tuple[Run, int] | None:
    """Return the oldest run that waits, or whose trainer is gone, and the token of the claim; None: there is none.

    Parameters
    ----------
    trainer
        Who takes it.
    lease_us
        How long the claim lasts.
    now_us
        The time that events are dated by; the claim goes by the database's.
    """
    for run in open_runs(tx, tuple(UNTRIED)):
        lease = acquire(
            tx,
            name=lease_name(run.policy, run.number),
            holder=trainer,
            duration_us=lease_us,
            now_us=database_now_us(tx),
        )
        if lease is None:
            continue
        check_move(run.name, run.state, RunState.RUNNING)
        add_event(tx, run.policy, run.number, "claimed", f"by {trainer}", now_us=now_us)
        if run.state is RunState.QUEUED:
            _begin(tx, run, trainer, now_us=now_us)
        _set(tx, run, state=RunState.RUNNING.value, trainer=trainer)
        return get_run(tx, run.policy, run.number), lease.token
    return None


def hold(tx: Connection, policy: str, number: int, token: int, *, lease_us: int = 0) -> Run:
    """Return the run, or raise LeaseLostError when the claim is another's, or the run is over.

    The claim lasts for `lease_us` from now on; 0: as long as it did, and a moment for what is done under it.
    """
    run, name, now_us = get_run(tx, policy, number), lease_name(policy, number), database_now_us(tx)
    until_us = tx.execute(select(leases.c.expires_us).where(leases.c.name == name)).scalar() or 0
    duration_us = lease_us or max(until_us - now_us, MOMENT_US)
    renew(tx, Lease(name, run.trainer, token, 0), duration_us=duration_us, now_us=now_us)
    return run


def report_step(
    tx: Connection, run: Run, step: Step, *, result: str = "", done: bool, message: str, now_us: int
) -> Run:
    """Keep that a step of a run was begun or done, and return the run.

    A step that is done stays as it is: whoever reports it again is told what was kept.

    Raises
    ------
    RunStateError
        A step before it is not done.
    StepInvalidError
        The result is not a JSON object, or too large.
    """
    if done:
        _check_result(result)
    present = {each.step: each for each in steps_of(tx, run.policy, run.number)}
    earlier = list(Step)[: list(Step).index(step)]
    missing = [each for each in earlier if each not in present or not present[each].done]
    if missing:
        raise RunStateError(f"{run.name}: the step {missing[0]} comes before {step}", run=run.name)
    kept = present.get(step)
    if kept is None or not kept.done:
        _keep(tx, run, step, begun=kept is not None, done=done, result=result, now_us=now_us)
        add_event(tx, run.policy, run.number, "step_done" if done else "step_begun", message or step, now_us=now_us)
    elif message:
        add_event(tx, run.policy, run.number, "said", message, now_us=now_us)
    return get_run(tx, run.policy, run.number)


def say(tx: Connection, run: Run, message: str, *, now_us: int) -> Run:
    """Keep a line of what goes on in a run."""
    add_event(tx, run.policy, run.number, "said", message, now_us=now_us)
    return run


def finish_run(
    tx: Connection, run: Run, state: RunState, findings: Sequence[str], *, experiment: str, now_us: int
) -> Run:
    """Bring a run to what its trainer says it came to, and return it, or raise RunStateError."""
    if state not in FINISHING:
        raise RunStateError(f"a trainer cannot say that {run.name} is {state}", run=run.name)
    if state not in (RunState.REFUSED, RunState.FAILED) and not run.version:
        raise RunStateError(f"{run.name} has no version: it cannot be {state}", run=run.name)
    return end_run(tx, run, state, findings, actor=run.trainer, now_us=now_us, experiment=experiment)


def published_by(tx: Connection, policy: str, number: int, token: int, *, model: str) -> int:
    """Return the version that a run has published; 0: none yet.

    Raises
    ------
    LeaseLostError
        The claim does not stand.
    RunStateError
        The run is for another model.
    """
    run = hold(tx, policy, number, token)
    if run.model != model:
        raise RunStateError(f"{run.name} is for the model {run.model!r}, not for {model[:63]!r}", run=run.name)
    return run.version


def note_version(tx: Connection, policy: str, number: int, version: int, *, now_us: int) -> None:
    """Keep which version a run has published, in the transaction that publishes it: it was blessed."""
    run = get_run(tx, policy, number)
    _set(tx, run, version=version)
    kept = get_policy(tx, policy)
    if kept.definition.notifications.on_completion:
        note(tx, kept, "blessed", run.name, now_us=now_us, version=version)


def _begin(tx: Connection, run: Run, trainer: str, *, now_us: int) -> None:
    """Write down that a run that waited is worked on now."""
    detail = {"model": f"models/{run.model}"}
    record_change(tx, kind="run.started", resource=run.name, actor=trainer, detail=detail, now_us=now_us)
    policy = get_policy(tx, run.policy)
    if policy.definition.notifications.on_trigger:
        note(tx, policy, "started", run.name, now_us=now_us, trainer=trainer)


def _keep(tx: Connection, run: Run, step: Step, *, begun: bool, done: bool, result: str, now_us: int) -> None:
    table = tables.run_steps
    values = {"done": done, "result": result if done else "", "done_us": now_us if done else 0}
    if not begun:
        key = {"policy": run.policy, "run": run.number, "step": step.value}
        tx.execute(insert(table).values(**key, **values, began_us=now_us, attempts=1))
        return
    if not done:
        values["attempts"] = table.c.attempts + 1
    here = (table.c.policy == run.policy) & (table.c.run == run.number) & (table.c.step == step.value)
    tx.execute(update(table).where(here).values(values))


def _check_result(result: str) -> None:
    if len(result.encode()) > RESULT_BYTES_MAX:
        raise StepInvalidError(f"a step's result has at most {RESULT_BYTES_MAX} bytes", bytes_max=RESULT_BYTES_MAX)
    try:
        fits = isinstance(json.loads(result or "{}"), dict)
    except ValueError:
        fits = False
    if not fits:
        raise StepInvalidError("a step's result is a JSON object")


def _set(tx: Connection, run: Run, **values: object) -> None:
    found = tables.runs
    tx.execute(update(found).where(found.c.policy == run.policy, found.c.number == run.number).values(values))
