"""Whether a transport works on this machine: a real client calls it over loopback."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import grpc

from gateway.transport.port import Call, Limits, Wiring

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.transport.port import Transport

_ECHO = "/turnout.transport.SelfTest/Echo"
_UNKNOWN = "/turnout.transport.SelfTest/Unknown"
_CALL_S_MAX = 5.0
_DRAIN_S_MAX = 1.0
_PAYLOAD = bytes(range(256)) * 512  # more than one HTTP/2 window's worth
_DETAIL = ("detail-bin", b"\x00\xff\x80")
_NOT_FOUND = 5


def find_fault(open_it: Callable[[Wiring, str], Transport]) -> str | None:
    """Return what is wrong with the transport on this machine, or None when an echo, its deadline and an error work."""
    seen: list[Call] = []

    def answer(wave: list[Call]) -> None:
        for call in wave:
            seen.append(call)
            if call.payload:
                call.reply(call.payload)
            else:
                call.fail(_NOT_FOUND, "empty", (_DETAIL,))

    wiring = Wiring(address="127.0.0.1:0", methods=[_ECHO], answer=answer, add_services=_add_nothing, limits=Limits())
    try:
        transport = open_it(wiring, "self-test")
        port = transport.start()
    except (OSError, RuntimeError) as error:
        return f"it does not open: {error}"
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
            return _fault_of(channel, seen)
    except grpc.RpcError as error:
        return f"its self-test ended with {error}"
    finally:
        transport.drain(_DRAIN_S_MAX)
        transport.close()


def _fault_of(channel: grpc.Channel, seen: list[Call]) -> str | None:
    echo = _method(channel, _ECHO)
    began = time.monotonic()
    if echo(_PAYLOAD, timeout=_CALL_S_MAX, metadata=(("key", "value"), _DETAIL)) != _PAYLOAD:
        return "an echo came back changed"
    call = seen[-1]
    if call.deadline is None or not began < call.deadline < time.monotonic() + _CALL_S_MAX + 1.0:
        return "the deadline did not arrive"
    if not {("key", "value"), _DETAIL} <= {(key, value) for key, value in call.metadata}:
        return "the metadata did not arrive"
    if (code := _code(echo, b"")) != (grpc.StatusCode.NOT_FOUND, (_DETAIL,)):
        return f"an error came back as {code}"
    if (code := _code(_method(channel, _UNKNOWN), b"x"))[0] is not grpc.StatusCode.UNIMPLEMENTED:
        return f"an unknown method came back as {code}"
    return None


def _code(
    method: grpc.UnaryUnaryMultiCallable[bytes, bytes], payload: bytes
) -> tuple[grpc.StatusCode, tuple[object, ...]]:
    """Return the status and the trailing metadata of a call that should fail."""
    try:
        method(payload, timeout=_CALL_S_MAX)
    except grpc.RpcError as error:
        trailing: Any = error.trailing_metadata() or ()
        return error.code(), tuple((key, value) for key, value in trailing)
    return grpc.StatusCode.OK, ()


def _method(channel: grpc.Channel, path: str) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
    """Return a method of raw bytes."""
    return channel.unary_unary(path)  # type: ignore[call-arg] # the stubs do not know that serializers may be left out


def _add_nothing(_: grpc.Server) -> None:
    """Add no services: an unknown method must be UNIMPLEMENTED all the same."""
