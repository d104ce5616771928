"""Who may call the services of a grpcio server: each handler is put behind the authority table when it is added.

That is done once for each method, not for each call as an interceptor would, and unknown methods stay what they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import grpc
from google.protobuf.message import DecodeError

from gateway.access.access import require
from gateway.access.caller import ANYBODY, CALLER
from gateway.errors import RequestMalformedError
from gateway.rpc.authority import OPEN, role_of
from gateway.rpc.gate import authorization_in
from gateway.rpc.status import abort, mapped
from gateway.transport.context import certificate_of
from gateway.transport.peer import peer_of
from storage.errors import DomainError
from storage.origin import ORIGIN, Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gateway.access.access import Access
    from gateway.transport.port import Metadata

    Handler = grpc.RpcMethodHandler[Any, Any]
    GenericHandler = grpc.GenericRpcHandler[Any, Any]

_KINDS = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


POOL = "experimental_thread_pool"
"""The attribute by which a behaviour asks grpcio for threads of its own."""

_GRPC = "/grpc."
"""How the paths of the services begin that grpcio brings."""


def guarded(server: grpc.Server, access: Access) -> grpc.Server:
    """Return what to add services to, in the server's place, so that only those call them who may."""
    return cast("grpc.Server", _GuardedServer(server, access))


class _GuardedServer:
    """Takes the place of a grpcio server while services are added to it.

    Parameters
    ----------
    server
        Where the services go.
    access
        Says who a caller is.
    """

    def __init__(self, server: grpc.Server, access: Access) -> None:
        self._server: Any = server
        self._access = access

    def add_generic_rpc_handlers(self, handlers: Iterable[GenericHandler]) -> None:
        """Add handlers that find out about a call by themselves."""
        self._server.add_generic_rpc_handlers(tuple(_GuardedService(handler, self._guarded) for handler in handlers))

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Add the handlers of a service by their names."""
        guarded = {name: self._guarded(f"/{service}/{name}", handler) for name, handler in handlers.items()}
        self._server.add_registered_method_handlers(service, guarded)

    def _guarded(self, path: str, handler: Handler) -> Handler:
        role = role_of(path)
        if role == OPEN and path.startswith(_GRPC):
            return handler  # as it is: health's Watch, for one, answers by callbacks
        answer = (
            _answer_stream(handler, role, self._access)
            if handler.response_streaming
            else _answer(handler, role, self._access)
        )
        keep_pool(handler.unary_stream, answer)
        make: Any = _KINDS[handler.request_streaming, handler.response_streaming]
        # Not the handler's deserializer: who may not call has nothing parsed.
        made: Handler = make(answer, response_serializer=handler.response_serializer)
        return made


def keep_pool(inner: Any, outer: Any) -> None:
    """Let what stands before a behaviour run on the threads that the behaviour asks for, if it asks for any."""
    pool = getattr(inner, POOL, None)
    if pool is not None:
        setattr(outer, POOL, pool)


class _GuardedService(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    def __init__(
        self,
        inner: GenericHandler,
        guarded: Callable[[str, Handler], Handler],
    ) -> None:
        self._inner = inner
        self._guarded = guarded
        self._made: dict[str, Handler] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Return the guarded handler of a method; None when the service has none of that name."""
        path = handler_call_details.method
        if path not in self._made:
            handler = self._inner.service(handler_call_details)
            if handler is None:
                return None
            self._made[path] = self._guarded(path, handler)
        return self._made[path]


def _answer(handler: Handler, role: str, access: Access) -> Any:
    inner: Any = handler.stream_unary or handler.unary_unary

    def answer(raw: Any, context: grpc.ServicerContext) -> Any:
        _admit(context, role, access)
        with mapped(context):
            return inner(_read(handler, raw), context)

    return answer


def _answer_stream(handler: Handler, role: str, access: Access) -> Any:
    inner: Any = handler.stream_stream or handler.unary_stream

    def answer(raw: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        _admit(context, role, access)
        with mapped(context):
            yield from inner(_read(handler, raw), context)

    return answer


def _read(handler: Handler, raw: Any) -> Any:
    """Return the request, or the requests as they come; raise RequestMalformedError for what is none."""
    parse: Any = handler.request_deserializer

    def read(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError as error:
            raise RequestMalformedError("the request is not the message that this method takes") from error

    return map(read, raw) if handler.request_streaming else read(raw)


def _admit(context: grpc.ServicerContext, role: str, access: Access) -> None:
    """End the call unless its caller has the role; what follows in this call knows who and where it is from.

    grpcio gives each call a context of its own, so nothing is to be put back.
    """
    caller = ANYBODY
    if access.asks and role != OPEN:
        try:
            caller = access.caller(authorization_in(_metadata_of(context)), certificate_of(context))
            require(caller, role)
        except DomainError as error:
            abort(context, error)
    CALLER.set(caller)
    ORIGIN.set(Origin(peer=peer_of(context), credential=caller.credential))


def _metadata_of(context: grpc.ServicerContext) -> Metadata:
    found: Any = context.invocation_metadata()
    return found or ()
