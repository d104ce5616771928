"""The layer of a model: all the experiments that run on it, so that no unit is ever in two of them.

A unit's place in the layer is its bucket under a seed of the model's own, and each experiment holds a run of these
10 000 places that no other one holds: exclusion is by construction, and needs no rules of precedence. Who is in an
experiment's places is then split by the experiment's own seed, which is independent of the layer's. A GrowthBook kit
elsewhere says the same with one filter of this seed and range.

An experiment that holds the whole layer has no other beside it, and a unit then costs the one hash of its own.
Loaded by every worker: nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from experiments.bucketing import BUCKETS, bucket_after, seed_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from experiments.assignment import Assigned, AssignmentTable


def layer_seed(model: str) -> str:
    """Return what goes before the unit into the hash that places it in a model's layer."""
    return f"layer:{model}"


def places_of(share: float) -> int:
    """Return how many places a part of a layer is."""
    return round(share * BUCKETS)


def free_run(taken: Iterable[tuple[int, int]], wanted: int) -> tuple[int, int]:
    """Return the first place of the lowest run of so many free places, and its length; else of the longest there is.

    Parameters
    ----------
    taken
        (first place, number of places) of each experiment that holds some.
    """
    first, best = 0, (0, 0)
    for start, length in sorted([*taken, (BUCKETS, 0)]):
        free = start - first
        if free >= wanted:
            return first, free
        if free > best[1]:
            best = first, free
        first = max(first, start + length)
    return best


class Layer:
    """What every unit of a model gets of the experiments that run on it.

    Parameters
    ----------
    model
        The model's id.
    tables
        The experiments' assignments, in the order of their ids.

    Attributes
    ----------
    arms
        Everything that a unit may get; `Assigned.index` is the position here.
    sole
        The one experiment whose assignment is all there is to ask: it holds the whole layer, is for all calls with a
        unit and forces nothing. None when there is more to it.
    """

    __slots__ = ("_forced", "_one", "_places", "_state", "arms", "sole")

    def __init__(self, model: str, tables: Sequence[AssignmentTable]) -> None:
        arms: list[Assigned] = []
        forced: dict[str, Assigned] = {}
        own = []
        for table in tables:
            shifted = tuple(replace(arm, index=len(arms) + arm.index) for arm in table.arms)
            arms += shifted
            own.append(table.with_arms(shifted))
            # A unit that was named is in no split: epoch 0, and certain.
            named = {
                arm: replace(arm, index=len(arms) + place, epoch=0, propensity=1.0)
                for place, arm in enumerate(dict.fromkeys(shifted[index] for index in table.forced.values()))
            }
            arms += named.values()
            for unit, index in table.forced.items():
                forced.setdefault(unit, named[shifted[index]])
        self.arms = tuple(arms)
        self._forced: Mapping[str, Assigned] = forced
        self._state = seed_state(layer_seed(model))
        self._one = own[0] if len(own) == 1 and own[0].run == (0, BUCKETS) else None
        places: list[AssignmentTable | None] = [None] * BUCKETS
        for table in own:
            first, length = table.run
            places[first : first + length] = [table] * length
        self._places = tuple(places)
        self.sole = self._one if self._one is not None and self._one.plain else None

    def assign(self, unit_id: str, request_id: str, attributes: Mapping[str, str]) -> Assigned | None:
        """Return what a call gets; None when it is in no experiment.

        A call without a unit has its request's place in the layer; only an experiment of requests takes it.
        """
        if self._forced:
            found = self._forced.get(unit_id)
            if found is not None:
                return found
        table = self._one or self._places[bucket_after(self._state, unit_id or request_id)]
        if table is None or (table.matches is not None and not table.matches(attributes)):
            return None
        return table.assign(request_id if table.by_request else unit_id)
