"""The gateway's numbers in Prometheus' text format."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

from gateway.telemetry.families import FAMILIES, Family, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.core import Metric

    from gateway.telemetry.meter import Labels, Meter, Series


class GatewayCollector(Collector):
    """Shows what is gathered at each scrape.

    Parameters
    ----------
    gather
        Returns all numbers as they stand now.
    """

    def __init__(self, gather: Callable[[], Meter]) -> None:
        self._gather = gather

    def describe(self) -> list[Metric]:
        """Say nothing in advance: a scrape must not happen at the registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Give every family; one that nothing was counted of yet is there without samples."""
        figures = self._gather()
        for family in FAMILIES.values():
            yield metric_of(family, figures.family(family.name))


def metric_of(family: Family, sets: Mapping[Labels, Series]) -> Metric:
    """Return a family's numbers as Prometheus knows them."""
    if not family.labels and not sets and family.kind is Kind.COUNTER:
        return CounterMetricFamily(family.name, family.help, value=0)
    ordered = sorted(sets.items())
    if family.kind is Kind.COUNTER:
        counter = CounterMetricFamily(family.name, family.help, labels=family.labels)
        for labels, series in ordered:
            counter.add_metric(labels, series.total)
        return counter
    if family.kind is Kind.GAUGE:
        gauge = GaugeMetricFamily(family.name, family.help, labels=family.labels)
        for labels, series in ordered:
            gauge.add_metric(labels, series.total)
        return gauge
    if family.kind is Kind.SUMMARY:
        summary = SummaryMetricFamily(family.name, family.help, labels=family.labels)
        for labels, series in ordered:
            summary.add_metric(labels, series.count, series.total * family.unit)
        return summary
    histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    bounds = [*(f"{bound * family.unit:.6g}" for bound in family.bounds), "+Inf"]
    for labels, series in ordered:
        buckets = list(zip(bounds, accumulate(series.counts), strict=True))
        histogram.add_metric(labels, buckets, series.total * family.unit)
    return histogram
