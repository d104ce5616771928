"""Ramps in the metadata database: where each stands, and all that ever happened to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, update

from experiments import tables
from experiments.changes import record
from experiments.errors import RampMissingError, RampMovedError, RampRunsError
from experiments.ramp.standing import OPEN, Grounds, RampEvent, RampEventKind, RampState, Standing, following

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from experiments.definition import Experiment

_open = [state.value for state in OPEN]


def find_standing(tx: Connection, experiment_id: str) -> Standing | None:
    """Return where the ramp stands; None when none was started."""
    found = tables.experiment_ramps
    row = tx.execute(select(found).where(found.c.experiment == experiment_id)).first()
    return None if row is None else _standing(row)


def get_standing(tx: Connection, experiment_id: str) -> Standing:
    """Return where the ramp stands, or raise RampMissingError."""
    found = find_standing(tx, experiment_id)
    if found is None:
        raise RampMissingError(f"{experiment_id[:80]!r} has no ramp that was started", experiment=experiment_id[:80])
    return found


def list_open(tx: Connection) -> list[Standing]:
    """Return the ramps that are not over, by experiment."""
    found = tables.experiment_ramps
    query = select(found).where(found.c.state.in_(_open)).order_by(found.c.experiment)
    return [_standing(row) for row in tx.execute(query)]


def list_events(tx: Connection, experiment_id: str, *, after: int = 0, limit_max: int) -> list[RampEvent]:
    """Return at most so many events of a ramp, those whose number comes after `after`, oldest first."""
    found = tables.experiment_ramp_events
    query = select(found).where(found.c.experiment == experiment_id, found.c.number > after)
    return [
        RampEvent(
            number=row.number,
            time_us=row.time_us,
            kind=RampEventKind(row.kind),
            step=row.step,
            reasons=tuple(json.loads(row.reasons)),
            evidence=row.evidence,
            revision=row.revision,
        )
        for row in tx.execute(query.order_by(found.c.number).limit(limit_max))
    ]


def check_free(tx: Connection, experiment: Experiment) -> None:
    """Raise RampRunsError while a ramp sets the experiment's shares and coverage."""
    standing = None if experiment.ramp is None else find_standing(tx, experiment.id)
    if standing is not None and standing.state in OPEN:
        raise RampRunsError(
            f"the ramp of {experiment.id!r} sets its shares and coverage: it is at step {standing.step}; abort it, or "
            "wait until it is over",
            experiment=experiment.id,
            step=standing.step,
        )


def begin(tx: Connection, experiment_id: str, *, revision: int, now_us: int, actor: str = "") -> None:
    """Start a ramp at its first step; one before it is over, and its events are kept."""
    found = tables.experiment_ramps
    tx.execute(delete(found).where(found.c.experiment == experiment_id))
    tx.execute(
        insert(tables.experiment_ramps).values(
            experiment=experiment_id,
            state=RampState.RUNNING.value,
            step=1,
            step_began_us=now_us,
            approved=False,
            window=1,
            window_began_us=now_us,
            reasons="[]",
            etag=revision,
        )
    )
    grounds = Grounds(actor=actor, now_us=now_us)
    _add(tx, experiment_id, RampEventKind.STARTED, grounds, step=1, revision=revision)


def note(tx: Connection, seen: Standing, kind: RampEventKind, grounds: Grounds) -> int:
    """Keep an event of a ramp that is still where it was seen, move it accordingly, and return the revision.

    Raises
    ------
    RampMovedError
        Something happened to it since.
    RampStateError
        Nothing leads from its state to this.
    """
    state = following(seen, kind)
    step = seen.step + (kind is RampEventKind.ADVANCED)
    reasons = list(grounds.reasons)
    revision = record(
        tx,
        seen.experiment,
        f"ramp_{kind.value}",
        actor=grounds.actor,
        now_us=grounds.now_us,
        before={"ramp": seen.state.value, "step": seen.step},
        after={"ramp": state.value, "step": step},
        reasons=reasons,
    )
    values: dict[str, Any] = {"state": state.value, "etag": revision, "reasons": json.dumps(reasons)}
    if kind is RampEventKind.ADVANCED:
        now_us = grounds.now_us
        values |= {"step": step, "step_began_us": now_us, "approved": False, "window": 1, "window_began_us": now_us}
    if kind is RampEventKind.APPROVED:
        values["approved"] = True
    _compare_and_set(tx, seen, values)
    _add(tx, seen.experiment, kind, grounds, step=step, revision=revision)
    return revision


def turn_window(tx: Connection, seen: Standing, *, now_us: int) -> None:
    """Begin the next window of the present step, or raise RampMovedError."""
    _compare_and_set(tx, seen, {"window": seen.window + 1, "window_began_us": now_us})


def _compare_and_set(tx: Connection, seen: Standing, values: dict[str, Any]) -> None:
    ramp = tables.experiment_ramps
    same = (
        (ramp.c.experiment == seen.experiment)
        & (ramp.c.etag == seen.etag)
        & (ramp.c.step == seen.step)
        & (ramp.c.window == seen.window)
    )
    if tx.execute(update(ramp).where(same).values(values)).rowcount != 1:
        raise RampMovedError(
            f"the ramp of {seen.experiment!r} is no longer at step {seen.step} as it was seen",
            experiment=seen.experiment,
        )


def _add(
    tx: Connection, experiment_id: str, kind: RampEventKind, grounds: Grounds, *, step: int, revision: int
) -> None:
    events = tables.experiment_ramp_events
    last = tx.execute(select(func.max(events.c.number)).where(events.c.experiment == experiment_id)).scalar()
    tx.execute(
        insert(events).values(
            experiment=experiment_id,
            number=(last or 0) + 1,
            time_us=grounds.now_us,
            kind=kind.value,
            step=step,
            reasons=json.dumps(list(grounds.reasons)),
            evidence=grounds.evidence,
            revision=revision,
        )
    )


def _standing(row: Row[Any]) -> Standing:
    return Standing(
        experiment=row.experiment,
        state=RampState(row.state),
        step=row.step,
        step_began_us=row.step_began_us,
        approved=row.approved,
        window=row.window,
        window_began_us=row.window_began_us,
        reasons=tuple(json.loads(row.reasons)),
        etag=row.etag,
    )
