"""The messages of StreamPredict between bytes and the pipeline: what Predict takes and gives, or why not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from gateway.errors import RequestMalformedError
from gateway.rpc import prediction_codec
from turnout.serving.v1 import prediction_service_pb2 as pb

if TYPE_CHECKING:
    from gateway.serving.request import Request
    from gateway.transport.port import Call
    from storage.errors import DomainError

_PREDICTION_TAG = b"\x0a"  # field 1 of StreamPredictResponse, length-delimited
_parse = pb.StreamPredictRequest.FromString


def decode(call: Call, now_us: int) -> Request:
    """Return the request of a message, or raise RequestMalformedError."""
    try:
        message = _parse(call.payload)
    except DecodeError:
        raise RequestMalformedError("the message is not a turnout.serving.v1.StreamPredictRequest") from None
    deadline = call.deadline
    if message.HasField("timeout_ms"):
        if message.timeout_ms < 1:
            raise RequestMalformedError("`timeout_ms` is at least 1", field="timeout_ms")
        allowed = time.monotonic() + message.timeout_ms / 1000
        deadline = allowed if deadline is None else min(deadline, allowed)
    return prediction_codec.request_of(message.request, now_us, deadline)


def encode(request: Request) -> bytes:
    """Return the answer to a message that was answered."""
    reply = prediction_codec.encode(request)
    return _PREDICTION_TAG + prediction_codec.varint(len(reply)) + reply


def refuse(call: Call, error: DomainError) -> None:
    """Answer a message with an error; the stream goes on."""
    call.reply(pb.StreamPredictResponse(error=prediction_codec.error_of(error)).SerializeToString())
