"""A set as a definition file declares it, understood."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.declared import COLUMN, FEATURES_MAX, NAME, named, require
from features.definitions import RequestDefault
from features.plan import REFUSALS, REQUEST
from features.schedule import ttl_us_of

if TYPE_CHECKING:
    from features.declared import SetText


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWish:
    """A set as a file declares it, before its views are looked up."""

    name: str
    features: tuple[str, ...]
    requests: tuple[RequestDefault, ...]
    stale_up_to_us: int
    refuse: tuple[str, ...]
    description: str

    @property
    def views(self) -> tuple[str, ...]:
        """Return the views, in the order in which the features first name them."""
        names = (feature.partition(".")[0] for feature in self.features)
        return tuple(dict.fromkeys(name for name in names if name != REQUEST))


def read_set(path: str, wish: SetText) -> SetWish:
    """Return a wish, or raise DefinitionInvalidError."""
    name = named(path, "set", wish.name)
    require(0 < len(wish.features) <= FEATURES_MAX, path, f"set {name}: has 1 to {FEATURES_MAX} features")
    require(len(set(wish.features)) == len(wish.features), path, f"set {name}: a feature is named twice")
    for feature in wish.features:
        view, _, column = feature.partition(".")
        require(
            NAME.fullmatch(view) and COLUMN.fullmatch(column),
            path,
            f"set {name}: {feature!r} is not view.feature or request.feature",
        )
    for request in wish.request:
        require(
            f"{REQUEST}.{request.name}" in wish.features,
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
        stale_up_to_us=stale_up_to_us or 0,
        refuse=tuple(dict.fromkeys(wish.refuse)),
        description=wish.description,
    )
