"""Which calls of the data port HTTP has, and where: one table for the server and for its OpenAPI file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from gateway.inference import grpc_service_pb2 as infer
from gateway.rest import inference, messages
from turnout.outcomes.v1 import outcome_service_pb2 as outcomes
from turnout.serving.v1 import prediction_service_pb2 as serving

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message

_PART = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One call.

    Attributes
    ----------
    verb, path
        `GET` or `POST`, and the path with the request's fields that it says in braces.
    rpc
        The method's full path.
    request, response
        Its messages.
    read, written
        From JSON to the request, and from the response to JSON. A route without `read` takes no body.
    says
        The response's field that says yes (200) or no, for probes; they answer nothing else.
    no
        The status of a no. The Open Inference Protocol wants 4xx of a model; load balancers take a server's 503.
    """

    verb: str
    path: str
    rpc: str
    request: type[Message]
    response: type[Message]
    read: Callable[[object, Any], None] | None = None
    written: Callable[[Any], dict[str, Any]] = messages.written
    says: str = ""
    no: HTTPStatus = HTTPStatus.SERVICE_UNAVAILABLE

    def match(self, path: str) -> Mapping[str, str] | None:
        """Return what a path says of the request's fields; None when it is another route's."""
        found = re.fullmatch(_PART.sub(r"(?P<\1>[^/]+)", self.path), path)
        return None if found is None else found.groupdict()


_SERVING = "/turnout.serving.v1.PredictionService"
_INFER = "/inference.GRPCInferenceService"


def _infer(verb: str, path: str, name: str, **more: Any) -> Route:
    kinds = {"request": getattr(infer, f"{name}Request"), "response": getattr(infer, f"{name}Response")}
    return Route(verb=verb, path=path, rpc=f"{_INFER}/{name}", written=inference.metadata, **kinds, **more)


_MODEL, _VERSION = "/v2/models/{model_name}", "/v2/models/{model_name}/versions/{model_version}"
_MODEL_OF, _VERSION_OF = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"

ROUTES: tuple[Route, ...] = (
    Route(
        verb="POST",
        path="/v1/models/{model}:predict",
        rpc=f"{_SERVING}/Predict",
        request=serving.PredictRequest,
        response=serving.PredictResponse,
        read=messages.read,
    ),
    Route(
        verb="POST",
        path="/v1/models/{model}:batchPredict",
        rpc=f"{_SERVING}/BatchPredict",
        request=serving.BatchPredictRequest,
        response=serving.BatchPredictResponse,
        read=messages.read,
    ),
    Route(
        verb="POST",
        path="/v1/outcomes:record",
        rpc="/turnout.outcomes.v1.OutcomeService/RecordOutcomes",
        request=outcomes.RecordOutcomesRequest,
        response=outcomes.RecordOutcomesResponse,
        read=messages.read,
    ),
    _infer("GET", "/v2", "ServerMetadata"),
    _infer("GET", "/v2/health/live", "ServerLive", says="live"),
    _infer("GET", "/v2/health/ready", "ServerReady", says="ready"),
    *(_infer("GET", path, "ModelMetadata") for path in (_MODEL_OF, _VERSION_OF)),
    *(
        _infer("GET", f"{path}/ready", "ModelReady", says="ready", no=HTTPStatus.NOT_FOUND)
        for path in (_MODEL_OF, _VERSION_OF)
    ),
    *(
        Route(
            verb="POST",
            path=f"{path}/infer",
            rpc=f"{_INFER}/ModelInfer",
            request=infer.ModelInferRequest,
            response=infer.ModelInferResponse,
            read=inference.read,
            written=inference.written,
        )
        for path in (_MODEL, _VERSION)
    ),
)
