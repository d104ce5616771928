"""A change as a CloudEvents 1.0 document, and its signature as Standard Webhooks says."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
from typing import TYPE_CHECKING

from registry.webhooks import key_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.revision import Change

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
TEST_KIND = "webhook.test"

_SEQUENCE_DIGITS = 19


def event_of(change: Change, source: str) -> bytes:
    """Return the document of a change; each attempt to deliver it sends the same bytes.

    The extension `sequence` puts the events of a source into their order, as text too.
    """
    data = {
        "revision": change.revision,
        "kind": change.kind,
        "resource": change.resource,
        "actor": change.actor,
        "time_us": change.time_us,
        "detail": change.detail,
        "before": change.before,
        "after": change.after,
    }
    return _document(
        event_id=str(change.revision),
        source=source,
        kind=change.kind,
        subject=change.resource,
        time_us=change.time_us,
        data=data,
        sequence=f"{change.revision:0{_SEQUENCE_DIGITS}d}",
    )


def trial_event(webhook_id: str, source: str, *, event_id: str, time_us: int) -> bytes:
    """Return the document that tries a webhook."""
    subject = f"webhooks/{webhook_id}"
    return _document(event_id=event_id, source=source, kind=TEST_KIND, subject=subject, time_us=time_us, data={})


def headers_of(body: bytes, *, secret: str, message_id: str, now_s: int) -> dict[str, str]:
    """Return the headers of an attempt, signed over the message's id, the time of the attempt and the body."""
    signed = f"{message_id}.{now_s}.".encode() + body
    signature = base64.b64encode(hmac.new(key_of(secret), signed, hashlib.sha256).digest()).decode()
    return {
        "content-type": CONTENT_TYPE,
        "user-agent": "turnout",
        "webhook-id": message_id,
        "webhook-timestamp": str(now_s),
        "webhook-signature": f"v1,{signature}",
    }


def _document(
    *,
    event_id: str,
    source: str,
    kind: str,
    subject: str,
    time_us: int,
    data: Mapping[str, object],
    **extensions: str,
) -> bytes:
    moment = dt.datetime.fromtimestamp(time_us // 1_000_000, dt.UTC).replace(microsecond=time_us % 1_000_000)
    document = {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": f"turnout.{kind}",
        "subject": subject,
        "time": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        **extensions,
        "data": dict(data),
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
