"""Webhooks over gRPC, on the control port."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from gateway.errors import RequestMalformedError
from gateway.rpc import paging, status
from gateway.rpc import registry_codec as codec
from registry import deliveries, webhooks
from registry.cloudevent import headers_of, trial_event
from storage.leases import database_now_us
from turnout import resources
from turnout.registry.v1 import webhook_service_pb2 as pb
from turnout.registry.v1 import webhook_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    import grpc
    from sqlalchemy import Connection

    from gateway.control.posting import Poster
    from gateway.control.telling import Teller
    from registry.deliveries import Delivery, Outcome
    from registry.webhooks import Webhook
    from storage.clock import Clock
    from storage.database import Database

_STATES = {
    pb.DELIVERY_STATE_UNSPECIFIED: "",
    pb.DELIVERY_STATE_PENDING: deliveries.PENDING,
    pb.DELIVERY_STATE_DELIVERED: deliveries.DELIVERED,
    pb.DELIVERY_STATE_DEAD: deliveries.DEAD,
}
_STATE_NUMBERS = {name: number for number, name in _STATES.items()}


class WebhookService(pb_grpc.WebhookServiceServicer):
    """Keeps webhooks and tells of their deliveries.

    Parameters
    ----------
    database, clock
        Where they are kept, and the time that changes are dated by.
    poster, teller
        What tries a webhook, and a channel.
    """

    def __init__(self, *, database: Database, clock: Clock, poster: Poster, teller: Teller) -> None:
        self._database = database
        self._clock = clock
        self._poster = poster
        self._teller = teller

    def CreateWebhook(
        self, request: pb.CreateWebhookRequest, context: grpc.ServicerContext
    ) -> pb.CreateWebhookResponse:
        """Create a webhook."""
        with status.mapped(context):
            asked = request.webhook
            self._teller.check(asked.url)
            with self._database.write() as tx:
                webhook, secret = webhooks.create_webhook(
                    tx,
                    _id(asked.name),
                    url=asked.url,
                    event_kinds=tuple(asked.event_kinds),
                    models=[codec.model_id(name) for name in asked.models],
                    source=asked.source,
                    secret=request.secret,
                    actor=status.actor(context),
                    now_us=self._clock.now_us(),
                )
            return pb.CreateWebhookResponse(webhook=_message(webhook, {}), secret=secret)

    def GetWebhook(self, request: pb.GetWebhookRequest, context: grpc.ServicerContext) -> pb.GetWebhookResponse:
        """Return one webhook."""
        with status.mapped(context), self._database.read() as tx:
            webhook = webhooks.get_webhook(tx, _id(request.name))
            return pb.GetWebhookResponse(webhook=_messages(tx, [webhook])[0])

    def ListWebhooks(self, request: pb.ListWebhooksRequest, context: grpc.ServicerContext) -> pb.ListWebhooksResponse:
        """List the webhooks by name."""
        with status.mapped(context), self._database.read() as tx:
            size = paging.page_size(request.page_size)
            found = webhooks.list_webhooks(tx, after=paging.text_after(request.page_token), limit_max=size + 1)
            return pb.ListWebhooksResponse(
                webhooks=_messages(tx, found[:size]),
                next_page_token=paging.token_for(found[size - 1].id) if len(found) > size else "",
            )

    def UpdateWebhook(
        self, request: pb.UpdateWebhookRequest, context: grpc.ServicerContext
    ) -> pb.UpdateWebhookResponse:
        """Replace fields of a webhook."""
        with status.mapped(context):
            asked = request.webhook
            self._teller.check(asked.url)
            values: dict[str, object] = {
                "url": asked.url,
                "event_kinds": tuple(asked.event_kinds),
                "models": [codec.model_id(name) for name in asked.models],
                "paused": asked.paused,
                "source": asked.source,
            }
            with self._database.write() as tx:
                webhook = webhooks.update_webhook(
                    tx,
                    _id(asked.name),
                    {path: values.get(path) for path in request.update_mask.paths},
                    actor=status.actor(context),
                    now_us=self._clock.now_us(),
                )
                return pb.UpdateWebhookResponse(webhook=_messages(tx, [webhook])[0])

    def DeleteWebhook(
        self, request: pb.DeleteWebhookRequest, context: grpc.ServicerContext
    ) -> pb.DeleteWebhookResponse:
        """Remove a webhook."""
        with status.mapped(context), self._database.write() as tx:
            revision = webhooks.delete_webhook(
                tx, _id(request.name), actor=status.actor(context), now_us=self._clock.now_us()
            )
            return pb.DeleteWebhookResponse(revision=revision)

    def TestWebhook(self, request: pb.TestWebhookRequest, context: grpc.ServicerContext) -> pb.TestWebhookResponse:
        """Deliver a test event once, now."""
        with status.mapped(context):
            webhook_id = _id(request.name)
            with self._database.read() as tx:
                webhook, secret = webhooks.get_webhook(tx, webhook_id), webhooks.secret_of(tx, webhook_id)
            if webhook.channel:
                outcome = self._teller.send(webhook.channel, "Turnout: a test", "This channel works.")
                return _tried(outcome)
            event_id = f"test-{uuid.uuid4().hex}"
            body = trial_event(webhook.id, webhook.source, event_id=event_id, time_us=self._clock.now_us())
            headers = headers_of(body, secret=secret, message_id=f"{webhook.id}-{event_id}", now_s=int(time.time()))
            outcome = self._poster.post(webhook.url, body, headers)
            return _tried(outcome)

    def ListDeliveries(
        self, request: pb.ListDeliveriesRequest, context: grpc.ServicerContext
    ) -> pb.ListDeliveriesResponse:
        """List deliveries, newest first."""
        with status.mapped(context), self._database.read() as tx:
            size = paging.page_size(request.page_size)
            found = deliveries.list_deliveries(
                tx,
                _id(request.parent),
                state=_STATES.get(request.state, ""),
                before=paging.number_after(request.page_token),
                limit_max=size + 1,
            )
            return pb.ListDeliveriesResponse(
                deliveries=[_delivery(each) for each in found[:size]],
                next_page_token=paging.token_for(found[size - 1].revision) if len(found) > size else "",
            )

    def RedeliverWebhook(
        self, request: pb.RedeliverWebhookRequest, context: grpc.ServicerContext
    ) -> pb.RedeliverWebhookResponse:
        """Try deliveries again."""
        with status.mapped(context), self._database.write() as tx:
            now_us = database_now_us(tx)
            count = deliveries.redeliver(tx, _id(request.name), revision=request.revision, now_us=now_us)
            return pb.RedeliverWebhookResponse(count=count)


def _id(name: str) -> str:
    try:
        return resources.webhook_id(name)
    except resources.ResourceNameError as error:
        raise RequestMalformedError(str(error), name=name[:128]) from error


def _tried(outcome: Outcome) -> pb.TestWebhookResponse:
    return pb.TestWebhookResponse(delivered=outcome.delivered, status_code=outcome.status_code, error=outcome.error)


def _messages(tx: Connection, found: list[Webhook]) -> list[pb.Webhook]:
    counts = deliveries.counts(tx, [each.id for each in found])
    return [_message(each, counts[each.id]) for each in found]


def _message(webhook: Webhook, counts: dict[str, int]) -> pb.Webhook:
    return pb.Webhook(
        name=resources.webhook_name(webhook.id),
        url=webhook.url,
        event_kinds=webhook.event_kinds,
        models=[resources.model_name(model) for model in webhook.models],
        paused=webhook.paused,
        source=webhook.source,
        create_time_us=webhook.created_us,
        create_actor=webhook.created_by,
        cursor_revision=webhook.cursor_revision,
        pending=counts.get(deliveries.PENDING, 0),
        dead=counts.get(deliveries.DEAD, 0),
    )


def _delivery(delivery: Delivery) -> pb.Delivery:
    return pb.Delivery(
        revision=delivery.revision,
        kind=delivery.kind,
        resource=delivery.resource,
        state=_STATE_NUMBERS[delivery.state],
        attempts=delivery.attempts,
        due_us=delivery.due_us,
        attempt_time_us=delivery.attempt_us,
        status_code=delivery.status_code,
        error=delivery.error,
    )
