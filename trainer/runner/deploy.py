"""What becomes of a version that was blessed: nothing yet, a shadow, an experiment, a ramp, or the champion at once.

Each is told to the gateway in a way that may be repeated: a trainer that was killed in the middle tells it again.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.champion import find_champion
from trainer.records.policy import DeploymentMode
from turnout import resources
from turnout.errors import ExistsError
from turnout.experiments.v1 import experiment_service_pb2 as experiments_pb
from turnout.experiments.v1 import ramp_pb2, shadow_service_pb2
from turnout.registry.v1 import registry_service_pb2 as registry_pb
from turnout.rollout import PROVEN_AT, SHARES

if TYPE_CHECKING:
    from trainer.records.policy import Definition
    from turnout.control import Control


@dataclass(frozen=True, slots=True)
class End:
    """What became of a version: the state of its run, why, and the experiment that gives it traffic."""

    state: str
    mode: str
    finding: str
    experiment: str = ""


def deploy(control: Control, definition: Definition, run: str, version: int) -> End:
    """Give a version what the policy says, and return what became of it.

    Raises
    ------
    turnout.errors.PreconditionError
        A gate of the registry, or something that runs already, does not let it.
    """
    mode, champion = definition.deployment.mode, find_champion(control, definition.model)
    if mode is DeploymentMode.NONE:
        return End("published", mode, "it waits for somebody to give it traffic")
    if champion is not None and champion.version == version:
        return End("deployed", mode, "it is the champion")
    if champion is None or mode is DeploymentMode.IMMEDIATE:
        return _promote(control, definition, run, version, generation=champion.generation if champion else None)
    if mode is DeploymentMode.SHADOW:
        shadow = shadow_service_pb2.Shadow(
            name=resources.shadow_name(definition.model), version=version, share=definition.deployment.shadow_share
        )
        control.shadows.SetShadow(shadow_service_pb2.SetShadowRequest(shadow=shadow, reason=run))
        return End("deployed", mode, f"it runs in the shadow of version {champion.version}")
    return _try(control, definition, run, version)


def _promote(control: Control, definition: Definition, run: str, version: int, *, generation: int | None) -> End:
    request = registry_pb.PromoteVersionRequest(
        name=resources.version_name(definition.model, version), reason=f"blessed by {run}", generation=generation
    )
    control.registry.PromoteVersion(request)
    return End("deployed", definition.deployment.mode, "it is the champion")


def _try(control: Control, definition: Definition, run: str, version: int) -> End:
    """Compare it with the champion on live traffic."""
    name = run.removeprefix("policies/").replace("/runs/", "-run-")
    request = experiments_pb.CreateExperimentRequest(
        experiment_id=name, experiment=_experiment(definition, run, version)
    )
    with contextlib.suppress(ExistsError):  # from before this trainer was killed
        control.experiments.CreateExperiment(request)
    full_name = resources.experiment_name(name)
    present = control.experiments.GetExperiment(experiments_pb.GetExperimentRequest(name=full_name)).experiment
    if present.state == experiments_pb.EXPERIMENT_STATE_DRAFT:
        control.experiments.StartExperiment(experiments_pb.StartExperimentRequest(name=full_name))
    return End("deploying", definition.deployment.mode, f"{name} gives it traffic", experiment=name)


def _experiment(definition: Definition, run: str, version: int) -> experiments_pb.Experiment:
    asked = definition.deployment
    better = experiments_pb.DIRECTION_INCREASE if asked.outcome_increases else experiments_pb.DIRECTION_DECREASE
    outcome = experiments_pb.Metric(
        metric=asked.outcome,
        kind=experiments_pb.METRIC_KIND_MEAN,
        outcome=asked.outcome,
        direction=better,
        role=experiments_pb.METRIC_ROLE_SUCCESS,
    )
    if asked.outcome_margin:
        outcome.absolute_margin = asked.outcome_margin
    experiment = experiments_pb.Experiment(
        model=resources.model_name(definition.model),
        description=f"version {version}, made by {run}",
        variants=[
            experiments_pb.Variant(variant="champion", alias="champion", share=0.5, control=True),
            experiments_pb.Variant(variant="candidate", version=version, share=0.5),
        ],
        coverage=1.0,
        metrics=[outcome],
    )
    if asked.mode is DeploymentMode.RAMP:
        experiment.ramp.promote = True
        for share in asked.shares or SHARES:
            step = ramp_pb2.RampStep(
                share=share,
                minimum_time_us=asked.step_time_us,
                minimum_units=asked.step_units,
                proven=share == PROVEN_AT,
            )
            experiment.ramp.steps.append(step)
    return experiment
