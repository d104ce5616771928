"""Runs as they are read: where each stands, its steps, and what happened to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from trainer.records import tables
from trainer.records.errors import RunMissingError
from trainer.records.life import OPEN, RunState, Step
from trainer.records.rules import definition_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from trainer.records.policy import Definition

_runs = tables.runs


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step that was begun.

    Attributes
    ----------
    result
        What it found, as a JSON object; empty before it is done.
    attempts
        How often it was begun.
    """

    step: Step
    done: bool
    result: str
    began_us: int
    done_us: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Run:
    """One training; see the contract's Run. A number is 0 and a text empty where there is none yet."""

    policy: str
    number: int
    model: str
    state: RunState
    trigger: str
    check: int
    reason: str
    actor: str
    definition: Definition
    as_of_us: int
    version: int
    experiment: str
    findings: tuple[str, ...]
    trainer: str
    created_us: int
    ended_us: int
    etag: int
    steps: tuple[StepRow, ...] = ()

    @property
    def name(self) -> str:
        """Its resource name."""
        return f"policies/{self.policy}/runs/{self.number}"


@dataclass(frozen=True, slots=True)
class RunEvent:
    """Something that happened to a run."""

    number: int
    time_us: int
    kind: str
    message: str


def get_run(tx: Connection, policy: str, number: int) -> Run:
    """Return the run with its steps, or raise RunMissingError."""
    row = tx.execute(select(_runs).where(_runs.c.policy == policy, _runs.c.number == number)).one_or_none()
    if row is None:
        raise RunMissingError(f"there is no run {number} of the policy {policy[:63]!r}", policy=policy[:63])
    return _run(row, steps_of(tx, policy, number))


def list_runs(tx: Connection, *, policy: str = "", before: tuple[int, str, int] | None, limit_max: int) -> list[Run]:
    """Return runs without their steps, newest first.

    Parameters
    ----------
    policy
        Only this policy's; empty: all.
    before
        Only those behind this one in that order: when it was made, its policy, its number.
    """
    query = select(_runs).order_by(_runs.c.created_us.desc(), _runs.c.policy.desc(), _runs.c.number.desc())
    if policy:
        query = query.where(_runs.c.policy == policy)
    if before is not None:
        created_us, name, number = before
        same = _runs.c.created_us == created_us
        behind = same & ((_runs.c.policy < name) | ((_runs.c.policy == name) & (_runs.c.number < number)))
        query = query.where((_runs.c.created_us < created_us) | behind)
    return [_run(row, ()) for row in tx.execute(query.limit(limit_max))]


def open_runs(tx: Connection, states: Sequence[RunState] = tuple(OPEN), *, model: str = "") -> list[Run]:
    """Return the runs in these states, oldest first; of one model when it is named."""
    query = select(_runs).where(_runs.c.state.in_([state.value for state in states]))
    if model:
        query = query.where(_runs.c.model == model)
    query = query.order_by(_runs.c.created_us, _runs.c.policy, _runs.c.number)
    return [_run(row, ()) for row in tx.execute(query)]


def steps_of(tx: Connection, policy: str, number: int) -> tuple[StepRow, ...]:
    """Return the steps that were begun, in their order."""
    table = tables.run_steps
    rows = tx.execute(select(table).where(table.c.policy == policy, table.c.run == number)).all()
    found = [StepRow(Step(row.step), row.done, row.result, row.began_us, row.done_us, row.attempts) for row in rows]
    return tuple(sorted(found, key=lambda each: list(Step).index(each.step)))


def events_of(tx: Connection, policy: str, number: int, *, after: int, limit_max: int) -> list[RunEvent]:
    """Return at most so many events, those whose number comes after `after`, oldest first."""
    table = tables.run_events
    query = select(table).where(table.c.policy == policy, table.c.run == number, table.c.number > after)
    return [
        RunEvent(row.number, row.time_us, row.kind, row.message)
        for row in tx.execute(query.order_by(table.c.number).limit(limit_max))
    ]


def judgement_of(tx: Connection, model: str, version: int) -> dict[str, Any] | None:
    """Return how the run that published a version judged it: run, verdict, reasons, comparisons; None when none did."""
    steps = tables.run_steps
    here = (steps.c.policy == _runs.c.policy) & (steps.c.run == _runs.c.number) & (steps.c.step == Step.EVALUATE.value)
    query = select(_runs.c.policy, _runs.c.number, steps.c.result).join(steps, here)
    row = tx.execute(query.where(_runs.c.model == model, _runs.c.version == version, steps.c.done)).first()
    if row is None:
        return None
    said = json.loads(row.result or "{}")
    kept = {name: said[name] for name in ("verdict", "reasons", "comparisons") if name in said}
    return {"run": f"policies/{row.policy}/runs/{row.number}", **kept}


def made_by(tx: Connection, policy: str) -> dict[str, tuple[int, int]]:
    """Return for each kind of trigger how many runs it has made, and how many of those were blessed."""
    query = (
        select(_runs.c.trigger, func.count(), func.count().filter(_runs.c.version > 0))
        .where(_runs.c.policy == policy)
        .group_by(_runs.c.trigger)
    )
    return {kind: (runs, blessed) for kind, runs, blessed in tx.execute(query)}


def _run(row: Row[Any], steps: tuple[StepRow, ...]) -> Run:
    return Run(
        policy=row.policy,
        number=row.number,
        model=row.model,
        state=RunState(row.state),
        trigger=row.trigger,
        check=row.check,
        reason=row.reason,
        actor=row.actor,
        definition=definition_of(row.definition),
        as_of_us=row.as_of_us,
        version=row.version,
        experiment=row.experiment,
        findings=tuple(row.findings),
        trainer=row.trainer,
        created_us=row.created_us,
        ended_us=row.ended_us,
        etag=row.etag,
        steps=steps,
    )
