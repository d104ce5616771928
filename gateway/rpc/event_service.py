"""The events service over the control plane's events."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from gateway.rpc import status
from turnout.events.v1 import event_service_pb2, event_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

    from gateway.control.events import Events
    from gateway.journal.tail import Event

_KINDS = {
    "predictions": event_service_pb2.EVENT_KIND_PREDICTION,
    "outcomes": event_service_pb2.EVENT_KIND_OUTCOME,
    "gaps": event_service_pb2.EVENT_KIND_GAP,
}


class EventService(event_service_pb2_grpc.EventServiceServicer):
    """Serves turnout.events.v1.EventService.

    Parameters
    ----------
    events
        What is asked.
    """

    def __init__(self, events: Events) -> None:
        self._events = events

    def CountEvents(
        self, request: event_service_pb2.CountEventsRequest, context: grpc.ServicerContext
    ) -> event_service_pb2.CountEventsResponse:
        """Count events, each identity once."""
        with status.mapped(context):
            counts = self._events.count(request.model)
            return event_service_pb2.CountEventsResponse(
                predictions=counts.predictions,
                failed_predictions=counts.failed_predictions,
                outcomes=counts.outcomes,
                joined_outcomes=counts.joined_outcomes,
                lost_predictions=counts.lost_predictions,
                records=counts.records,
            )

    def TailEvents(
        self, request: event_service_pb2.TailEventsRequest, context: grpc.ServicerContext
    ) -> Iterator[event_service_pb2.TailEventsResponse]:
        """Send the newest events and, when asked to follow, each new one until the call ends."""
        with status.mapped(context):
            if not request.follow:
                yield from map(_response, self._events.tail(request.limit, model=request.model))
                return
            ended = threading.Event()
            if not context.add_callback(ended.set):
                return
            yield from map(_response, self._events.follow(request.limit, model=request.model, wait=ended.wait))


def _response(event: Event) -> event_service_pb2.TailEventsResponse:
    return event_service_pb2.TailEventsResponse(kind=_KINDS[event.kind], time_us=event.time_us, json=event.json)
