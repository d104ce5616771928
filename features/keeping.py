"""How long the online store keeps values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from features.definitions import BoundView, FeatureSet

Layout = tuple[str, int]
"""A view and the number of its layout."""


def kept_by_layout(views: Iterable[BoundView], sets: Iterable[FeatureSet]) -> dict[Layout, int]:
    """Return for how many microseconds after its event time a value of each layout is kept; 0: for ever.

    That is past the time to live for as long as some set serves it stale, and for one more time to live at the least,
    so that a reader is told of a value that went stale before it is told of none.
    """
    stale_us: dict[str, int] = {}
    for feature_set in sets:
        for name, _ in feature_set.view_digests:
            stale_us[name] = max(stale_us.get(name, 0), feature_set.stale_up_to_us)
    kept: dict[Layout, int] = {}
    for bound in views:
        view, layout = bound.view, (bound.view.name, bound.schema_id)
        own_us = view.ttl_us + max(view.ttl_us, stale_us.get(view.name, 0)) if view.ttl_us else 0
        known_us = kept.get(layout)
        # Definitions that differ in their times to live may share a layout: none of them may lack a value.
        kept[layout] = own_us if known_us is None else max(own_us, known_us) if own_us and known_us else 0
    return kept
