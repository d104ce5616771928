"""In what two definitions of a feature set differ, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features import records
from features.errors import SetChangedError, SetMissingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from features.definitions import BoundView, FeatureSet, View
    from features.transforms import Transform

_US_PER_S = 1_000_000
NAMED_MAX = 5


def check_unchanged(tx: Connection, set_name: str, digest: str) -> None:
    """Raise SetChangedError, with the difference, unless a digest is that of the set's current definition.

    The definition without its transforms counts as well: a graph may compute them itself.
    """
    current = records.get_set(tx, set_name)
    if digest in {current.digest, current.raw.digest}:
        return
    try:
        before = records.get_set(tx, set_name, digest)
    except SetMissingError:
        said = ["its definition was never known here"]
    else:
        said = differences(before, records.views_of_set(tx, before), current, records.views_of_set(tx, current))
    named = "; ".join(said[:NAMED_MAX]) + (f"; and {len(said) - NAMED_MAX} more" if len(said) > NAMED_MAX else "")
    raise SetChangedError(
        f"the feature set {set_name!r} is not what the version was trained on: {named}; train it again, or apply the "
        "definitions that it was trained on",
        feature_set=set_name,
        trained_on=digest,
        current=current.digest,
    )


def differences(
    before: FeatureSet, views_before: Sequence[BoundView], after: FeatureSet, views_after: Sequence[BoundView]
) -> list[str]:
    """Return what became of each part of a definition that a model's input hangs on."""
    said = _of_lists("feature", before.features, after.features)
    requests_before = {request.name: request.default for request in before.requests}
    requests_after = {request.name: request.default for request in after.requests}
    said += _of_values("the default of request.", requests_before, requests_after)
    said += _of_transforms(before.transforms, after.transforms)
    known = {bound.view.name: bound.view for bound in views_before}
    for bound in views_after:
        if bound.view.name in known:
            said += _of_views(known[bound.view.name], bound.view)
    return said


def _of_transforms(before: Sequence[Transform], after: Sequence[Transform]) -> list[str]:
    known = {transform.name: transform for transform in before}
    said = _of_lists("transform", list(known), [transform.name for transform in after])
    for transform in after:
        earlier = known.get(transform.name, transform)
        if earlier.meaning != transform.meaning:
            said.append(
                f"transform {transform.name} was {earlier.expression} ({earlier.type}) and is {transform.expression} "
                f"({transform.type})"
            )
    return said


def _of_views(before: View, after: View) -> list[str]:
    name = f"view {after.name}: "
    said = []
    if before.sql != after.sql:
        said.append("its SQL is another")
    if before.join_keys != after.join_keys:
        said.append(f"its join keys were {', '.join(before.join_keys)} and are {', '.join(after.join_keys)}")
    if before.ttl_us != after.ttl_us:
        said.append(f"its time to live was {_time(before.ttl_us)} and is {_time(after.ttl_us)}")
    names_before, names_after = ([feature.name for feature in view.features] for view in (before, after))
    said += _of_lists("column", names_before, names_after)
    defaults_before = {feature.name: feature.default for feature in before.features}
    defaults_after = {feature.name: feature.default for feature in after.features}
    said += _of_values("the default of ", defaults_before, defaults_after)
    return [name + each for each in said]


def _of_lists(kind: str, before: Sequence[str], after: Sequence[str]) -> list[str]:
    said = [f"{kind} {name} is gone" for name in before if name not in after]
    said += [f"{kind} {name} is new" for name in after if name not in before]
    if not said and tuple(before) != tuple(after):
        said.append(f"the {kind}s are in another order")
    return said


def _of_values(what: str, before: Mapping[str, float | None], after: Mapping[str, float | None]) -> list[str]:
    return [
        f"{what}{name} was {_value(before[name])} and is {_value(after[name])}"
        for name in before
        if name in after and before[name] != after[name]
    ]


def _value(default: float | None) -> str:
    return "none" if default is None else f"{default:g}"


def _time(ttl_us: int) -> str:
    return f"{ttl_us / _US_PER_S:g} s" if ttl_us else "for ever"
