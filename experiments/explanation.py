"""Why a unit gets what it gets, in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.assignment import assignment_document, compile_assignment
from experiments.bucketing import BUCKETS, bucket_of
from experiments.definition import State
from experiments.errors import UnitMissingError

if TYPE_CHECKING:
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


def explain(experiment: Experiment, unit: str) -> Explanation:
    """Return what the unit gets under the present split and why, or raise UnitMissingError for an empty id."""
    if not unit:
        raise UnitMissingError("a call without a unit is in no experiment: name the unit")
    bucket = bucket_of(experiment.seed, unit)
    place = f"{unit[:80]!r} falls into bucket {bucket} of {BUCKETS} under the seed {experiment.seed!r}"
    if experiment.state is State.DRAFT:
        return Explanation(None, bucket, f"{place}; {experiment.id} is a draft and assigns nobody yet")
    table = compile_assignment(assignment_document(experiment))
    found = table.assign(unit)
    if found is None:
        belongs = (
            f"the split of epoch {experiment.epoch} gives that slot to no variant: the experiment covers "
            f"{experiment.coverage:.6g} of all units"
        )
    else:
        belongs = (
            f"the split of epoch {experiment.epoch} gives that slot to {found.variant}, which has "
            f"{found.propensity:.6g} of the experiment's units and serves version {found.version}"
        )
    if experiment.state is not State.RUNNING:
        over = f"{place}; {experiment.id} is {experiment.state}, so that the champion answers; while it ran, {belongs}"
        return Explanation(None, bucket, over)
    return Explanation(found, bucket, f"{place}; {belongs}")
