"""Running experiments as GrowthBook's features: what its kits need to give units the gateway's variants.

A feature is an experiment, its value the variant's name, or `""` for units that are not in it. The hash is the same, so
the slots of the split are the kit's ranges, and the experiment's places in its model's layer are a filter.

References
----------
GrowthBook, *Build your own SDK*: features, rules, `ranges`, `filters`, `meta`, and the conditions' operators.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from experiments.bucketing import BUCKETS
from experiments.layer import layer_seed
from experiments.scope import UnitKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from experiments.definition import Experiment

NOT_IN = ""
_HASHED = {"hashAttribute": "id", "hashVersion": 2}


def features_document(experiments: Iterable[Experiment]) -> dict[str, Any]:
    """Return the features of running experiments, by the experiments' ids.

    Experiments whose unit is the request are left out: nobody but the gateway knows a call's request before it is made.
    """
    running = sorted(experiments, key=lambda each: each.id)
    owners: dict[tuple[str, str], str] = {}
    for experiment in running:
        for unit in experiment.scope.forced:
            owners.setdefault((experiment.model, unit), experiment.id)  # the first one has it, as in the layer
    return {
        experiment.id: {"defaultValue": NOT_IN, "rules": _rules(experiment, owners)}
        for experiment in running
        if experiment.scope.unit is UnitKind.UNIT_ID and experiment.allocation is not None
    }


def _rules(experiment: Experiment, owners: Mapping[tuple[str, str], str]) -> list[dict[str, Any]]:
    forced: dict[str, list[str]] = {}
    for (model, unit), owner in sorted(owners.items()):
        if model == experiment.model:
            variant = experiment.scope.forced[unit] if owner == experiment.id else NOT_IN
            forced.setdefault(variant, []).append(unit)
    rules: list[dict[str, Any]] = [
        {"condition": {"id": {"$in": units}}, "force": variant} for variant, units in sorted(forced.items())
    ]
    return [*rules, _split(experiment)]


def _split(experiment: Experiment) -> dict[str, Any]:
    """Return the rule that splits the units: one range for each run of slots that one variant has."""
    if experiment.allocation is None:
        raise ValueError(f"the experiment {experiment.id!r} was never started")
    runs = experiment.allocation.runs
    names = [experiment.variants[owner].variant for _, _, owner in runs]
    rule: dict[str, Any] = {
        **_HASHED,
        "key": experiment.id,
        "seed": experiment.seed,
        "phase": str(experiment.allocation.epoch),
        "variations": names,
        "weights": [length / BUCKETS for _, length, _ in runs],
        "ranges": [[first / BUCKETS, (first + length) / BUCKETS] for first, length, _ in runs],
        "meta": [{"key": name} for name in names],
    }
    length = round(experiment.scope.layer_share * BUCKETS)
    if length < BUCKETS:
        ends = [experiment.layer_first / BUCKETS, (experiment.layer_first + length) / BUCKETS]
        rule["filters"] = [
            {"attribute": "id", "seed": layer_seed(experiment.model), "hashVersion": 2, "ranges": [ends]}
        ]
    if experiment.scope.targeting is not None:
        rule["condition"] = condition(experiment.scope.targeting)
    return rule


def condition(targeting: Mapping[str, Any]) -> dict[str, Any]:
    """Return a targeting condition in GrowthBook's form.

    Attributes are texts here and may be numbers there: where a range is asked for, give the kit a number.
    """
    for ours, theirs in (("all", "$and"), ("any", "$or")):
        if ours in targeting:
            parts: Sequence[Mapping[str, Any]] = targeting[ours]
            return {theirs: [condition(each) for each in parts]}
    if "not" in targeting:
        return {"$not": condition(targeting["not"])}
    return {targeting["attribute"]: {"$exists": True, **_operators(targeting)}}


def _operators(targeting: Mapping[str, Any]) -> dict[str, Any]:
    if "equals" in targeting:
        return {"$eq": targeting["equals"]}
    if "in" in targeting:
        return {"$in": list(targeting["in"])}
    if "prefix" in targeting:
        return {"$regex": "^" + re.escape(targeting["prefix"])}
    from_, below = ("$gte", "$lt") if "range" in targeting else ("$vgte", "$vlt")
    ends: Mapping[str, Any] = targeting.get("range") or targeting["semver"]
    return {operator: ends[key] for operator, key in ((from_, "from"), (below, "below")) if key in ends}
