"""What people may do to a ramp, and ask of it; what it does by itself is in `gateway.control.ramping`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments import records
from experiments.analysis.sequence import TUNED_UNITS_DEFAULT
from experiments.errors import RampInvalidError, RampMovedError
from experiments.holdout import holdout_of, set_holdout
from experiments.metric import Role
from experiments.ramp import bounds, moves, rows
from experiments.ramp.definition import GuardrailKind
from experiments.ramp.outcomes import metric_alpha
from experiments.ramp.safety import SETTLED_CALLS, alpha_of
from experiments.ramp.standing import OPEN, Grounds, RampEventKind
from experiments.ramp.usual import CALLS_MIN
from gateway.control.ramp_leases import Judges, judges_of
from registry import models

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from experiments.definition import Experiment
    from experiments.holdout import Holdout
    from experiments.ramp.definition import Guardrail
    from experiments.ramp.standing import RampEvent, Standing
    from gateway.control.followed import Followed
    from storage.clock import Clock
    from storage.database import Database


@dataclass(frozen=True, slots=True)
class RampView:
    """A ramp as it is shown.

    Parameters
    ----------
    known
        What this gateway counts of it; None where another one looks after it, and when it is over.
    judges
        Which gateway looks after it, and which are there besides.
    """

    experiment: Experiment
    standing: Standing
    known: Followed | None
    judges: Judges


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that is asked about: see `PreviewRampRequest`."""

    rise: float = bounds.DEFAULT_RISE
    baseline: float = bounds.DEFAULT_BASELINE
    variance: float = 0.25
    confidence: float = bounds.DEFAULT_CONFIDENCE


@dataclass(frozen=True, slots=True)
class StatedBound:
    """How much a fault reaches at most, by a guardrail in a step, or by a metric (step 0); None: it is never seen."""

    guardrail: str
    metric: str
    step: int
    units: int | None
    bad_units: int


class RampControl:
    """Answers for ramps and hold-outs: one transaction for each change.

    Parameters
    ----------
    database, clock
        Where they are kept, and the time that changes are dated by.
    known
        What this gateway counts of an experiment's ramp.
    """

    def __init__(self, *, database: Database, clock: Clock, known: Callable[[str], Followed | None]) -> None:
        self._database = database
        self._clock = clock
        self._known = known

    def get(self, experiment_id: str) -> RampView:
        """Return where a ramp stands, or raise ExperimentMissingError or RampMissingError."""
        with self._database.read() as tx:
            experiment = records.get(tx, experiment_id)
            moves.ramp_of(experiment)
            standing = rows.get_standing(tx, experiment_id)
            goes = standing.state in OPEN
            judges = judges_of(tx, experiment_id) if goes else Judges()
            return RampView(experiment, standing, self._known(experiment_id), judges)

    def events(self, experiment_id: str, *, after: int, limit_max: int) -> list[RampEvent]:
        """Return at most so many events, those whose number comes after `after`."""
        with self._database.read() as tx:
            moves.ramp_of(records.get(tx, experiment_id))
            return rows.list_events(tx, experiment_id, after=after, limit_max=limit_max)

    def pause(self, experiment_id: str, *, reason: str, actor: str) -> RampView:
        """Keep a ramp where it is; raises as `get` does, and RampStateError."""
        self._note(experiment_id, RampEventKind.PAUSED, reason=reason, actor=actor)
        return self.get(experiment_id)

    def resume(self, experiment_id: str, *, reason: str, actor: str) -> RampView:
        """Let a paused ramp go on; raises as `pause` does."""
        self._note(experiment_id, RampEventKind.RESUMED, reason=reason, actor=actor)
        return self.get(experiment_id)

    def approve(self, experiment_id: str, step: int, *, reason: str, actor: str) -> RampView:
        """Approve the step in force; raises as `pause` does, and RampMovedError when it is another one."""
        self._note(experiment_id, RampEventKind.APPROVED, reason=reason, actor=actor, step=step)
        return self.get(experiment_id)

    def abort(self, experiment_id: str, *, reason: str, actor: str) -> tuple[RampView, int]:
        """Take the candidate away, and return the ramp and the revision; raises as `pause` does."""
        with self._database.write() as tx:
            seen = rows.get_standing(tx, experiment_id)
            changed = moves.end(tx, seen, RampEventKind.ABORTED, self._grounds(reason, actor))
        return self.get(experiment_id), changed.revision

    def preview(self, experiment_id: str, fault: Fault) -> list[StatedBound]:
        """Return how much a fault reaches at most, or raise RampMissingError, or RampInvalidError for no such fault."""
        with self._database.read() as tx:
            experiment = records.get(tx, experiment_id)
        moves.ramp_of(experiment)
        _check(fault)
        return [*_of_guardrails(experiment, fault), *_of_metrics(experiment, fault)]

    def holdout(self, model: str) -> Holdout:
        """Return what is held out of a model, or raise ModelMissingError."""
        with self._database.read() as tx:
            models.get_model(tx, model)
            return holdout_of(tx, model)

    def set_holdout(self, model: str, share: float, *, etag: str, actor: str) -> tuple[Holdout, int]:
        """Hold a part of a model's units out; raises as `holdout` and `experiments.holdout.set_holdout` do."""
        with self._database.write() as tx:
            models.get_model(tx, model)
            return set_holdout(tx, model, share, etag=etag, actor=actor, now_us=self._clock.now_us())

    def _note(self, experiment_id: str, kind: RampEventKind, *, reason: str, actor: str, step: int = 0) -> None:
        with self._database.write() as tx:
            seen = _seen(tx, experiment_id)
            if step and step != seen.step:
                raise RampMovedError(
                    f"the ramp of {experiment_id!r} is at step {seen.step}, not at {step}", experiment=experiment_id
                )
            rows.note(tx, seen, kind, self._grounds(reason, actor))

    def _grounds(self, reason: str, actor: str) -> Grounds:
        return Grounds(reasons=(reason,) if reason else (), actor=actor, now_us=self._clock.now_us())


def _seen(tx: Connection, experiment_id: str) -> Standing:
    moves.ramp_of(records.get(tx, experiment_id))
    return rows.get_standing(tx, experiment_id)


def _of_guardrails(experiment: Experiment, fault: Fault) -> list[StatedBound]:
    ramp = moves.ramp_of(experiment)
    found = []
    for number, step in enumerate(ramp.steps, 1):
        if step.share == 1:
            continue
        for each in ramp.guardrails:
            bound = bounds.detection_bound(
                baseline=fault.baseline,
                rise=fault.rise,
                tolerance=each.tolerance,
                alpha=alpha_of(ramp),
                confidence=fault.confidence,
                control_per_candidate=min(1.0, (1 - step.share) / step.share),
                passed_over=_passed_over(each),
            )
            units, bad_units = (None, 0) if bound is None else (bound.units, bound.bad_units)
            found.append(StatedBound(each.name, "", number, units, bad_units))
    return found


def _passed_over(guardrail: Guardrail) -> int:
    """Return how many units of the control may come before it is known what is slow."""
    learns = guardrail.kind is GuardrailKind.LATENCY and not guardrail.limit_us
    return CALLS_MIN + SETTLED_CALLS if learns else 0


def _of_metrics(experiment: Experiment, fault: Fault) -> list[StatedBound]:
    alpha = metric_alpha(experiment, moves.ramp_of(experiment))
    units = bounds.outcome_bound(
        effect=fault.rise,
        variance=fault.variance,
        alpha=alpha,
        minimum_units=experiment.minimum_units,
        tuned_units=experiment.plan.planned_units or TUNED_UNITS_DEFAULT,
        confidence=fault.confidence,
    )
    deciding = [each for each in experiment.metrics if each.role is not Role.MONITORING]
    return [StatedBound("", each.metric, 0, units, 0) for each in deciding]


def _check(fault: Fault) -> None:
    if not 0 <= fault.baseline < 1 or not fault.rise > 0:
        raise RampInvalidError("a fault has a baseline from 0 to below 1, and a rise above 0")
    if not 0 < fault.variance < float("inf") or not 0.5 <= fault.confidence < 1:  # noqa: PLR2004
        raise RampInvalidError("a variance is above 0, and a confidence from 0.5 to below 1")
