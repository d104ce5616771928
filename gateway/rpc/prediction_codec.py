"""Predictions between bytes and the pipeline.

A reply is put together from parts that are already bytes: what is the same for every call of a version and variant is
made once, when the serving table is built; what is the same for every tensor of one name, type and shape is made once,
when it is first seen. Protocol Buffers allow it: the fields of a message may be concatenated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import DecodeError

from gateway.errors import RequestMalformedError
from gateway.rpc.dtypes import NAME_OF, NUMBER_OF
from gateway.rpc.status import number_of, sentence_of
from gateway.serving.identity import time_ordered_id
from gateway.serving.memo import Memo
from gateway.serving.request import NOTHING, NOTHING_GIVEN, GivenTensor, Request
from turnout.serving.v1 import prediction_service_pb2 as pb
from turnout.tensor.v1 import tensor_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from features.plan import FeaturePlan
    from gateway.models.layout import Layout
    from gateway.serving.table import Target
    from gateway.transport.port import Call
    from storage.errors import DomainError

REQUEST_ID_CHARS_MAX = 128
PLANS_MAX = 256
"""How many plans' readings are remembered; one more forgets them all."""
TEMPLATES_MAX = 4096
"""How many layouts' templates are remembered; one more forgets them all."""

V = TypeVar("V")

_PRINTABLE = re.compile(r"[!-~]{1,128}")
_OUTPUTS_TAG = b"\x32"  # field 6, length-delimited
_READINGS_TAG = b"\x3a"  # field 7, length-delimited
_REQUEST_ID_TAG = b"\x0a"  # field 1, length-delimited
_DATA_TAG = b"\x22"  # field 4 of Tensor
_STATUS_TAG = b"\x10"  # field 2 of ViewReading
_AGE_TAG = b"\x18"  # field 3 of ViewReading
_parse = pb.PredictRequest.FromString


def decode(call: Call, now_us: int) -> Request:
    """Return the request of a call, or raise RequestMalformedError."""
    try:
        message = _parse(call.payload)
    except DecodeError:
        raise RequestMalformedError("the request is not a turnout.serving.v1.PredictRequest") from None
    return request_of(message, now_us, call.deadline)


def request_of(message: pb.PredictRequest, now_us: int, deadline: float | None) -> Request:
    """Return a message as a request; a deadline is on the monotonic clock. Or raise RequestMalformedError."""
    model = message.model
    if not model:
        raise RequestMalformedError("`model` is empty; say which model is asked", field="model")
    version = message.version
    if version < 0:
        raise RequestMalformedError("`version` counts from 1", field="version")
    entities = message.entities
    # By position, and what is seldom sent is only looked at: this runs for every call.
    return Request(
        time_ordered_id(now_us) if not message.request_id else checked_id(message.request_id, now_us),
        model,
        deadline,
        version,
        message.alias,
        {key: entities[key] for key in entities},
        message.unit_id,
        message.event_time_us if message.HasField("event_time_us") else None,
        _dict(message.attributes) if message.attributes else NOTHING,
        _tensors(message) if message.inputs else (),
        _dict(message.features) if message.features else NOTHING_GIVEN,
    )


def checked_id(request_id: str, now_us: int) -> str:
    """Return the identity that a caller gave, or a new one for none; or raise RequestMalformedError."""
    if not request_id:
        return time_ordered_id(now_us)
    if not _PRINTABLE.fullmatch(request_id):
        raise malformed_id()
    return request_id


def malformed_id() -> RequestMalformedError:
    """Return what is wrong with an identity that cannot be one."""
    return RequestMalformedError(
        f"`request_id` is at most {REQUEST_ID_CHARS_MAX} characters of printable ASCII", field="request_id"
    )


def error_of(error: DomainError) -> pb.PredictionError:
    """Return an error as it stands in the answer to one of several predictions."""
    return pb.PredictionError(code=number_of(error), message=sentence_of(error), reason=error.reason, facts=error.facts)


def _dict(field: Mapping[str, V]) -> dict[str, V]:
    """Return a message's map as a dictionary; `dict` and `items` take twice as long, since they go through Python."""
    return {key: field[key] for key in field}


def _tensors(message: pb.PredictRequest) -> list[GivenTensor]:
    return [
        GivenTensor(tensor.name, NAME_OF.get(tensor.data_type, ""), tuple(tensor.shape), tensor.data)
        for tensor in message.inputs
    ]


def head_of(target: Target) -> bytes:
    """Return the part of a reply that is the same for every call that a target answers."""
    key = target.slot.key
    return pb.PredictResponse(
        model=key.model, version=key.version, experiment=target.experiment, variant=target.variant
    ).SerializeToString()


def encode(request: Request) -> bytes:
    """Return the reply of a request that was answered."""
    target = request.target
    layout = request.layout
    if target is None or layout is None:
        raise ValueError("only a request that was answered has a reply")
    identity = request.request_id.encode()
    parts = [_REQUEST_ID_TAG, varint(len(identity)), identity, target.head, _templates[layout] % request.data]
    plan = target.slot.plan
    if request.view_status and plan is not None:
        for by_status, status, age_ms in zip(_readings[plan], request.view_status, request.view_age_ms, strict=True):
            if age_ms < 0:
                parts.append(by_status[status][0])
            else:
                # Written out for ages of up to three days: a call of a function for each is a third of their cost.
                age = _MORE[age_ms & _LOW] + _LAST[age_ms >> _PAIR_BITS] if _PAIR <= age_ms < _QUAD else varint(age_ms)
                parts += (by_status[status][len(age)], age)
    return b"".join(parts)


def _template(layout: Layout) -> bytes:
    """Return the outputs of a reply, with ``%b`` where the elements of each go."""
    parts: list[bytes] = []
    for (name, dtype, shape), size in zip(layout.tensors, layout.sizes, strict=True):
        head = tensor_pb2.Tensor(name=name, data_type=NUMBER_OF[dtype], shape=shape).SerializeToString()
        inner = head + _DATA_TAG + varint(size)
        prefix = _OUTPUTS_TAG + varint(len(inner) + size) + inner
        parts += (prefix.replace(b"%", b"%%"), b"%b")
    return b"".join(parts)


def _readings_of(plan: FeaturePlan) -> list[list[list[bytes]]]:
    """Return what stands before the ages of a plan's readings, by view, status and the length of the age.

    Length 0 is a reading without an age.
    """
    names = [pb.ViewReading(view=view.name).SerializeToString() for view in plan.views]
    return [[_reading_heads(name + _STATUS_TAG + varint(status)) for status in _STATUSES] for name in names]


def _reading_heads(inner: bytes) -> list[bytes]:
    aged = [_READINGS_TAG + varint(len(inner) + 1 + size) + inner + _AGE_TAG for size in range(1, VARINT_BYTES_MAX + 1)]
    return [_READINGS_TAG + varint(len(inner)) + inner, *aged]


VARINT_BYTES_MAX = 10
_PAIR_BITS = 14
_PAIR = 1 << _PAIR_BITS
_QUAD = _PAIR << _PAIR_BITS
_LOW = _PAIR - 1
_LAST = [
    *(bytes((low,)) for low in range(0x80)),
    *(bytes((pair & 0x7F | 0x80, pair >> 7)) for pair in range(0x80, _PAIR)),
]
"""The last one or two bytes of a varint, by their 14 bits."""
_MORE = [bytes((pair & 0x7F | 0x80, pair >> 7 | 0x80)) for pair in range(_PAIR)]
"""Two bytes of a varint that are not its last."""


def varint(value: int) -> bytes:
    """Return a number of at least 0 as a base-128 varint.

    By tables, two bytes at a time: this runs for every age in every reply.
    """
    if value < _PAIR:
        return _LAST[value]
    rest = value >> _PAIR_BITS
    return _MORE[value & _LOW] + (_LAST[rest] if rest < _PAIR else varint(rest))


_STATUSES = range(len(pb.ViewStatus.keys()))
_templates: Memo[Layout, bytes] = Memo(_template, size_max=TEMPLATES_MAX)
_readings: Memo[FeaturePlan, list[list[list[bytes]]]] = Memo(_readings_of, size_max=PLANS_MAX)
