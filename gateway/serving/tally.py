"""Counts of what a worker answered, cheap enough to keep on the hot path.

What the calls of a wave have in common is counted once for the wave: mostly it is one target, one outcome and one or
two times of arrival.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING

from features.lookup import GIVEN, MISSING, NULL, PRESENT, STALE, STALE_SERVED, UNAVAILABLE
from gateway.telemetry.families import CODES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from features.lookup import FeatureMatrix
    from features.plan import FeaturePlan
    from gateway.models.slots import VersionKey
    from gateway.serving.request import Request
    from gateway.serving.table import Target
    from gateway.telemetry.meter import Meter, Series
    from storage.errors import DomainError

MAXIMA_WINDOW_S = 60.0
STATUSES = {
    PRESENT: "present",
    NULL: "null",
    MISSING: "missing",
    STALE: "stale",
    STALE_SERVED: "stale_served",
    UNAVAILABLE: "unavailable",
    GIVEN: "given",
}

UNSETTLED_MAX = 1024
"""How many readings of views are counted together at the most."""

FEW = 8
"""Up to so many calls a loop is quicker than a Counter."""

_Group = tuple["Target | None", "DomainError | None", str, float]
_US = 1_000_000
_US_PER_MS = 1000
_shared = attrgetter("target", "error", "method", "arrived")
SIZES_MAX = 256
"""Callers choose how many rows they send."""


class VersionCounts:
    """What one version answered, in pieces and microseconds.

    Attributes
    ----------
    answered, answered_us, failed, failed_us
        Its calls, and the time from their arrival to their record.
    queue_us
        How much of that they waited for their waves.
    runs, rows, run_us
        Its runs, the rows in them, and their time.
    sizes
        The first `SIZES_MAX` numbers of rows that ran together, each with how often and how long in all.
    last_s
        When it last answered, in seconds since the Unix epoch; 0 before that.
    """

    __slots__ = (
        "answered",
        "answered_us",
        "failed",
        "failed_us",
        "last_s",
        "queue_us",
        "rows",
        "run_us",
        "runs",
        "sizes",
    )

    def __init__(self) -> None:
        self.answered = self.answered_us = self.failed = self.failed_us = 0
        self.queue_us = self.runs = self.rows = self.run_us = 0
        self.sizes: dict[int, list[int]] = {}
        self.last_s = 0.0


class _Arm:
    """The series of one target."""

    __slots__ = ("outcomes", "seconds", "version")

    def __init__(self, seconds: Series, version: VersionCounts) -> None:
        self.seconds = seconds
        self.version = version
        self.outcomes: dict[tuple[str, type[DomainError] | None], Series] = {}


class _View:
    """The series of one feature view."""

    __slots__ = ("age", "age_max_us", "age_max_us_before", "statuses")

    def __init__(self, meter: Meter, name: str) -> None:
        family = "turnout_feature_reads_total"
        self.statuses = {number: meter.series(family, (name, status)) for number, status in STATUSES.items()}
        self.age = meter.series("turnout_feature_age_seconds", (name,))
        self.age_max_us = self.age_max_us_before = 0

    def add(self, statuses: bytes | bytearray, ages_ms: Sequence[int]) -> None:
        """Count readings."""
        for status, count in Counter(statuses).items():
            self.statuses[status].total += count
        ages_ms = [age_ms for age_ms in ages_ms if age_ms >= 0]
        if ages_ms:
            self.age.total += sum(ages_ms) * _US_PER_MS
            self.age.count += len(ages_ms)
            self.age_max_us = max(self.age_max_us, max(ages_ms) * _US_PER_MS)


def _grouped(wave: Sequence[Request]) -> Iterable[tuple[_Group, int]]:
    """Give what calls of a wave have in common, and how many have it."""
    if len(wave) > FEW:
        return Counter(map(_shared, wave)).items()
    groups: dict[_Group, int] = {}
    for request in wave:
        group = _shared(request)
        groups[group] = groups.get(group, 0) + 1
    return groups.items()


class Tally:
    """What one worker counts. Its numbers are in the meter.

    Parameters
    ----------
    meter
        Where they are.
    code_of
        The gRPC status code of an error.
    """

    def __init__(self, meter: Meter, code_of: Callable[[DomainError], int]) -> None:
        self.meter = meter
        self._code_of = code_of
        self._lock = threading.Lock()  # once for each wave; what goes apart is counted by other threads
        self._wave_calls = meter.series("turnout_wave_calls")
        self._queue = meter.series("turnout_call_queue_seconds")
        self._store_reads = meter.series("turnout_online_store_read_seconds")
        self._store_failures = meter.series("turnout_online_store_failures_total")
        self._arms: dict[tuple[VersionKey, str, str], _Arm] = {}
        self._runs: dict[VersionKey, tuple[Series, Series, VersionCounts]] = {}
        self._views: dict[str, _View] = {}
        self._unsettled: dict[FeaturePlan, tuple[bytearray, list[int]]] = {}
        self._maxima_until = time.monotonic() + MAXIMA_WINDOW_S

    def count(self, wave: Sequence[Request], started: float) -> None:
        """Count a wave that was walked from a time of the monotonic clock to now."""
        with self._lock:
            now = time.monotonic()
            now_s = time.time()
            self._wave_calls.observe(len(wave))
            for (target, error, method, arrived), count in _grouped(wave):
                since = arrived or started
                queue_us = int((started - since) * _US)
                self._queue.observe(queue_us, count)
                if target is None:
                    self._count_unanswered(method, error, count)
                    continue
                arm = self._arms.get((target.slot.key, target.experiment, target.variant)) or self._arm_of(target)
                kind = None if error is None else type(error)
                outcome = arm.outcomes.get((method, kind)) or self._outcome_of(arm, target, method, error)
                outcome.total += count
                elapsed_us = int((now - since) * _US)
                arm.seconds.observe(elapsed_us, count)
                version = arm.version
                version.queue_us += queue_us * count
                if error is None:
                    version.answered += count
                    version.answered_us += elapsed_us * count
                else:
                    version.failed += count
                    version.failed_us += elapsed_us * count
                version.last_s = now_s
                if target.fallback:
                    self.meter.count("turnout_predictions_fallback_total", (target.experiment, target.variant), count)

    def count_run(self, key: VersionKey, rows: int, began: float) -> None:
        """Count a version's run over some rows, from a time of the monotonic clock to now."""
        with self._lock:
            run_us = int((time.monotonic() - began) * _US)
            seconds, all_rows, version = self._runs.get(key) or self._runs_of(key)
            seconds.observe(run_us)
            all_rows.total += rows
            version.runs += 1
            version.rows += rows
            version.run_us += run_us
            size = version.sizes.get(rows)
            if size is None:
                if len(version.sizes) >= SIZES_MAX:
                    return
                size = version.sizes[rows] = [0, 0]
            size[0] += 1
            size[1] += run_us

    def count_read(self, began: float) -> None:
        """Count a read of the online store, from a time of the monotonic clock to now."""
        with self._lock:
            self._store_reads.observe(int((time.monotonic() - began) * _US))

    def count_features(self, plan: FeaturePlan, matrix: FeatureMatrix) -> None:
        """Count what was found of each view of a feature set, and how old it was; in heaps, since that is cheaper."""
        with self._lock:
            if UNAVAILABLE in matrix.statuses:
                self._store_failures.total += 1
            statuses, ages_ms = self._unsettled.setdefault(plan, (bytearray(), []))
            statuses += matrix.statuses
            ages_ms += matrix.ages_ms
            if len(ages_ms) >= UNSETTLED_MAX:
                self._settle_features()

    def _settle_features(self) -> None:
        heaps, self._unsettled = self._unsettled, {}
        for plan, (statuses, ages_ms) in heaps.items():
            for place, view in enumerate(plan.views):
                counts = self._views.get(view.name)
                if counts is None:
                    counts = self._views[view.name] = _View(self.meter, view.name)
                counts.add(statuses[place :: len(plan.views)], ages_ms[place :: len(plan.views)])

    def count_lost(self, experiment: str, variant: str, count: int) -> None:
        """Count predictions that were answered and could not be journalled."""
        self.meter.count("turnout_predictions_lost_total", (experiment, variant), count)

    def count_outcomes(self, results: Sequence[DomainError | None]) -> None:
        """Count outcomes by what became of them; from any thread."""
        for (code, reason), count in Counter(map(self._ending, results)).items():
            self.meter.count("turnout_outcomes_total", (code, reason), count)

    def of_version(self, key: VersionKey) -> VersionCounts:
        """Return what a version answered since the worker began."""
        return self._runs_of(key)[2]

    def settle(self) -> None:
        """Bring the gauges up to date; called before the meter is read."""
        with self._lock:
            self._settle_features()
        turn = time.monotonic() > self._maxima_until
        if turn:
            self._maxima_until = time.monotonic() + MAXIMA_WINDOW_S
        for name, view in list(self._views.items()):
            oldest_us = max(view.age_max_us, view.age_max_us_before)
            self.meter.put("turnout_feature_age_max_seconds", (name,), oldest_us / _US)
            if turn:
                view.age_max_us_before, view.age_max_us = view.age_max_us, 0

    def _ending(self, error: DomainError | None) -> tuple[str, str]:
        return ("OK", "") if error is None else (CODES[self._code_of(error)], error.reason)

    def _count_unanswered(self, method: str, error: DomainError | None, count: int) -> None:
        """Count calls that no version was found for: what they named is the client's word and no label."""
        self.meter.count("turnout_predictions_total", (method, "", "0", "", "", *self._ending(error)), count)

    def _arm_of(self, target: Target) -> _Arm:
        key = target.slot.key
        labels = (key.model, str(key.version), target.experiment, target.variant)
        arm = _Arm(self.meter.series("turnout_prediction_seconds", labels), self.of_version(key))
        self._arms[key, target.experiment, target.variant] = arm
        return arm

    def _outcome_of(self, arm: _Arm, target: Target, method: str, error: DomainError | None) -> Series:
        key = target.slot.key
        labels = (method, key.model, str(key.version), target.experiment, target.variant, *self._ending(error))
        series = self.meter.series("turnout_predictions_total", labels)
        arm.outcomes[method, None if error is None else type(error)] = series
        return series

    def _runs_of(self, key: VersionKey) -> tuple[Series, Series, VersionCounts]:
        found = self._runs.get(key)
        if found is None:
            labels = (key.model, str(key.version))
            seconds = self.meter.series("turnout_version_run_seconds", labels)
            found = (seconds, self.meter.series("turnout_version_rows_total", labels), VersionCounts())
            self._runs[key] = found
        return found
