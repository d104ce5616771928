"""What becomes of a version that was blessed: nothing yet, a shadow, an experiment, a ramp, or the champion at once.

All of it is in the caller's transaction, which ends the trainer's claim too: a trainer that is killed leaves all of it
or nothing, and one whose run was superseded nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from experiments import life, records, shadows
from experiments.definition import Experiment, Variant
from experiments.metric import Direction, Metric, MetricKind, Role
from experiments.ramp.definition import DEFAULT_SHARES, EVEN, Ramp
from experiments.ramp.definition import Step as RampStep
from experiments.shadow import Shadow
from gateway.control.experiments import champion_of, resolve
from registry import champion
from trainer.records.errors import ChampionChangedError
from trainer.records.life import RunState, Step
from trainer.records.policy import DeploymentMode, OutcomeMetric

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from registry.clearance import Support
    from trainer.records.policy import Deployment
    from trainer.records.runs import Run


@dataclass(frozen=True, slots=True)
class End:
    """What became of a version: the state of its run, why, and the experiment that gives it traffic."""

    state: RunState
    finding: str
    experiment: str = ""


def promotes(tx: Connection, run: Run) -> bool:
    """Return whether the run's version is to become the champion at once, so that the gates are asked."""
    mode = run.definition.deployment.mode
    return mode is DeploymentMode.IMMEDIATE or (mode is not DeploymentMode.NONE and not champion_of(tx, run.model))


def deploy(tx: Connection, run: Run, support: Support, *, actor: str, now_us: int) -> End:
    """Give a run's version what its policy says, and return what became of it.

    Parameters
    ----------
    support
        What the gates of the registry look at, where the version is to become the champion.

    Raises
    ------
    ChampionChangedError
        The version was judged against another one than the champion.
    GatesNotPassedError, TaintedError, ModelBusyError
        The registry does not let it, or other experiments hold the model's units.
    """
    asked, present = run.definition.deployment, champion_of(tx, run.model)
    if asked.mode is DeploymentMode.NONE:
        return End(RunState.PUBLISHED, "it waits for somebody to give it traffic")
    if present == run.version:
        return End(RunState.DEPLOYED, "it is the champion")
    _check_judged(run, present)
    if promotes(tx, run):
        reason = f"blessed by {run.name}"
        champion.promote(tx, run.model, run.version, reason=reason, support=support, actor=actor, now_us=now_us)
        return End(RunState.DEPLOYED, "it is the champion")
    if asked.mode is DeploymentMode.SHADOW:
        shadow = Shadow(model=run.model, version=run.version, share=asked.shadow_share)
        shadows.put(tx, shadow, reason=run.name, actor=actor, now_us=now_us)
        return End(RunState.DEPLOYED, f"it runs in the shadow of version {present}")
    wanted = resolve(tx, _experiment(run, asked))
    records.create(tx, wanted, actor=actor, now_us=now_us)
    life.start(tx, wanted.id, actor=actor, now_us=now_us)
    return End(RunState.DEPLOYING, f"{wanted.id} gives it traffic", wanted.id)


def _check_judged(run: Run, present: int) -> None:
    """Raise ChampionChangedError unless the champion is the version that the candidate was judged against."""
    table = next((each for each in run.steps if each.step is Step.TABLE), None)
    said = json.loads(table.result or "{}") if table else {}
    if "champion" not in said:
        return
    judged = (said["champion"] or {}).get("version", 0)
    if judged != present:
        was, now = (f"version {each}" if each else "no version" for each in (judged, present))
        raise ChampionChangedError(
            f"{run.name}: version {run.version} was judged when {was} was the champion, and {now} is it now",
            run=run.name,
            champion=present,
        )


def _experiment(run: Run, asked: Deployment) -> Experiment:
    """Return what compares the version with the champion on live traffic."""
    ramp = None
    if asked.mode is DeploymentMode.RAMP:
        steps = [
            RampStep(share, minimum_time_us=asked.step_time_us, minimum_units=asked.step_units, proven=share == EVEN)
            for share in asked.shares or DEFAULT_SHARES
        ]
        ramp = Ramp(tuple(steps), promote=steps[-1].share == 1)
    return Experiment(
        id=f"{run.policy}-run-{run.number}",
        model=run.model,
        description=f"version {run.version}, made by {run.name}",
        variants=(
            Variant("champion", 0, 0.5, control=True, alias="champion"),
            Variant("candidate", run.version, 0.5),
        ),
        metrics=(_metric(asked, window_us=run.definition.data.label_delay_us),),
        ramp=ramp,
    )


def _metric(asked: Deployment, *, window_us: int) -> Metric:
    """Return what the arms are compared by, over calls whose labels are due: no arm has more of the young ones."""
    metric = Metric(
        metric=asked.outcome,
        kind=MetricKind.MEAN,
        outcome=asked.outcome,
        direction=Direction.INCREASE if asked.outcome_increases else Direction.DECREASE,
        role=Role.SUCCESS,
        absolute_margin=asked.outcome_margin,
        window_us=window_us,
    )
    if asked.outcome_metric is OutcomeMetric.MEAN:
        return metric
    return replace(metric, kind=MetricKind.SQUARED_ERROR, output=asked.output, output_index=asked.output_index)
