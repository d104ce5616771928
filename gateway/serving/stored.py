"""The input that a bound feature set fills: what is looked up, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from features.fetch import FeatureMatrix, Lookup
from gateway.errors import InputMismatchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.plan import FeaturePlan
    from gateway.models.slots import Slot
    from gateway.serving.request import Request

_US_PER_MS = 1000
_NOTHING_GIVEN: dict[str, float] = {}


def check_given(request: Request, plan: FeaturePlan) -> None:
    """Raise InputMismatchError when the caller names a feature that the set has not, or leaves out what it needs."""
    given = request.features or _NOTHING_GIVEN
    for name in given:
        if name not in plan.column_of:
            raise InputMismatchError(
                f"feature set `{plan.name}` has no feature `{name}`", feature=name, feature_set=plan.name
            )
    lacking = plan.lacking(request.entities, given)
    if lacking:
        raise InputMismatchError(
            f"feature set `{plan.name}` needs {', '.join(f'`{name}`' for name in lacking)}: send the entity, or the "
            "feature itself",
            lacking=",".join(lacking),
            feature_set=plan.name,
        )


def lookup(group: Sequence[Request]) -> Lookup:
    """Return what the store is asked for the calls that read one feature set."""
    plan = _slot(group[0]).plan
    if plan is None:
        raise ValueError("a version without a feature set looks nothing up")
    given = [request.features or _NOTHING_GIVEN for request in group]
    return Lookup(
        plan,
        [request.entities for request in group],
        [request.event_time_us or 0 for request in group],
        given if any(given) else None,
    )


def fill(group: Sequence[Request], matrix: FeatureMatrix) -> None:
    """Give each call its row of the matrix as the feature input, and what the journal says of it.

    All calls of the group read one feature set, as one element type.
    """
    dtype = _slot(group[0]).feature_dtype
    values = matrix.values
    typed = values if dtype == np.float64 else values.astype(dtype)
    statuses = bytes(matrix.statuses)
    ages_ms = [-1 if age_us < 0 else age_us // _US_PER_MS for age_us in matrix.ages_us]
    views = len(statuses) // len(group)
    for row, request in enumerate(group):
        request.feature_row = values[row]
        request.feeds[_slot(request).feature_input] = typed[row : row + 1]
        request.view_status = statuses[row * views : (row + 1) * views]
        request.view_age_ms = ages_ms[row * views : (row + 1) * views]


def _slot(request: Request) -> Slot:
    if request.target is None:
        raise ValueError("only a call with a target looks anything up")
    return request.target.slot
