"""Predictions between bytes and the pipeline.

A reply is put together from parts that are already bytes: what is the same for every call of a version and variant is
made once, when the serving table is built; what is the same for every tensor of one name, type and shape is made once,
when it is first seen. Protocol Buffers allow it: the fields of a message may be concatenated.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from gateway.errors import RequestMalformedError
from gateway.rpc.dtypes import NAME_OF, NUMBER_OF
from gateway.rpc.status import number_of, sentence_of
from gateway.serving.identity import time_ordered_id
from gateway.serving.request import GivenTensor, Request
from turnout.serving.v1 import prediction_service_pb2 as pb
from turnout.tensor.v1 import tensor_pb2

if TYPE_CHECKING:
    from features.plan import FeaturePlan
    from gateway.journal.record import Output
    from gateway.serving.table import Target
    from gateway.transport.port import Call
    from storage.errors import DomainError

DEADLINE_DEFAULT_S = 10.0
REQUEST_ID_CHARS_MAX = 128
PLANS_MAX = 256
"""How many plans' readings are remembered; one more forgets them all."""
PREFIXES_MAX = 4096
"""How many tensor prefixes are remembered; one more forgets them all."""

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
    deadline = call.deadline
    return request_of(message, now_us, time.monotonic() + DEADLINE_DEFAULT_S if deadline is None else deadline)


def request_of(message: pb.PredictRequest, now_us: int, deadline: float) -> Request:
    """Return a message as a request with a deadline on the monotonic clock, or raise RequestMalformedError."""
    model = message.model
    if not model:
        raise RequestMalformedError("`model` is empty; say which model is asked", field="model")
    version = message.version
    if version < 0:
        raise RequestMalformedError("`version` counts from 1", field="version")
    return Request(
        request_id=checked_id(message.request_id, now_us),
        model=model,
        deadline=deadline,
        version=version,
        alias=message.alias,
        entities=dict(message.entities.items()),
        unit_id=message.unit_id,
        event_time_us=message.event_time_us if message.HasField("event_time_us") else None,
        attributes=dict(message.attributes.items()) if message.attributes else None,
        tensors=_tensors(message) if message.inputs else [],
        features=dict(message.features.items()) if message.features else None,
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
    if target is None:
        raise ValueError("only a request with a target has a reply")
    identity = request.request_id.encode()
    parts = [_REQUEST_ID_TAG, varint(len(identity)), identity, target.head]
    for output in request.outputs:
        parts += (_tensor_prefix(output), output.data)
    plan = target.slot.plan
    if request.view_status and plan is not None:
        prefixes = _reading_prefixes.get(plan) or _prefixes_of(plan)
        for by_status, status, age_ms in zip(prefixes, request.view_status, request.view_age_ms, strict=True):
            prefix = by_status[status]
            if age_ms < 0:
                parts += (_READINGS_TAG, varint(len(prefix)), prefix)
            else:
                age = varint(age_ms)
                parts += (_READINGS_TAG, varint(len(prefix) + 1 + len(age)), prefix, _AGE_TAG, age)
    return b"".join(parts)


_prefixes: dict[tuple[str, str, tuple[int, ...], int], bytes] = {}


def _tensor_prefix(output: Output) -> bytes:
    """Return everything of an output's field but its data."""
    size = len(output.data)
    key = (output.name, output.dtype, output.shape, size)
    prefix = _prefixes.get(key)
    if prefix is None:
        head = tensor_pb2.Tensor(
            name=output.name, data_type=NUMBER_OF[output.dtype], shape=output.shape
        ).SerializeToString()
        inner = head + _DATA_TAG + varint(size)
        prefix = _OUTPUTS_TAG + varint(len(inner) + size) + inner
        if len(_prefixes) >= PREFIXES_MAX:
            _prefixes.clear()
        _prefixes[key] = prefix
    return prefix


_reading_prefixes: dict[FeaturePlan, list[list[bytes]]] = {}
_STATUSES = range(len(pb.ViewStatus.keys()))


def _prefixes_of(plan: FeaturePlan) -> list[list[bytes]]:
    """Return everything of the readings of a plan's views but their ages, view by view and status by status."""
    if len(_reading_prefixes) >= PLANS_MAX:
        _reading_prefixes.clear()
    names = [pb.ViewReading(view=view.name).SerializeToString() for view in plan.views]
    prefixes = [[name + _STATUS_TAG + bytes((status,)) for status in _STATUSES] for name in names]
    _reading_prefixes[plan] = prefixes
    return prefixes


_SMALL_MAX = 0x80
_SMALL = [bytes((value,)) for value in range(_SMALL_MAX)]


def varint(value: int) -> bytes:  # noqa: PLR0911  (one for each length)
    """Return a number of at least 0 as a base-128 varint.

    Written out for up to six bytes, which holds every age in milliseconds: a loop takes three times as long.
    """
    if value < _SMALL_MAX:
        return _SMALL[value]
    low = value & 0x7F | 0x80
    if value < 1 << 14:
        return bytes((low, value >> 7))
    second = value >> 7 & 0x7F | 0x80
    if value < 1 << 28:
        if value < 1 << 21:
            return bytes((low, second, value >> 14))
        return bytes((low, second, value >> 14 & 0x7F | 0x80, value >> 21))
    if value < 1 << 35:
        return bytes((low, second, value >> 14 & 0x7F | 0x80, value >> 21 & 0x7F | 0x80, value >> 28))
    if value < 1 << 42:
        third, fourth = value >> 14 & 0x7F | 0x80, value >> 21 & 0x7F | 0x80
        return bytes((low, second, third, fourth, value >> 28 & 0x7F | 0x80, value >> 35))
    return bytes((low, second)) + varint(value >> 14)
