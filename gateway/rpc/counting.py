"""Watching the calls of the control port: how many, how they ended, how long they took, and the traces of some."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import grpc

from gateway.rpc.guard import keep_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.telemetry.meter import Meter
    from gateway.telemetry.tracing import Tracer


class CallCounter(grpc.ServerInterceptor):  # type: ignore[type-arg]  # the stubs make a generic of it, grpcio does not
    """Counts, and traces, every call that a handler takes; a stream when it ends."""

    def __init__(self, meter: Meter, tracer: Tracer | None = None) -> None:
        self._meter = meter
        self._tracer = tracer

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the method's handler, within one that counts."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        kind = ("stream" if handler.request_streaming else "unary", "stream" if handler.response_streaming else "unary")
        name = "_".join(kind)
        behaviour = getattr(handler, name)
        if getattr(behaviour, "experimental_non_blocking", False):
            return handler  # health's Watch: it returns at once and answers by a callback, so that it holds no thread
        wrap = self._stream if handler.response_streaming else self._single
        make: Any = getattr(grpc, f"{name}_rpc_method_handler")
        watched = wrap(method, behaviour)
        keep_pool(behaviour, watched)
        counted: grpc.RpcMethodHandler[Any, Any] = make(
            watched,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        return counted

    def _single(self, method: str, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        def counted(request: Any, context: grpc.ServicerContext) -> Any:
            began = time.monotonic()
            failed = True
            try:
                response = behaviour(request, context)
                failed = False
                return response
            finally:
                self._count(method, context, began, failed=failed)

        return counted

    def _stream(self, method: str, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        def counted(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            began = time.monotonic()
            failed = True
            try:
                yield from behaviour(request, context)
                failed = False
            finally:
                self._count(method, context, began, failed=failed)

        return counted

    def _count(self, method: str, context: grpc.ServicerContext, began: float, *, failed: bool) -> None:
        asked: Any = context  # the stubs do not know `code`: what abort set, None where the handler set nothing
        status = asked.code()
        if status is not None:
            code = status.name
        elif failed:
            code = "UNKNOWN" if context.is_active() else "CANCELLED"
        else:
            code = "OK"
        name = method.rpartition("/")[2]
        self._meter.count("turnout_control_calls_total", (name, code))
        self._meter.observe("turnout_control_call_seconds", (name,), int((time.monotonic() - began) * 1e6))
        if self._tracer is not None:
            self._trace(self._tracer, method, context, began, "" if code == "OK" else code)

    @staticmethod
    def _trace(tracer: Tracer, method: str, context: grpc.ServicerContext, began: float, error: str) -> None:
        parent = tracer.parent_of([(key, value) for key, value in context.invocation_metadata() or ()])
        if parent is not None:
            tracer.note(method[1:], parent, began=began, steps=(), attributes={"rpc.system": "grpc"}, error=error)
