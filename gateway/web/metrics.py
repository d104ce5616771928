"""The workers' counters as Prometheus metrics."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from gateway.control.fleet import Fleet

_LABELS = ("model", "version", "experiment", "variant", "reason")


class FleetCollector(Collector):
    """Turns the newest reports of the workers into metrics.

    Counters are summed over the living workers; one that is started again begins at 0, which rate() understands.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def collect(self) -> Iterator[Metric]:
        """Give the metrics."""
        reports = self._fleet.reports()
        predictions: Counter[tuple[str, ...]] = Counter()
        totals: Counter[str] = Counter()
        for report in reports:
            counts: dict[str, Any] = dict(report.counts)
            for *label, count in counts.get("predictions", ()):
                predictions[tuple(str(part) for part in label)] += count
            for name in ("waves", "wave_calls", "outcomes"):
                totals[name] += counts.get(name, 0)
        answered = CounterMetricFamily(
            "turnout_predictions", "Predictions that had a version to answer; reason is empty when OK.", labels=_LABELS
        )
        for label, count in sorted(predictions.items()):
            answered.add_metric(label, count)
        yield answered
        yield CounterMetricFamily("turnout_waves", "Waves that were walked.", value=totals["waves"])
        yield CounterMetricFamily("turnout_wave_calls", "Calls in those waves.", value=totals["wave_calls"])
        yield CounterMetricFamily("turnout_outcomes", "Outcomes that were recorded.", value=totals["outcomes"])
        ready = GaugeMetricFamily("turnout_worker_ready", "Whether the worker answers.", labels=("slot",))
        revision = GaugeMetricFamily("turnout_worker_revision", "The revision that it serves.", labels=("slot",))
        restarts = CounterMetricFamily("turnout_worker_restarts", "How often it was started again.", labels=("slot",))
        for report in reports:
            ready.add_metric((str(report.slot),), float(report.ready))
            revision.add_metric((str(report.slot),), report.revision)
            restarts.add_metric((str(report.slot),), report.restarts)
        yield from (ready, revision, restarts)
