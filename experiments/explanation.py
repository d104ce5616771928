"""Why a unit gets what it gets, in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.assignment import assignment_document, compile_assignment
from experiments.bucketing import BUCKETS, bucket_of
from experiments.definition import State
from experiments.errors import UnitMissingError
from experiments.layer import Layer, layer_seed, places_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from experiments.assignment import Assigned
    from experiments.definition import Experiment


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a unit gets, and why.

    Parameters
    ----------
    assigned
        What it gets; None when it is not in the experiment or the experiment does not run.
    bucket
        The unit's bucket, 0 to 9 999.
    sentence
        Why.
    """

    assigned: Assigned | None
    bucket: int
    sentence: str


def explain(
    experiment: Experiment, unit: str, *, attributes: Mapping[str, str], others: list[Experiment]
) -> Explanation:
    """Return what a unit gets under the present split and why, or raise UnitMissingError for an empty id.

    Parameters
    ----------
    unit
        The unit's id; of an experiment whose unit is the request, the request's id, of a call without a unit id.
    attributes
        The call's, which targeting asks for.
    others
        The other experiments that run on the model.
    """
    if not unit:
        raise UnitMissingError("a call without a unit is in no experiment: name the unit")
    bucket = bucket_of(experiment.seed, unit)
    place = f"{unit[:80]!r} falls into bucket {bucket} of {BUCKETS} under the seed {experiment.seed!r}"
    if experiment.state is State.DRAFT:
        return Explanation(None, bucket, f"{place}; {experiment.id} is a draft and assigns nobody yet")
    running = [experiment, *(others if experiment.state is State.RUNNING else ())]
    layer = Layer(experiment.model, [compile_assignment(assignment_document(each)) for each in running])
    found = layer.assign(unit, unit, attributes)
    belongs = _why(experiment, unit, found, attributes)
    if experiment.state is not State.RUNNING:
        over = f"{place}; {experiment.id} is {experiment.state}, so that the champion answers; while it ran, {belongs}"
        return Explanation(None, bucket, over)
    own = found if found is not None and found.experiment == experiment.id else None
    return Explanation(own, bucket, f"{place}; {belongs}")


def _why(experiment: Experiment, unit: str, found: Assigned | None, attributes: Mapping[str, str]) -> str:
    """Return why the unit got that of all the experiments of the model, as a part of a sentence."""
    scope = experiment.scope
    if found is not None and not found.epoch:
        return f"the unit is forced to {found.variant} of {found.experiment}, which serves version {found.version}"
    spot = bucket_of(layer_seed(experiment.model), unit)
    length = places_of(scope.layer_share)
    if not experiment.layer_first <= spot < experiment.layer_first + length:
        last = experiment.layer_first + length - 1
        holder = f"{found.experiment} holds it" if found is not None else "the champion answers"
        return (
            f"its place in the model's layer is {spot}, and {experiment.id} holds {experiment.layer_first} to {last}: "
            f"{holder}"
        )
    table = compile_assignment(assignment_document(experiment))
    if table.matches is not None and not table.matches(attributes):
        return (
            f"the call's attributes {dict(attributes)} are not those that {experiment.id} is for: the champion answers"
        )
    if found is None:
        return (
            f"the split of epoch {experiment.epoch} gives that slot to no variant: the experiment covers "
            f"{experiment.coverage:.6g} of all units"
        )
    return (
        f"the split of epoch {experiment.epoch} gives that slot to {found.variant}, which has "
        f"{found.propensity:.6g} of the experiment's units and serves version {found.version}"
    )
