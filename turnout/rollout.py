"""The usual way to a new version: an experiment whose ramp gives it more and more of the traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnout import resources
from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.experiments.v1 import ramp_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

SHARES = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
PROVEN_AT = 0.5
MINIMUM_UNITS = 100


def gradual_rollout(
    model: str,
    target: int,
    duration_s: float,
    *,
    name: str = "",
    minimum_units: int = MINIMUM_UNITS,
    metrics: Sequence[pb.Metric] = (),
    promote: bool = True,
) -> pb.CreateExperimentRequest:
    """Return what creates the experiment that takes a version from 1 % to all of the traffic; start it to begin.

    Parameters
    ----------
    model, target
        The model's id, and the number of the version that is to become its champion.
    duration_s
        How long it takes at the least: each of the six steps a sixth of it.
    name
        The experiment's id; `{model}-to-{target}` unless given.
    minimum_units
        How many units of each arm every step must have an outcome of.
    metrics
        What is measured; at least one with the role success. Unless given, the rate of errors: whoever has labels
        should say which of them must not get worse.
    promote
        Whether the version becomes the champion at the end, if the registry's gates let it.
    """
    steps = [
        ramp_pb2.RampStep(
            share=share,
            minimum_time_us=int(duration_s * 1e6 / len(SHARES)),
            minimum_units=minimum_units,
            proven=share == PROVEN_AT,
        )
        for share in SHARES
    ]
    errors = pb.Metric(
        metric="errors",
        kind=pb.METRIC_KIND_ERROR_RATE,
        direction=pb.DIRECTION_DECREASE,
        role=pb.METRIC_ROLE_SUCCESS,
    )
    experiment = pb.Experiment(
        model=resources.model_name(model),
        description=f"version {target} of {model}, step by step",
        variants=[
            pb.Variant(variant="champion", alias="champion", share=0.5, control=True),
            pb.Variant(variant="candidate", version=target, share=0.5),
        ],
        coverage=1.0,
        metrics=metrics or [errors],
        ramp=ramp_pb2.Ramp(steps=steps, promote=promote),
    )
    return pb.CreateExperimentRequest(experiment_id=name or f"{model}-to-{target}", experiment=experiment)
