"""The door of the pipeline: each call of a wave gets what answers it, or leaves because it cannot be answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.crowd import CROWD_MIN, assign_all
from gateway.errors import DeadlineSpentError, ModelNotServedError, StillLoadingError
from gateway.serving.inputs import check_finite, check_wanted, feed_tensors
from gateway.serving.stored import check_given
from storage.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.models.slots import Slot
    from gateway.serving.request import Request
    from gateway.serving.table import ServingTable, Target
    from gateway.serving.walk import Groups

DEADLINE_DEFAULT_S = 10.0
"""How long a call may take whose client named no deadline."""


def admit(table: ServingTable | None, wave: Sequence[Request], started: float) -> tuple[Groups, list[Request], float]:
    """Give each request its target.

    Returns
    -------
    groups
        The requests that can be answered, by their targets.
    refused
        The others, with their errors.
    soonest
        When the first deadline of those in the groups passes.
    """
    soonest = latest = started + DEADLINE_DEFAULT_S
    groups: Groups = {}
    refused: list[Request] = []
    together = None if table is None else _targets_together(table, wave)
    for place, request in enumerate(wave):
        try:
            if table is None:
                raise StillLoadingError("the worker has not loaded its first serving table; try again")
            if request.deadline is None:
                request.deadline = latest
            elif request.deadline < soonest:
                if request.deadline < started:
                    raise DeadlineSpentError("the deadline passed before the call was admitted")
                soonest = request.deadline
            if not request.unit_id and len(request.entities) == 1:
                request.unit_id = next(iter(request.entities.values()))
            target = _target(table, request) if together is None else together[place]
            check_inputs(request, target.slot)
        except DomainError as error:
            request.error = error
            refused.append(request)
            continue
        request.target = target
        group = groups.get(target)
        if group is None:
            groups[target] = [request]
        else:
            group.append(request)
    return groups, refused, soonest


def _targets_together(table: ServingTable, wave: Sequence[Request]) -> list[Target] | None:
    """Return what answers each of many requests of one model, as the rows of a batch are; None: ask one by one.

    Their units are hashed together, which is all that decides where one experiment has all calls of the model.
    """
    if len(wave) < CROWD_MIN:
        return None
    model = wave[0].model
    route = table.routes.get(model)
    if route is None or route.assignment is None:
        return None
    units = [request.unit_id for request in wave]
    if not all(units) or any(request.model != model or request.version or request.alias for request in wave):
        return None
    assigned = assign_all(route.assignment, units)
    # By the arm's place: what is assigned has a hash that goes through all its fields.
    places = [None if one is None else one.index for one in assigned]
    try:
        targets = {place: route.given(one) for place, one in dict(zip(places, assigned, strict=True)).items()}
    except ModelNotServedError:
        return None
    return [targets[place] for place in places]


def _target(table: ServingTable, request: Request) -> Target:
    """Return what answers a request: its pin, else its variant, else the champion; or raise."""
    route = table.route(request.model)
    if request.version or request.alias:
        return route.pinned(version=request.version, alias=request.alias)
    return route.unpinned(request.unit_id, request.request_id, request.attributes)


def check_inputs(request: Request, slot: Slot) -> None:
    """Take over the tensors that the caller sent, or raise InputMismatchError where anything does not fit."""
    plan = slot.plan
    if request.tensors or plan is None or slot.more_inputs:
        feed_tensors(request, slot)
    # Mostly a call gives no features and names all entities: there is nothing more to check then.
    if (
        plan is not None
        and (request.feeds is None or slot.feature_input not in request.feeds)
        and (request.features or plan.demanding or not plan.join_key_set <= request.entities.keys())
    ):
        check_given(request, plan)
        if slot.finite:
            check_finite(request, slot)
    if request.wanted:
        check_wanted(request, slot)
