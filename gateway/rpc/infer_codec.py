"""Inferences of the Open Inference Protocol between bytes and the pipeline that answers Predict, too.

As in `prediction_codec`, a reply is put together from parts that are already bytes. Its elements are always raw:
clients index `raw_output_contents` whatever form they sent.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from gateway.errors import RequestMalformedError, VersionNotServedError
from gateway.inference import grpc_service_pb2 as pb
from gateway.rpc.dtypes import INFER_NAME_OF
from gateway.rpc.infer_fields import InferFields, refuse_unserved, value_of
from gateway.rpc.infer_tensors import tensors_of
from gateway.rpc.prediction_codec import checked_id, varint
from gateway.rpc.status import sentence_of
from gateway.serving.request import Request

if TYPE_CHECKING:
    from gateway.journal.record import Output
    from gateway.serving.table import Target
    from gateway.transport.port import Call
    from storage.errors import DomainError

ID_CHARS_MAX = 1024
PREFIXES_MAX = 4096
"""How many tensor prefixes are remembered; one more forgets them all."""
VERSION_DIGITS_MAX = 18
"""More digits than any version has; as many as 63 bits always hold."""

_OURS = "turnout-"
_ID_TAG = b"\x1a"  # field 3, length-delimited
_PARAMETER_TAG = b"\x22"  # field 4, length-delimited
_OUTPUT_TAG = b"\x2a"  # field 5, length-delimited
_RESPONSE_TAG = b"\x12"  # field 2 of ModelStreamInferResponse
_RAW_TAG = b"\x32"  # field 6, length-delimited
_KEY_OF_REQUEST_ID = b"\x0a\x12turnout_request_id"  # field 1 of a map's entry
_VALUE_TAG = b"\x12"  # field 2 of a map's entry
_STRING_TAG = b"\x1a"  # field 3 of InferParameter
_parse = pb.ModelInferRequest.FromString


def decode(call: Call, now_us: int) -> Request:
    """Return the request of a call, or raise RequestMalformedError, InputMismatchError or VersionNotServedError."""
    try:
        message = _parse(call.payload)
    except DecodeError:
        raise RequestMalformedError("the request is not an inference.ModelInferRequest") from None
    model = message.model_name
    if not model:
        raise RequestMalformedError("`model_name` is empty; say which model is asked", field="model_name")
    echo = message.id
    if len(echo) > ID_CHARS_MAX:
        raise RequestMalformedError(f"`id` has more than {ID_CHARS_MAX} characters", field="id")
    fields = _fields(call, message)
    version, alias = pin_of(model, message.model_version) if message.model_version else (0, "")
    request = Request(
        request_id=checked_id(fields.request_id, now_us) if fields is not None else checked_id("", now_us),
        model=model,
        deadline=call.deadline,
        version=version,
        alias=alias,
        tensors=tensors_of(message) if message.inputs or message.raw_input_contents else (),
    )
    if fields is not None:
        request.entities = fields.entities
        request.unit_id = fields.unit_id
        request.event_time_us = fields.event_time_us
        request.attributes = fields.attributes
        request.features = fields.features
    if message.outputs:
        request.wanted = _wanted(message)
    request.echo = echo
    return request


def _fields(call: Call, message: pb.ModelInferRequest) -> InferFields | None:
    """Return what the call says besides its tensors; None, which is quick, when it says nothing."""
    metadata = [item for item in call.metadata if item[0].startswith(_OURS)]
    if not metadata and not message.parameters:
        return None
    fields = InferFields()
    fields.read_metadata(metadata)
    fields.read_parameters(message.parameters)
    return fields


def pin_of(model: str, text: str) -> tuple[int, str]:
    """Return the version's number, or else the alias, that a `model_version` names."""
    if not text.isascii() or not text.isdigit():
        return 0, text
    if len(text) > VERSION_DIGITS_MAX or text[0] == "0":
        raise VersionNotServedError(f"model `{model}` has no version {text[:32]}", model=model, pin=f"version {text}")
    return int(text), ""


def _wanted(message: pb.ModelInferRequest) -> tuple[str, ...]:
    names = []
    for output in message.outputs:
        if output.parameters:
            for key, parameter in output.parameters.items():
                refuse_unserved(key, value_of(parameter))
        names.append(output.name)
    return tuple(names)


def head_of(target: Target) -> bytes:
    """Return the part of a reply that is the same for every call that a target answers."""
    key = target.slot.key
    head = pb.ModelInferResponse(model_name=key.model, model_version=str(key.version))
    if target.experiment:
        head.parameters["turnout_experiment"].string_param = target.experiment
        head.parameters["turnout_variant"].string_param = target.variant
    return head.SerializeToString(deterministic=True)


def encode(request: Request) -> bytes:
    """Return the reply of a request that was answered."""
    target = request.target
    if target is None:
        raise ValueError("only a request with a target has a reply")
    identity = request.request_id.encode()
    inner = _STRING_TAG + varint(len(identity)) + identity
    size = len(_KEY_OF_REQUEST_ID) + 1 + len(varint(len(inner))) + len(inner)
    parts = [target.infer_head, _PARAMETER_TAG, varint(size), _KEY_OF_REQUEST_ID, _VALUE_TAG, varint(len(inner)), inner]
    if request.echo:
        echo = request.echo.encode()
        parts += (_ID_TAG, varint(len(echo)), echo)
    outputs = request.outputs
    if request.wanted:
        by_name = {output.name: output for output in outputs}
        outputs = [by_name[name] for name in request.wanted]
    for output in outputs:
        parts += (_prefix(output), output.data)
    return b"".join(parts)


def encode_streamed(request: Request) -> bytes:
    """Return the message of a stream that answers a request."""
    reply = encode(request)
    return _RESPONSE_TAG + varint(len(reply)) + reply


def refuse_streamed(call: Call, error: DomainError) -> None:
    """Answer a message of a stream with an error; the stream goes on.

    The message repeats what names the request, as far as it could be read.
    """
    response = pb.ModelStreamInferResponse(error_message=sentence_of(error))
    with contextlib.suppress(DecodeError):
        message = _parse(call.payload)
        response.infer_response.model_name = message.model_name[:ID_CHARS_MAX]
        response.infer_response.model_version = message.model_version[:ID_CHARS_MAX]
        response.infer_response.id = message.id[:ID_CHARS_MAX]
    call.reply(response.SerializeToString())


_prefixes: dict[tuple[str, str, tuple[int, ...], int], bytes] = {}


def _prefix(output: Output) -> bytes:
    """Return an output's description and everything of its raw contents but the elements."""
    size = len(output.data)
    key = (output.name, output.dtype, output.shape, size)
    prefix = _prefixes.get(key)
    if prefix is None:
        described = pb.ModelInferResponse.InferOutputTensor(
            name=output.name, datatype=INFER_NAME_OF[output.dtype], shape=output.shape
        ).SerializeToString()
        prefix = _OUTPUT_TAG + varint(len(described)) + described + _RAW_TAG + varint(size)
        if len(_prefixes) >= PREFIXES_MAX:
            _prefixes.clear()
        _prefixes[key] = prefix
    return prefix
