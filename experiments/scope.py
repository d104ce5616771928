"""Whom an experiment is for: what its unit is, which calls it takes, which units are given a variant by name."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from experiments.bucketing import BUCKETS
from experiments.errors import ExperimentInvalidError
from experiments.layer import places_of
from experiments.targeting import compile_condition

if TYPE_CHECKING:
    from collections.abc import Mapping

FORCED_MAX = 1000
UNIT_CHARS_MAX = 256
_PLACE_TOLERANCE = 1e-9


class UnitKind(enum.StrEnum):
    """What is assigned and observed."""

    UNIT_ID = "unit_id"
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom an experiment is for.

    Parameters
    ----------
    unit
        The call's unit id, or each request by itself.
    targeting
        A condition on the call's attributes, see `experiments.targeting`; None: all calls. What does not match is not
        in the experiment.
    forced
        Named units, each with the name of the variant that it always gets; their calls are not compared.
    layer_share
        The part of the model's units that the experiment holds, so that no other gets them, in (0, 1].
    """

    unit: UnitKind = UnitKind.UNIT_ID
    targeting: Mapping[str, Any] | None = None
    forced: Mapping[str, str] = field(default_factory=dict)
    layer_share: float = 1.0


def validate_scope(scope: Scope, *, variants: frozenset[str]) -> None:
    """Raise ExperimentInvalidError or TargetingInvalidError unless the scope keeps every rule."""
    share = scope.layer_share
    if (
        not 0 < share <= 1
        or places_of(share) < 1
        or abs(share * BUCKETS - places_of(share)) > _PLACE_TOLERANCE * BUCKETS
    ):
        raise ExperimentInvalidError(f"layer_share is {share}, not from 0.0001 to 1 in steps of 0.0001")
    if len(scope.forced) > FORCED_MAX:
        raise ExperimentInvalidError(f"more than {FORCED_MAX} units are forced")
    for unit, variant in scope.forced.items():
        if not 1 <= len(unit) <= UNIT_CHARS_MAX:
            raise ExperimentInvalidError(f"a forced unit has 1 to {UNIT_CHARS_MAX} characters, not {unit[:80]!r}")
        if variant not in variants:
            raise ExperimentInvalidError(f"{unit[:80]!r} is forced to {variant[:80]!r}, which is no variant")
    if scope.targeting is not None:
        compile_condition(scope.targeting)
