"""The Connect protocol's unary calls, for pages in browsers: the data port's methods by their own paths.

A body is the method's message itself, as protobuf or as protobuf's own JSON; an error is JSON with the details that
gRPC tells. See https://connectrpc.com/docs/protocol.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf import json_format, message_factory
from google.rpc import status_pb2

from gateway.errors import RequestMalformedError
from gateway.inference import grpc_service_pb2 as infer
from gateway.rest import calling
from gateway.rest.problem import STATUSES
from gateway.rpc.status import DETAILS_KEY, code_of, sentence_of, trailing_of
from gateway.web.told import Told
from turnout.outcomes.v1 import outcome_service_pb2 as outcomes
from turnout.serving.v1 import prediction_service_pb2 as serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from google.protobuf import any_pb2
    from google.protobuf.message import Message

    from gateway.rest.port import DataPort
    from gateway.web.told import Asked
    from storage.errors import DomainError

JSON, PROTO = "application/json", "application/proto"
GZIP_BYTES_MIN = 1024
"""Answers from here on are compressed for those who take that."""

_PREFIXES = ("/turnout.", "/inference.")
_IN_A_NAME = 2
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


class Kinds(NamedTuple):
    """The messages of a method."""

    request: type[Message]
    response: type[Message]


def _methods_of(service: Any) -> Iterable[tuple[str, Kinds]]:
    for method in service.methods:
        if not (method.client_streaming or method.server_streaming):
            kinds = Kinds(*map(message_factory.GetMessageClass, (method.input_type, method.output_type)))
            yield f"/{service.full_name}/{method.name}", kinds


METHODS: dict[str, Kinds] = {
    path: kinds
    for file, service in (
        (serving, "PredictionService"),
        (outcomes, "OutcomeService"),
        (infer, "GRPCInferenceService"),
    )
    for path, kinds in _methods_of(file.DESCRIPTOR.services_by_name[service])
}


@dataclass(slots=True)
class Refused(Exception):  # noqa: N818  (it is an answer)
    """A call is answered with an error.

    Attributes
    ----------
    code
        The name of the gRPC status code.
    words
        What is wrong.
    details
        The serialized google.rpc.Status with what else is known.
    status, headers
        The HTTP status where it is not the code's own, and what else the head says.
    """

    code: str
    words: str
    details: bytes = b""
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    def told(self) -> Told:
        """Return the answer."""
        code = "canceled" if self.code == "CANCELLED" else self.code.lower()
        document: dict[str, Any] = {"code": code, "message": self.words}
        if details := status_pb2.Status.FromString(self.details).details:
            document["details"] = [_told(each) for each in details]
        status = self.status or STATUSES.get(self.code, HTTPStatus.INTERNAL_SERVER_ERROR)
        headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        return Told(status=status, body=body, content_type=JSON, headers=headers | self.headers)


class Connect:
    """Answers calls of the Connect protocol.

    Parameters
    ----------
    port
        The data port, where the calls go on to.
    admit
        Raises DomainError unless who asks may call a method.
    body_bytes_max
        How long a body may be once it is no longer compressed.
    """

    def __init__(self, port: DataPort, admit: Callable[[str, Asked], object], *, body_bytes_max: int) -> None:
        self._port = port
        self._admit = admit
        self._body_bytes_max = body_bytes_max

    @staticmethod
    def takes(path: str) -> bool:
        """Return whether a path is a method's."""
        return path.startswith(_PREFIXES) and path.count("/") == _IN_A_NAME

    def answer(self, path: str, asked: Asked) -> Told:
        """Return what to tell a caller, or raise Refused, TurnoutError or DomainError."""
        kinds = METHODS.get(path)
        if kinds is None:
            words = f"{path[:200]} is no method that is called by HTTP; streams and the rest are gRPC's"
            raise Refused("UNIMPLEMENTED", words, status=HTTPStatus.NOT_FOUND)
        content_type = _checked(asked)
        self._admit(path, asked)
        timeout_s = calling.connect_timeout_s(asked)
        request = self._plain(asked)
        if content_type == JSON:
            request = _read(calling.document(request), kinds.request())
        answer = self._port.call(path, request, calling.metadata(asked), timeout_s=timeout_s)
        if content_type == JSON:
            message = kinds.response.FromString(answer)
            answer = json_format.MessageToJson(message, indent=None, ensure_ascii=False).encode()
        return _compressed(asked, Told(status=HTTPStatus.OK, body=answer, content_type=content_type))

    def _plain(self, asked: Asked) -> bytes:
        """Return a body as it was before it was compressed."""
        encoding = asked.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding in {"identity", ""} or not asked.body:
            return asked.body
        if encoding != "gzip":
            raise Refused("UNIMPLEMENTED", f"bodies are compressed by gzip or not at all, not by {encoding[:80]!r}")
        unpacker = zlib.decompressobj(_GZIP_WINDOW)
        try:
            body = unpacker.decompress(asked.body, self._body_bytes_max + 1)
        except zlib.error as error:
            raise RequestMalformedError(f"the body is not gzip: {error}") from error
        if len(body) > self._body_bytes_max:
            raise Refused("RESOURCE_EXHAUSTED", f"a body has at most {self._body_bytes_max} bytes")
        if not unpacker.eof or unpacker.unused_data:
            raise RequestMalformedError("the body is not one whole stream of gzip")
        return body


def refused_by(error: DomainError) -> Refused:
    """Return how a call ends with an error of ours."""
    return Refused(code_of(error).name, sentence_of(error), _details_in(trailing_of(error)))


def refused_as(error: Any) -> Refused:
    """Return how a call ends as the data port ended it: by a grpc.RpcError."""
    return Refused(error.code().name, error.details() or "", _details_in(error.trailing_metadata() or ()))


def _checked(asked: Asked) -> str:
    """Return how the messages of a call are written, or raise Refused."""
    if asked.method != "POST":
        raise Refused(
            "UNIMPLEMENTED",
            "a method is called by POST",
            status=HTTPStatus.METHOD_NOT_ALLOWED,
            headers={"Allow": "POST"},
        )
    content_type = asked.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type not in {JSON, PROTO}:
        raise Refused(
            "UNKNOWN",
            f"a body is {JSON} or {PROTO}, by its Content-Type",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            headers={"Accept-Post": f"{JSON}, {PROTO}"},
        )
    if asked.headers.get("Connect-Protocol-Version", "1") != "1":
        raise Refused("INVALID_ARGUMENT", "the Connect protocol is spoken here in its version 1")
    return content_type


def _read(document: object, message: Message) -> bytes:
    """Return the bytes of the message that JSON says; what it does not know it leaves out, as protobuf does."""
    if not isinstance(document, dict):
        raise RequestMalformedError("the body is not a JSON object")
    try:
        json_format.ParseDict(document, message, ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise RequestMalformedError(f"the body is not what this takes: {str(error)[:200]}") from error
    return message.SerializeToString()


def _compressed(asked: Asked, told: Told) -> Told:
    """Return an answer compressed where it is long and who asks takes that."""
    told.headers["Vary"] = "Accept-Encoding"
    taken = {each.strip().lower() for each in asked.headers.get("Accept-Encoding", "").split(",")}
    if len(told.body) >= GZIP_BYTES_MIN and "gzip" in taken:
        told.body = gzip.compress(told.body, compresslevel=1, mtime=0)
        told.headers["Content-Encoding"] = "gzip"
    return told


def _details_in(trailing: Iterable[tuple[str, str | bytes]]) -> bytes:
    return next((bytes(value) for key, value in trailing if key == DETAILS_KEY and isinstance(value, bytes)), b"")


def _told(detail: any_pb2.Any) -> dict[str, Any]:
    """Return a detail for programs, and under `debug` for people."""
    value = base64.b64encode(detail.value).decode().rstrip("=")
    debug = json_format.MessageToDict(detail)
    debug.pop("@type")
    return {"type": detail.TypeName(), "value": value, "debug": debug}
