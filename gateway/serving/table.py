"""The serving table: the immutable snapshot that a worker answers from.

It is built from the whole desired set that the control plane wrote and from the slots that are loaded; it is replaced
by one reference, never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from msgspec import Raw

from experiments.assignment import Assigned, AssignmentTable, compile_assignment
from experiments.bucketing import seed_state
from experiments.layer import Layer
from experiments.shadow import shadow_seed
from gateway.errors import ModelNotServedError, VersionNotServedError
from gateway.models.slots import Slot, VersionKey
from gateway.serving.entries import facts_of

Document = dict[str, Any]
NOTHING: Mapping[str, str] = {}
"""The attributes of a call that has none; never changed."""
MakeHeads = Callable[["Target"], tuple[bytes, bytes]]
"""Makes a target's `head` and `infer_head`."""


Dress = Callable[["Target"], "Target"]
"""Gives a target all that is made once for its calls."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShadowTarget:
    """What runs in the shadow of a model's answers.

    Attributes
    ----------
    slot
        The loaded version.
    state
        The hash's state after the seed that samples the model's calls.
    places, share
        How many of the places of `experiments.bucketing` are sampled, and what part of the calls that is.
    """

    slot: Slot
    state: int
    places: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """What answers a call, and what the journal and the reply say of it.

    Attributes
    ----------
    slot
        The loaded version.
    experiment, variant, epoch, propensity
        What chose it: empty, empty, 0 and 1.0 outside an experiment.
    fallback
        Whether the control answers because the variant's version is not loaded.
    head, infer_head
        The part of the reply that is the same for every call: of Predict's, and of ModelInfer's.
    facts
        The fields of the journal's records that are the same for every call.
    shadow
        What runs in the shadow of its answers; None when nothing does.
    """

    slot: Slot
    experiment: str = ""
    variant: str = ""
    epoch: int = 0
    propensity: float = 1.0
    fallback: bool = False
    head: bytes = b""
    infer_head: bytes = b""
    facts: tuple[Raw, Raw] = (Raw(), Raw())
    shadow: ShadowTarget | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """How calls for one model are answered.

    Attributes
    ----------
    model
        The model's name.
    champion
        What answers without a pin and outside an experiment; None while no version could be loaded.
    versions, aliases
        What answers a pin.
    assignment
        The running experiment's assignment where it is all there is to ask; else None.
    layer
        All running experiments' assignments where there is more to ask; else None.
    arms
        What answers each arm of the experiments, in their order; None where neither it nor its control is loaded.
    shadow
        What runs in the shadow of all answers but its own; None when nothing does, or it is not loaded.
    """

    model: str
    champion: Target | None
    versions: Mapping[int, Target]
    aliases: Mapping[str, Target]
    assignment: AssignmentTable | None = None
    layer: Layer | None = None
    arms: tuple[Target | None, ...] = ()
    shadow: ShadowTarget | None = None

    def pinned(self, *, version: int, alias: str) -> Target:
        """Return what answers a pin, the version's number or else the alias; or raise VersionNotServedError."""
        target = self.versions.get(version) if version else self.aliases.get(alias)
        if target is None:
            pin = f"version {version}" if version else f"alias `{alias}`"
            raise VersionNotServedError(
                f"{pin} of model `{self.model}` is not loaded; those that an alias or a running experiment names are",
                model=self.model,
                pin=pin,
            )
        return target

    def unpinned(self, unit_id: str, request_id: str = "", attributes: Mapping[str, str] = NOTHING) -> Target:
        """Return what answers a call, its variant or else the champion; or raise ModelNotServedError."""
        assigned = None
        if self.assignment is not None:
            assigned = self.assignment.assign(unit_id)
        elif self.layer is not None:
            assigned = self.layer.assign(unit_id, request_id, attributes)
        return self.given(assigned)

    def given(self, assigned: Assigned | None) -> Target:
        """Return what answers a call that got this, the champion where it got nothing; or raise ModelNotServedError."""
        if assigned is not None:
            arm: Target | None = self.arms[assigned.index]
            if arm is not None:
                return arm
        if self.champion is None:
            raise ModelNotServedError(
                f"model `{self.model}` has no champion that is loaded; promote a version", model=self.model
            )
        return self.champion

    def slots(self) -> set[VersionKey]:
        """Return the versions that it names."""
        targets = [self.champion, *self.arms, *self.versions.values(), *self.aliases.values()]
        shadow = {self.shadow.slot.key} if self.shadow is not None else set()
        return shadow | {target.slot.key for target in targets if target is not None}


@dataclass(frozen=True, slots=True)
class ServingTable:
    """All routes at one revision.

    Attributes
    ----------
    revision
        The revision of the metadata.
    routes
        How calls are answered, by model.
    held
        The models that are wanted and yet not served here, each with the reason.
    shadowed
        Whether any model has a shadow.
    """

    revision: int
    routes: Mapping[str, Route] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    shadowed: bool = False

    def route(self, model: str) -> Route:
        """Return how calls for a model are answered, or raise ModelNotServedError."""
        route = self.routes.get(model)
        if route is None:
            why = f"is held: {self.held[model]}" if model in self.held else "has no version with an alias"
            raise ModelNotServedError(f"model `{model}` is not served: it {why}", model=model)
        return route

    def slots(self) -> set[VersionKey]:
        """Return the versions that some route names."""
        return {key for route in self.routes.values() for key in route.slots()}


def wanted_versions(document: Document) -> list[VersionKey]:
    """Return the versions that a desired set names, the most urgent first."""
    return [
        VersionKey(model, int(number)) for model, entry in document["models"].items() for number in entry["resident"]
    ]


def build_table(
    document: Document,
    slots: Mapping[VersionKey, Slot],
    previous: ServingTable,
    make_heads: MakeHeads,
    *,
    held: Mapping[str, str] | None = None,
) -> ServingTable:
    """Return the table of a desired set as far as its versions are loaded.

    A champion, or another alias, whose version is not loaded (yet, or at all) keeps what answered in the previous table
    while that one is loaded: a change never takes an answer away. A worker that has no previous table, since it was
    just started, takes the champion before instead, so that it answers as the others do. Models that are held are left
    out.
    """
    held = held or {}
    routes = {
        model: _route(model, entry, slots, previous.routes.get(model), make_heads)
        for model, entry in document["models"].items()
        if model not in held
    }
    shadowed = any(route.shadow is not None for route in routes.values())
    return ServingTable(revision=document["revision"], routes=routes, held=held, shadowed=shadowed)


def _route(
    model: str,
    entry: Document,
    slots: Mapping[VersionKey, Slot],
    previous: Route | None,
    make_heads: MakeHeads,
) -> Route:
    shadow = _shadow(model, entry, slots)
    dress = partial(_dressed, make_heads, shadow)
    plain: dict[int, Target] = {}
    for number in entry["resident"]:
        slot = slots.get(VersionKey(model, number))
        if slot is not None:
            plain[number] = dress(Target(slot=slot))
    champion = plain.get(entry["champion"])
    if champion is None and entry["champion"]:
        answered = previous.champion if previous is not None else None
        before = answered.slot.key if answered is not None else VersionKey(model, entry["previous"])
        kept = slots.get(before)
        champion = dress(Target(slot=kept)) if kept is not None else None
    aliases: dict[str, Target] = {}
    for alias, number in entry["aliases"].items():
        target = plain.get(number) or (champion if number == entry["champion"] else None)
        if target is None and previous is not None and alias in previous.aliases:
            kept = slots.get(previous.aliases[alias].slot.key)
            target = dress(Target(slot=kept)) if kept is not None else None
        if target is not None:
            aliases[alias] = target
    assignments = [compile_assignment(document) for document in entry.get("assignments", ())]
    if not assignments:
        return Route(model=model, champion=champion, versions=plain, aliases=aliases, shadow=shadow)
    layer = Layer(model, assignments)
    controls = {each.experiment: each.control for each in assignments}
    return Route(
        model=model,
        champion=champion,
        versions=plain,
        aliases=aliases,
        assignment=layer.sole,
        layer=None if layer.sole is not None else layer,
        arms=tuple(_arm(assigned, controls[assigned.experiment], plain, dress) for assigned in layer.arms),
        shadow=shadow,
    )


def _arm(assigned: Assigned, control: Assigned, plain: Mapping[int, Target], dress: Dress) -> Target | None:
    own = plain.get(assigned.version)
    answering = own or plain.get(control.version)
    if answering is None:
        return None
    target = Target(
        slot=answering.slot,
        experiment=assigned.experiment,
        variant=assigned.variant,
        epoch=assigned.epoch,
        propensity=assigned.propensity,
        fallback=own is None,
    )
    return dress(target)


def _shadow(model: str, entry: Document, slots: Mapping[VersionKey, Slot]) -> ShadowTarget | None:
    """Return what runs in the shadow of a model; None when nothing does, or it is not loaded."""
    wanted: Document = entry.get("shadow") or {}
    slot = slots.get(VersionKey(model, wanted.get("version", 0)))
    if slot is None:
        return None
    return ShadowTarget(slot=slot, state=seed_state(shadow_seed(model)), places=wanted["places"], share=wanted["share"])


def _dressed(make_heads: MakeHeads, shadow: ShadowTarget | None, target: Target) -> Target:
    head, infer_head = make_heads(target)
    # A version's answer beside its own would be a pair with itself.
    beside = shadow if shadow is not None and shadow.slot is not target.slot else None
    return replace(target, head=head, infer_head=infer_head, facts=facts_of(target), shadow=beside)
