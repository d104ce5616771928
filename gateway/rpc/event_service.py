"""The events service over the control plane's events."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from gateway.errors import RequestMalformedError
from gateway.journal.rewriting import Subject
from gateway.rpc import status
from turnout.events.v1 import event_service_pb2, event_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

    from gateway.control.erasing import Eraser
    from gateway.control.events import Events
    from gateway.journal.tail import Event

_KINDS = {
    "predictions": event_service_pb2.EVENT_KIND_PREDICTION,
    "outcomes": event_service_pb2.EVENT_KIND_OUTCOME,
    "gaps": event_service_pb2.EVENT_KIND_GAP,
    "shadows": event_service_pb2.EVENT_KIND_SHADOW,
}


class EventService(event_service_pb2_grpc.EventServiceServicer):
    """Serves turnout.events.v1.EventService.

    Parameters
    ----------
    events
        What is asked.
    eraser
        What erases.
    """

    def __init__(self, events: Events, eraser: Eraser) -> None:
        self._events = events
        self._eraser = eraser

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
                early_outcomes=counts.early_outcomes,
                late_outcomes=counts.late_outcomes,
                orphan_outcomes=counts.orphan_outcomes,
                corrected_outcomes=counts.corrected_outcomes,
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

    def ExportEvents(
        self, request: event_service_pb2.ExportEventsRequest, context: grpc.ServicerContext
    ) -> Iterator[event_service_pb2.ExportEventsResponse]:
        """Send events of one kind as a Parquet file."""
        with status.mapped(context):
            kind = next((name for name, number in _KINDS.items() if number == request.kind), None)
            if kind is None:
                raise RequestMalformedError("an export names the kind of the events", field="kind")
            pieces = self._events.export(
                kind, model=request.model, since_us=request.since_us, until_us=request.until_us
            )
            for piece in pieces:
                yield event_service_pb2.ExportEventsResponse(data=piece)

    def EraseEvents(
        self, request: event_service_pb2.EraseEventsRequest, context: grpc.ServicerContext
    ) -> event_service_pb2.EraseEventsResponse:
        """Erase the events of one unit or entity."""
        with status.mapped(context):
            subject = Subject(request.unit_id, request.entity.key, request.entity.value)
            found, pending = self._eraser.erase(
                subject, reason=request.reason, actor=status.actor(context), dry_run=request.dry_run
            )
            return event_service_pb2.EraseEventsResponse(
                predictions=found.predictions,
                outcomes=found.outcomes,
                files=found.files,
                pending=pending,
                shadows=found.shadows,
            )


def _response(event: Event) -> event_service_pb2.TailEventsResponse:
    return event_service_pb2.TailEventsResponse(kind=_KINDS[event.kind], time_us=event.time_us, json=event.json)
