"""From a unit to its variant: a pure function over an immutable table.

Loaded by every worker: it is compiled once for each serving table from a JSON document, and a unit then costs one hash
and one look into a tuple. Nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.allocation import Allocation
from experiments.bucketing import BUCKETS, HASH_NAME, bucket_after, bucket_of, fnv1a32, seed_state
from experiments.errors import AssignmentUnreadableError, ExperimentStateError
from experiments.layer import places_of
from experiments.scope import UnitKind
from experiments.targeting import compile_condition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from experiments.definition import Experiment
    from experiments.targeting import Matches

__all__ = [
    "Assigned",
    "AssignmentTable",
    "assignment_document",
    "bucket_of",
    "compile_assignment",
    "fnv1a32",
]


@dataclass(frozen=True, slots=True)
class Assigned:
    """What a unit got.

    Parameters
    ----------
    experiment
        The experiment's id.
    variant, version, control
        The variant's name, the version that it serves, and whether it is the control.
    epoch
        The split that was in force.
    propensity
        The probability with which a unit of the experiment gets this variant under that split.
    index
        The variant's position in the definition.
    """

    experiment: str
    variant: str
    version: int
    control: bool
    epoch: int
    propensity: float
    index: int


class AssignmentTable:
    """Every slot's variant, ready to be looked up.

    Parameters
    ----------
    experiment, model
        Their ids.
    seed
        What goes into the hash before the unit.
    arms
        One `Assigned` for each variant, in the order of the definition.
    owners
        The position of each slot's variant, or -1.
    run
        The first of the places in the model's layer that it holds, and how many they are.
    by_request
        Whether each request is a unit.
    matches
        Which calls it takes, by their attributes; None: all.
    forced
        Named units, each with the position of the variant that it always gets.

    Attributes
    ----------
    state, slots
        The hash's state after the seed, and what each bucket gets.
    """

    __slots__ = (
        "_owners",
        "arms",
        "by_request",
        "control",
        "epoch",
        "experiment",
        "forced",
        "matches",
        "model",
        "run",
        "seed",
        "slots",
        "state",
    )

    def __init__(
        self,
        *,
        experiment: str,
        model: str,
        seed: str,
        arms: tuple[Assigned, ...],
        owners: list[int],
        run: tuple[int, int] = (0, BUCKETS),
        by_request: bool = False,
        matches: Matches | None = None,
        forced: Mapping[str, int] | None = None,
    ) -> None:
        self.experiment = experiment
        self.model = model
        self.seed = seed
        self.arms = arms
        self.control = next(arm for arm in arms if arm.control)
        self.epoch = arms[0].epoch
        self.state = seed_state(seed)
        self.run = run
        self.by_request = by_request
        self.matches = matches
        self.forced: Mapping[str, int] = forced or {}
        self._owners = owners
        self.slots = tuple(arms[owner] if owner >= 0 else None for owner in owners)

    @property
    def plain(self) -> bool:
        """Whether a unit's bucket is all there is to ask."""
        return self.run == (0, BUCKETS) and not self.by_request and self.matches is None and not self.forced

    def with_arms(self, arms: tuple[Assigned, ...]) -> AssignmentTable:
        """Return the same table that gives these arms in the place of its own."""
        return AssignmentTable(
            experiment=self.experiment,
            model=self.model,
            seed=self.seed,
            arms=arms,
            owners=self._owners,
            run=self.run,
            by_request=self.by_request,
            matches=self.matches,
            forced=self.forced,
        )

    def bucket(self, unit: str) -> int:
        """Return the unit's bucket, 0 to 9 999."""
        return bucket_after(self.state, unit)

    def assign(self, unit: str) -> Assigned | None:
        """Return what the unit gets; None when it is not in the experiment, as a unit without an id never is.

        By its bucket alone: targeting, forced units and the other experiments of the model are the layer's to ask.
        """
        if not unit:
            return None
        return self.slots[bucket_after(self.state, unit)]


def assignment_document(experiment: Experiment) -> dict[str, Any]:
    """Return what `compile_assignment` needs of a started experiment, in values that JSON knows.

    Raises
    ------
    ExperimentStateError
        The experiment was never started: it has no slots yet.
    """
    if experiment.allocation is None:
        raise ExperimentStateError(
            f"the experiment {experiment.id!r} is a {experiment.state}: it assigns nobody", experiment=experiment.id
        )
    document: dict[str, Any] = {
        "experiment": experiment.id,
        "model": experiment.model,
        "hash": HASH_NAME,
        "seed": experiment.seed,
        "epoch": experiment.allocation.epoch,
        "variants": [
            {"variant": each.variant, "version": each.version, "share": each.share, "control": each.control}
            for each in experiment.variants
        ],
        "runs": [list(run) for run in experiment.allocation.runs],
    }
    scope = experiment.scope
    places = [each.variant for each in experiment.variants]
    # What is not there has its default.
    if scope.layer_share != 1:
        document["layer"] = [experiment.layer_first, places_of(scope.layer_share)]
    if scope.unit is not UnitKind.UNIT_ID:
        document["unit"] = scope.unit.value
    if scope.targeting is not None:
        document["targeting"] = dict(scope.targeting)
    if scope.forced:
        document["forced"] = {unit: places.index(variant) for unit, variant in scope.forced.items()}
    return document


def compile_assignment(document: Mapping[str, Any]) -> AssignmentTable:
    """Return the table of an assignment document, or raise AssignmentUnreadableError."""
    if document.get("hash") != HASH_NAME:
        raise AssignmentUnreadableError(
            f"the hash {document.get('hash')!r} is not known here", hash=document.get("hash")
        )
    variants = document["variants"]
    runs = tuple((int(first), int(length), int(owner)) for first, length, owner in document["runs"])
    _check_runs(runs, variants=len(variants))
    shares = tuple(float(each["share"]) for each in variants)
    allocation = Allocation(epoch=int(document["epoch"]), shares=shares, runs=runs)
    arms = tuple(
        Assigned(
            experiment=document["experiment"],
            variant=each["variant"],
            version=int(each["version"]),
            control=bool(each["control"]),
            epoch=allocation.epoch,
            propensity=propensity,
            index=index,
        )
        for index, (each, propensity) in enumerate(zip(variants, allocation.propensities(), strict=True))
    )
    if sum(arm.control for arm in arms) != 1:
        raise AssignmentUnreadableError("an experiment has exactly one control")
    first, length = document.get("layer", (0, BUCKETS))
    return AssignmentTable(
        experiment=document["experiment"],
        model=document["model"],
        seed=document["seed"],
        arms=arms,
        owners=allocation.slots(),
        run=(int(first), int(length)),
        by_request=UnitKind(document.get("unit", "unit_id")) is UnitKind.REQUEST,
        matches=compile_condition(document["targeting"]) if "targeting" in document else None,
        forced=document.get("forced"),
    )


def _check_runs(runs: tuple[tuple[int, int, int], ...], *, variants: int) -> None:
    """Raise AssignmentUnreadableError unless the runs are ascending, disjoint, in range, and not all empty."""
    end = 0
    for first, length, owner in runs:
        if first < end or length < 1 or first + length > BUCKETS or not 0 <= owner < variants:
            raise AssignmentUnreadableError(f"the run [{first}, {length}, {owner}] does not fit the slot table")
        end = first + length
    if not runs:
        raise AssignmentUnreadableError("no slot is in the experiment")
