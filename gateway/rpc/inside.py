"""The control port's services for callers of this process: the same handlers, the same authority, the same audit.

What stands here is put between a grpcio server and those who add services to it, behind the guard. So a call from
inside is asked who it is as one from outside is, and no second way to the data exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, cast

from google.rpc import error_details_pb2, status_pb2

from gateway.access.access import require
from gateway.errors import CallRefusedError
from gateway.rpc.authority import OPEN, role_of
from gateway.rpc.status import DETAILS_KEY
from gateway.transport.peer import names_key, pack_names
from storage.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import grpc

    from gateway.access.access import Access


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What somebody shows who asks from inside.

    Attributes
    ----------
    authorization
        As in a call's metadata; None: nothing.
    certificate
        The names in the certificate that was shown.
    peer
        Where it comes from, as grpcio says it: ``ipv4:127.0.0.1:5000``.
    agent
        What asks for it, for an audit that knows no name.
    """

    authorization: str | None = None
    certificate: Sequence[str] = ()
    peer: str = ""
    agent: str = ""


class Inside:
    """The handlers of a server, for calls from inside.

    Parameters
    ----------
    access
        Says who a caller is.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._server: Any = None
        self._handlers: dict[str, Any] = {}

    def before(self, server: grpc.Server) -> grpc.Server:
        """Return what to add services to in the server's place, so that their handlers are remembered."""
        self._server = server
        return cast("grpc.Server", self)

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """Pass handlers on that find out about a call by themselves."""
        self._server.add_generic_rpc_handlers(tuple(handlers))

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Remember the handlers of a service, and pass them on."""
        self._handlers |= {f"/{service}/{name}": handler for name, handler in handlers.items()}
        self._server.add_registered_method_handlers(service, handlers)

    def channel(self, credentials: Credentials) -> grpc.Channel:
        """Return what a generated stub takes for a channel."""
        return cast("grpc.Channel", _Channel(self._handlers, credentials))

    def may(self, credentials: Credentials, path: str) -> bool:
        """Return whether somebody may call a method."""
        role = role_of(path)
        if not self._access.asks or role == OPEN:
            return True
        try:
            require(self._access.caller(credentials.authorization, credentials.certificate), role)
        except DomainError:
            return False
        return True

    def name_of(self, credentials: Credentials) -> str:
        """Return who somebody is; empty where nobody is asked, or it is not known."""
        if not self._access.asks:
            return ""
        try:
            return self._access.caller(credentials.authorization, credentials.certificate).name
        except DomainError:
            return ""


class Visitor:
    """The services as somebody may use them who shows this.

    Parameters
    ----------
    inside
        The services.
    authorization, certificate, peer
        As `Credentials` has them.
    """

    def __init__(self, inside: Inside, authorization: str | None, certificate: Sequence[str], peer: str) -> None:
        self._inside = inside
        self._credentials = Credentials(
            authorization=authorization, certificate=certificate, peer=peer, agent="console"
        )

    @property
    def name(self) -> str:
        """Who that is; empty where nobody is asked, or it is not known."""
        return self._inside.name_of(self._credentials)

    def channel(self) -> grpc.Channel:
        """Return what a generated stub takes for a channel."""
        return self._inside.channel(self._credentials)

    def may(self, path: str) -> bool:
        """Return whether a method may be called."""
        return self._inside.may(self._credentials, path)


class _Channel:
    """Takes the place of a channel for a generated stub: each call is the handler's, in this thread."""

    def __init__(self, handlers: Mapping[str, Any], credentials: Credentials) -> None:
        self._handlers = handlers
        self._credentials = credentials

    def unary_unary(self, method: str, request_serializer: Callable[[Any], bytes], **_: object) -> Callable[[Any], Any]:
        """Return the function that calls a method."""

        def call(request: Any) -> Any:
            context = _Context(self._credentials)
            try:
                # A copy, as a caller from outside would send one: who asks may go on with its message.
                return self._handlers[method].unary_unary(request_serializer(request), context)
            except Exception:
                if context.refusal is None:
                    raise
                raise context.refusal from None

        return call

    def unary_stream(self, method: str, *_: object, **__: object) -> Callable[..., NoReturn]:
        """Refuse: nobody in here reads streams."""

        def refuse(*_: object, **__: object) -> NoReturn:
            raise NotImplementedError(f"{method} is not called from inside")

        return refuse

    stream_unary = stream_stream = unary_stream


class _Context:
    """What a handler asks of its call."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._trailing: Sequence[tuple[str, str | bytes]] = ()
        self.refusal: CallRefusedError | None = None

    def invocation_metadata(self) -> list[tuple[str, str | bytes]]:
        shown = self._credentials
        metadata: list[tuple[str, str | bytes]] = [(names_key(), pack_names(shown.certificate))]
        if shown.authorization is not None:
            metadata.append(("authorization", shown.authorization))
        if shown.agent:
            metadata.append(("turnout-actor", shown.agent))
        return metadata

    def peer(self) -> str:
        return self._credentials.peer

    def auth_context(self) -> dict[str, Any]:
        return {}

    def time_remaining(self) -> float | None:
        return None

    def is_active(self) -> bool:
        return True

    def add_callback(self, _: Callable[[], None]) -> bool:
        return True

    def set_trailing_metadata(self, trailing: Sequence[tuple[str, str | bytes]]) -> None:
        self._trailing = trailing

    def abort(self, code: Any, details: str) -> NoReturn:
        self.refusal = CallRefusedError(details, code=code.value[0], cause=_reason_in(self._trailing))
        raise Exception(details)  # noqa: TRY002  (as grpcio's: the bare class tells handlers to let it pass)


def _reason_in(trailing: Sequence[tuple[str, str | bytes]]) -> str:
    """Return the reason of an error by its details."""
    for key, value in trailing:
        if key == DETAILS_KEY and isinstance(value, bytes):
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return str(info.reason)
    return ""
