"""How long values are kept, by what may still serve them."""

from __future__ import annotations

import pytest

from features.definitions import BoundView, Feature, FeatureSet, View
from features.keeping import kept_by_layout

HOUR_US = 3_600_000_000


def bound(ttl_hours, name="v", schema_id=1):
    view = View(name=name, join_keys=("k",), sql="", features=(Feature(name="f"),), ttl_us=ttl_hours * HOUR_US)
    return BoundView(view=view, schema_id=schema_id)


def set_of(stale_hours, *names):
    return FeatureSet(
        name="s", features=(), view_digests=tuple((name, "") for name in names), stale_up_to_us=stale_hours * HOUR_US
    )


@pytest.mark.parametrize(
    ("views", "sets", "hours"),
    [
        ([bound(3)], [], 6),
        ([bound(3)], [set_of(1, "v")], 6),
        ([bound(3)], [set_of(1, "v"), set_of(30, "v"), set_of(99, "other")], 33),
        ([bound(0)], [set_of(30, "v")], 0),
        ([bound(3), bound(7)], [], 14),
        ([bound(3), bound(0)], [], 0),
        ([bound(0), bound(3)], [], 0),
    ],
)
def test_a_value_is_kept_while_somebody_may_be_served_it_or_told_that_it_is_stale(views, sets, hours):
    assert kept_by_layout(views, sets) == {("v", 1): hours * HOUR_US}


def test_layouts_are_kept_apart():
    kept = kept_by_layout([bound(1), bound(2, schema_id=2), bound(3, name="w")], [])
    assert kept == {("v", 1): 2 * HOUR_US, ("v", 2): 4 * HOUR_US, ("w", 1): 6 * HOUR_US}
