"""A set as a definition file declares it, understood."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.declared import COLUMN, FEATURES_MAX, NAME, named, require, tags_of
from features.definitions import RequestDefault
from features.errors import DefinitionInvalidError
from features.plan import REFUSALS, REQUEST
from features.schedule import ttl_us_of
from features.transforms import Transform, is_computed, operands_beside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.declared import SetText, TransformText

TRANSFORMS_MAX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWish:
    """A set as a file declares it, before its views are looked up."""

    name: str
    features: tuple[str, ...]
    requests: tuple[RequestDefault, ...]
    transforms: tuple[Transform, ...]
    stale_up_to_us: int
    refuse: tuple[str, ...]
    description: str
    owner: str
    tags: tuple[str, ...]

    @property
    def looked_up(self) -> tuple[str, ...]:
        """Return what is given or stored of the columns."""
        columns = self.features + operands_beside(self.features, self.transforms)
        return tuple(column for column in columns if not is_computed(column))

    @property
    def views(self) -> tuple[str, ...]:
        """Return the views, in the order in which the columns first name them."""
        names = (feature.partition(".")[0] for feature in self.looked_up)
        return tuple(dict.fromkeys(name for name in names if name != REQUEST))


def read_set(path: str, wish: SetText) -> SetWish:
    """Return a wish, or raise DefinitionInvalidError."""
    name = named(path, "set", wish.name)
    require(0 < len(wish.features) <= FEATURES_MAX, path, f"set {name}: has 1 to {FEATURES_MAX} features")
    require(len(set(wish.features)) == len(wish.features), path, f"set {name}: a feature is named twice")
    transforms = _transforms(path, name, wish.transform)
    operands = operands_beside(wish.features, transforms)
    require(len(wish.features) + len(operands) <= FEATURES_MAX, path, f"set {name}: reads {FEATURES_MAX} at most")
    computed = {transform.column for transform in transforms}
    for feature in (*wish.features, *operands):
        view, _, column = feature.partition(".")
        require(
            NAME.fullmatch(view) and COLUMN.fullmatch(column),
            path,
            f"set {name}: {feature!r} is not view.feature, request.feature or transform.name",
        )
        require(not is_computed(feature) or feature in computed, path, f"set {name}: it declares no {feature!r}")
    for column in computed:
        require(column in wish.features or column in operands, path, f"set {name}: nothing takes {column!r}")
    for request in wish.request:
        require(
            f"{REQUEST}.{request.name}" in wish.features or f"{REQUEST}.{request.name}" in operands,
            path,
            f"set {name}: request feature {request.name!r} is not among its features",
        )
        require(math.isfinite(request.default), path, f"set {name}: the default of {request.name} is not finite")
    stale_up_to_us = ttl_us_of(wish.stale_up_to)
    require(stale_up_to_us is not None, path, f"set {name}: stale_up_to is like '12h', not {wish.stale_up_to!r}")
    require(set(wish.refuse) <= set(REFUSALS), path, f"set {name}: refuse takes {', '.join(REFUSALS)}")
    return SetWish(
        name=name,
        features=tuple(wish.features),
        requests=tuple(RequestDefault(name=request.name, default=request.default) for request in wish.request),
        transforms=transforms,
        stale_up_to_us=stale_up_to_us or 0,
        refuse=tuple(dict.fromkeys(wish.refuse)),
        description=wish.description,
        owner=wish.owner,
        tags=tags_of(path, f"set {name}", wish.owner, wish.tags),
    )


def _transforms(path: str, set_name: str, spelled: Sequence[TransformText]) -> tuple[Transform, ...]:
    """Return the transforms of a set, each of what is given, stored or computed before it."""
    require(len(spelled) <= TRANSFORMS_MAX, path, f"set {set_name}: has {TRANSFORMS_MAX} transforms at most")
    transforms: list[Transform] = []
    known: set[str] = set()
    for one in spelled:
        what = f"set {set_name}, transform {one.name}"
        require(COLUMN.fullmatch(one.name), path, f"{what}: {one.name!r} is not a name for a column")
        try:
            transform = Transform(name=one.name, expression=one.expression, type=one.type, description=one.description)
        except DefinitionInvalidError as error:
            raise DefinitionInvalidError(f"{path}: set {set_name}, {error.message}", path=path) from error
        require(transform.column not in known, path, f"{what}: it is declared twice")
        for operand in transform.operands:
            require(not is_computed(operand) or operand in known, path, f"{what}: {operand} is not declared before it")
        require(transform.operands, path, f"{what}: it takes no feature")
        known.add(transform.column)
        transforms.append(transform)
    return tuple(transforms)
