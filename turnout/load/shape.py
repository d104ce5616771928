"""What a model takes, asked of the control port: its inputs, its features, and the entities that they are of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnout import errors, resources
from turnout.features.v1 import feature_service_pb2 as features_pb
from turnout.registry.v1 import registry_service_pb2 as registry_pb

if TYPE_CHECKING:
    from turnout.control import Control
    from turnout.tensor.v1 import tensor_pb2

CHAMPION = "champion"
REQUEST, TRANSFORM = "request.", "transform."


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a model's champion takes.

    Attributes
    ----------
    model
        Its name.
    inputs
        Its inputs, where it takes no features.
    columns
        The features that rows of the journal have, in their order; those that transforms compute too.
    join_keys
        The entities that its stored features are of.
    """

    model: str
    inputs: tuple[tensor_pb2.TensorSpec, ...] = ()
    columns: tuple[str, ...] = ()
    join_keys: tuple[str, ...] = ()

    def given(self, *, stored: bool) -> list[tuple[str, int]]:
        """Return the features that a caller gives, each with its place in a row.

        With `stored` those of the request alone: all others are read from the online store.
        """
        found = []
        for place, column in enumerate(self.columns):
            if column.startswith(REQUEST):
                found.append((column.removeprefix(REQUEST), place))
            elif not stored and not column.startswith(TRANSFORM):
                found.append((column, place))
        return found


def shape_of(control: Control, model: str) -> Shape:
    """Return what a model's champion takes, or raise TurnoutError."""
    told = control.registry.GetModel(registry_pb.GetModelRequest(name=resources.model_name(model))).model
    number = next((alias.version for alias in told.aliases if alias.alias == CHAMPION), 0)
    if not number:
        raise errors.MissingError("NOT_FOUND", "ALIAS_UNKNOWN", f"{model} has no champion")
    name = resources.version_name(model, number)
    version = control.registry.GetVersion(registry_pb.GetVersionRequest(name=name)).version
    if not version.facts.feature_set:
        return Shape(model=model, inputs=tuple(version.inputs))
    found = _feature_set(control, version.facts.feature_set)
    columns = (*found.features, *found.operands)
    views = {column.partition(".")[0] for column in columns}
    return Shape(model=model, columns=columns, join_keys=_join_keys(control, views))


def _feature_set(control: Control, name: str) -> features_pb.FeatureSet:
    token = ""
    while True:
        page = control.features.ListFeatureSets(features_pb.ListFeatureSetsRequest(page_token=token))
        for found in page.feature_sets:
            if name in {found.name, resources.set_id(found.name)}:
                return found
        token = page.next_page_token
        if not token:
            raise errors.MissingError("NOT_FOUND", "FEATURE_SET_UNKNOWN", f"there is no feature set {name}")


def _join_keys(control: Control, views: set[str]) -> tuple[str, ...]:
    keys: dict[str, None] = {}
    token = ""
    while True:
        page = control.features.ListFeatureViews(features_pb.ListFeatureViewsRequest(page_token=token))
        for view in page.feature_views:
            if resources.view_id(view.name) in views:
                keys |= dict.fromkeys(view.join_keys)
        token = page.next_page_token
        if not token:
            return tuple(keys)
