"""The input that a bound feature set fills: what is looked up, and what becomes of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from features.fetch import FeatureMatrix, Lookup, fetch
from gateway.errors import InputMismatchError
from gateway.serving.rows import split_items, split_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.plan import FeaturePlan
    from features.store import OnlineStore
    from gateway.serving.request import Request
    from gateway.serving.walk import Share


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


def feed(store: OnlineStore, shares: Sequence[Share], tally: ReadCounts) -> None:
    """Fill the input that bound feature sets cover, with one read of the store for all the calls."""
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
    matrices = fetch(store, [reading.lookup(now_us) for reading in sets.values()], now_us)
    tally.count_read(began)
    for reading, matrix in zip(sets.values(), matrices, strict=True):
        reading.take(matrix)
        tally.count_features(reading.plan, matrix)


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
        for share, readers in self.shares:
            end = at + len(readers)
            share.take(readers, matrix.values[at:end])
            at = end
