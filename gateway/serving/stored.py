"""The input that a bound feature set fills: what is looked up, and what becomes of it."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Protocol

from features.fetch import fetch
from features.lookup import MISSING, STALE, UNAVAILABLE, FeatureMatrix, Lookup
from gateway.errors import FeaturesRefusedError, FeaturesUnavailableError, InputMismatchError
from gateway.serving.rows import split_items, split_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from features.memory import Memory
    from features.plan import FeaturePlan
    from features.store import OnlineStore
    from gateway.serving.request import Request
    from gateway.serving.walk import Share
    from storage.errors import DomainError

_WORDS = {MISSING: "missing", STALE: "stale", UNAVAILABLE: "unavailable"}


class ReadCounts(Protocol):
    """Counts what was read of the store."""

    def count_read(self, began: float) -> None:
        """Count a read, from a time of the monotonic clock to now."""

    def count_features(self, plan: FeaturePlan, matrix: FeatureMatrix) -> None:
        """Count what was found of each view of a feature set."""


def check_given(request: Request, plan: FeaturePlan) -> None:
    """Raise InputMismatchError when the caller names a feature that the set has not, or leaves out what it needs."""
    given = request.features
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


def feed(store: OnlineStore, shares: Sequence[Share], tally: ReadCounts, memory: Memory | None = None) -> None:
    """Fill the input that bound feature sets cover, with one read of the store for all the calls.

    A call that its feature set refuses to answer with defaults leaves with its error.
    """
    # The arms of an experiment mostly share one set: they are decoded together, too.
    sets: dict[str, _Reading] = {}
    for share in shares:
        plan = share.slot.plan
        readers = share.readers()
        if plan is not None and readers:
            sets.setdefault(share.slot.feature_set, _Reading(plan)).add(share, readers)
    if not sets:
        return
    began = time.monotonic()
    now_us = shares[0].now_us
    lookups = [reading.lookup(now_us) for reading in sets.values()]
    until = _budget_until(began, sets.values()) if store.far else math.inf
    matrices = fetch(store, lookups, now_us, until=until, memory=memory)
    tally.count_read(began)
    for reading, matrix in zip(sets.values(), matrices, strict=True):
        reading.take(matrix)
        tally.count_features(reading.plan, matrix)


def _budget_until(began: float, readings: Iterable[_Reading]) -> float:
    """Return until when calls wait for the store: half of what is left to the one that may wait longest.

    The other half is for the model.
    """
    deadlines = [request.deadline for reading in readings for request in reading.requests]
    latest = max((deadline for deadline in deadlines if deadline is not None), default=math.inf)
    return began + (latest - began) / 2


def _refusal(request: Request, plan: FeaturePlan) -> DomainError | None:
    """Return why a call is not answered with defaults; None where it is, or needs none."""
    for view, status in zip(plan.views, request.view_status, strict=True):
        if status in plan.refused:
            facts = {"view": view.name, "feature_set": plan.name, "status": _WORDS[status]}
            if status == UNAVAILABLE:
                return FeaturesUnavailableError(
                    f"the online store is down, and feature set `{plan.name}` refuses defaults for `{view.name}`",
                    **facts,
                )
            return FeaturesRefusedError(
                f"the values of `{view.name}` are {_WORDS[status]}, and feature set `{plan.name}` refuses defaults",
                **facts,
            )
    return None


class _Reading:
    """The calls of a wave that read one feature set."""

    __slots__ = ("plan", "requests", "shares")

    def __init__(self, plan: FeaturePlan) -> None:
        self.plan = plan
        self.requests: list[Request] = []
        self.shares: list[tuple[Share, list[Request]]] = []

    def add(self, share: Share, readers: list[Request]) -> None:
        """Take in calls of one version."""
        self.requests += readers
        self.shares.append((share, readers))

    def lookup(self, now_us: int) -> Lookup:
        """Return what the store is asked."""
        times_us = [
            share.now_us if request.event_time_us is None else request.event_time_us
            for share, readers in self.shares
            for request in readers
        ]
        given = [request.features for request in self.requests]
        return Lookup(
            self.plan,
            [request.entities for request in self.requests],
            None if times_us.count(now_us) == len(times_us) else times_us,
            given if any(given) else None,
        )

    def take(self, matrix: FeatureMatrix) -> None:
        """Give each call its row of the matrix, as its input and for the journal and the reply."""
        rows = len(self.requests)
        for request, row, statuses, ages_ms in zip(
            self.requests,
            split_rows(matrix.values.tobytes(), rows),
            split_rows(bytes(matrix.statuses), rows),
            split_items(matrix.ages_ms, rows),
            strict=True,
        ):
            request.feature_row = row
            request.view_status = statuses
            request.view_age_ms = ages_ms
        at = 0
        refusing = any(status in matrix.statuses for status in self.plan.refused)
        for share, readers in self.shares:
            end = at + len(readers)
            share.take(readers, matrix.values[at:end])
            at = end
            if refusing:
                for request in readers:
                    request.error = _refusal(request, self.plan)
                share.drop_failed()
