"""HTTP and JSON in the data port's place: finds the route, asks who calls, and passes the call on."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from gateway.access.access import require
from gateway.access.caller import ANYBODY
from gateway.rest import calling, connect, features, problem, training
from gateway.rest.connect import Connect
from gateway.rest.routes import ROUTES
from gateway.rpc.authority import OPEN, role_of
from gateway.rpc.status import code_of, sentence_of, trailing_of
from gateway.web.told import Told
from storage.errors import DomainError
from storage.origin import ORIGIN, Origin
from turnout import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.access.access import Access
    from gateway.access.caller import Caller
    from gateway.rest.origins import Origins
    from gateway.rest.port import DataPort
    from gateway.rest.routes import Route
    from gateway.web.told import Asked
    from storage.database import Database
    from trainer.records.runs import Run

_HIDDEN = "internal error; the gateway's log has the particulars"

_log = logging.getLogger(__name__)


class Rest:
    """Answers what is asked below `/v1` and `/v2` and by the Connect protocol, and says by OpenAPI what the former is.

    Parameters
    ----------
    port
        The data port.
    access
        Says who a caller is; asked here too, since a certificate that was shown to HTTP cannot be passed on.
    database
        Where running experiments are.
    start
        Makes a run of training.
    origins
        Which sites' pages may call.
    body_bytes_max
        How long a body may be.
    """

    def __init__(
        self,
        port: DataPort,
        access: Access,
        database: Database,
        start: Callable[..., Run],
        *,
        origins: Origins,
        body_bytes_max: int,
    ) -> None:
        self._start = start
        self._port = port
        self._database = database
        self._access = access
        self._origins = origins
        self._connect = Connect(port, self._admit, body_bytes_max=body_bytes_max)

    def refuse(self, asked: Asked, status: HTTPStatus, words: str) -> Told:
        """Return the answer to a body that is not read."""
        if Connect.takes(_path_of(asked)):
            code = "RESOURCE_EXHAUSTED" if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else "INVALID_ARGUMENT"
            told = connect.Refused(code, words, status=status).told()
        else:
            told = refusal(status, "INVALID_ARGUMENT", status.name, words)
        return self._origins.marked(asked, told)

    @staticmethod
    def takes(path: str) -> bool:
        """Return whether a path is of this."""
        ours = path.startswith(("/v1/", "/v2/", features.PREFIX)) or path in {"/v2", "/openapi.json"}
        return ours or Connect.takes(path) or bool(training.policy_of(path))

    def answer(self, asked: Asked) -> Told:
        """Return what to tell a caller."""
        if self._origins.refuses(asked):
            words = "pages of this site may not call here: http_origins lists those that may"
            return refusal(HTTPStatus.FORBIDDEN, "PERMISSION_DENIED", "ORIGIN_NOT_ALLOWED", words)
        if self._origins.asks_first(asked):
            return self._origins.answer(asked)
        path = _path_of(asked)
        told = self._answer_connect(path, asked) if Connect.takes(path) else self._answer(path, asked)
        return self._origins.marked(asked, told)

    def _answer(self, path: str, asked: Asked) -> Told:
        if path == "/openapi.json" and asked.method == "GET":
            return Told(status=HTTPStatus.OK, body=openapi_file(), content_type="application/json")
        if path.startswith(features.PREFIX) and asked.method == "GET":
            return self._answer_features(asked)
        if training.policy_of(path) and asked.method == "POST":
            return self._start_run(training.policy_of(path), asked)
        found = [(route, fields) for route in ROUTES if (fields := route.match(path)) is not None]
        for route, fields in found:
            if route.verb == asked.method:
                return self._answer_route(route, fields, asked)
        if not found and path != "/openapi.json" and not path.startswith(features.PREFIX):
            return refusal(HTTPStatus.NOT_FOUND, "NOT_FOUND", "PATH_UNKNOWN", f"there is nothing at {path[:200]}")
        allowed = ", ".join(sorted({route.verb for route, _ in found})) or "GET"
        told = refusal(HTTPStatus.METHOD_NOT_ALLOWED, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED", f"this takes {allowed}")
        told.headers["Allow"] = allowed
        return told

    def _answer_connect(self, path: str, asked: Asked) -> Told:
        try:
            return self._connect.answer(path, asked)
        except connect.Refused as refused:
            return refused.told()
        except errors.TurnoutError as error:
            return connect.refused_as(error.__cause__).told()
        except DomainError as error:
            return connect.refused_by(error).told()
        except Exception:  # noqa: BLE001  (a caller is told, the log has the rest)
            _log.exception("a call by HTTP failed")
            return connect.Refused("INTERNAL", _HIDDEN).told()

    def _answer_features(self, asked: Asked) -> Told:
        try:
            self._admit(features.RPC, asked)
        except DomainError as error:
            return refused(translated(error))
        return features.answer_features(self._database, asked)

    def _start_run(self, policy: str, asked: Asked) -> Told:
        try:
            caller = self._admit(training.RPC, asked)
        except DomainError as error:
            return refused(translated(error))
        noted = ORIGIN.set(Origin(peer=asked.peer, credential=caller.credential))
        try:
            return training.start_run(self._start, policy, asked, caller)
        except DomainError as error:
            return refused(translated(error))
        finally:
            ORIGIN.reset(noted)

    def _answer_route(self, route: Route, fields: Mapping[str, str], asked: Asked) -> Told:
        try:
            self._admit(route.rpc, asked)
            request = route.request()
            timeout_s = calling.timeout_s(asked)
            if route.read is not None:
                route.read(calling.document(asked.body), request)
            for name, value in fields.items():
                setattr(request, name, value)
            answer = self._port.call(
                route.rpc, request.SerializeToString(), calling.metadata(asked), timeout_s=timeout_s
            )
            response = route.response.FromString(answer)
            if route.says:
                yes = bool(getattr(response, route.says))
                return told_json(HTTPStatus.OK if yes else route.no, {"ready": yes})
            return told_json(HTTPStatus.OK, route.written(response))
        except errors.TurnoutError as error:
            return refused(error)
        except DomainError as error:
            return refused(translated(error))
        except Exception:  # noqa: BLE001  (a caller is told, the log has the rest)
            _log.exception("a call by HTTP failed")
            return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL", "INTERNAL", _HIDDEN)

    def _admit(self, rpc: str, asked: Asked) -> Caller:
        """Return who calls a method, or raise unless he may."""
        role = role_of(rpc)
        if not self._access.asks or role == OPEN:
            return ANYBODY
        caller = self._access.caller(asked.headers.get("Authorization"), asked.certificate)
        require(caller, role)
        return caller


def openapi_file() -> bytes:
    """Return the OpenAPI file."""
    return resources.files("gateway.rest").joinpath("openapi.json").read_bytes()


def told_json(status: int, document: Mapping[str, Any], content_type: str = "application/json") -> Told:
    """Return an answer of JSON."""
    body = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return Told(status=status, body=body, content_type=content_type)


def refusal(status: HTTPStatus, code: str, reason: str, detail: str) -> Told:
    """Return the answer to what HTTP itself knows to be wrong."""
    return told_json(status, problem.plain(status, code, reason, detail), problem.CONTENT_TYPE)


def refused(error: errors.TurnoutError) -> Told:
    """Return the answer that an error is."""
    status, document = problem.problem_of(error)
    told = told_json(status, document, problem.CONTENT_TYPE)
    if status == HTTPStatus.UNAUTHORIZED:
        told.headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after_s is not None:
        told.headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    return told


def translated(error: DomainError) -> errors.TurnoutError:
    """Return an error of ours as one that a client knows."""
    return errors.from_status(code_of(error).name, sentence_of(error), trailing_of(error))


def _path_of(asked: Asked) -> str:
    return unquote(urlsplit(asked.target).path)
