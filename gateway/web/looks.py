"""What is known of an experiment without looking at its data: the looks that were kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.report.effect import Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.web.page import Visit

SHOWN_MAX = 200
"""About so many of the kept looks are drawn."""


def kept_looks(visit: Visit, name: str) -> list[pb.GetRecommendationResponse]:
    """Return the looks of an experiment, oldest first, the newest among them."""
    request = pb.ListLooksRequest(name=name, spread_max=SHOWN_MAX)
    looks: list[pb.GetRecommendationResponse] = []
    while True:
        answer = visit.experiments.ListLooks(request)
        looks += answer.looks
        if not answer.next_page_token:
            return looks
        request.page_token = answer.next_page_token


def readings_of(looks: Sequence[pb.GetRecommendationResponse], metric: str, variant: str) -> list[Reading]:
    """Return how an effect was estimated at each look."""
    return [
        Reading(told.analysis.time_us, each.estimate.difference, each.estimate.lower, each.estimate.upper)
        for told in looks
        for each in told.analysis.comparisons
        if (each.metric, each.variant) == (metric, variant) and each.WhichOneof("result") == "estimate"
    ]
