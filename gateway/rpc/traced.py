"""The data plane's edge where calls are traced: the same, with the times of some calls noted on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.rpc.data_plane import PATHS, DataPlane
from gateway.rpc.status import fail, number_of
from gateway.telemetry.tracing import Parent, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.serving.request import Request
    from gateway.telemetry.tracing import Tracer
    from gateway.transport.port import Call
    from storage.errors import DomainError


class _Open(NamedTuple):
    """A traced call that is not answered yet; its request is known once it is read."""

    parent: Parent
    watch: Watch
    wave_calls: int
    request: Request | None = None


class TracedDataPlane(DataPlane):
    """Answers waves of calls and notes those that are traced.

    A worker that traces nothing has the plain edge, which is why tracing costs it nothing.
    """

    def __init__(self, tracer: Tracer, **parts: Any) -> None:
        self._tracer = tracer
        self._open: dict[Call, _Open] = {}
        super().__init__(**parts)

    def answer(self, wave: list[Call], watch: Watch | None = None) -> None:
        """Answer every call of a wave."""
        for call in wave:
            parent = self._tracer.parent_of(call.metadata)
            if parent is not None:
                watch = watch or Watch()
                self._open[call] = _Open(parent, watch, len(wave))
        super().answer(wave, watch)

    def _predict(self, requests: list[Request], watch: Watch | None) -> None:
        if watch is not None:
            for request in requests:
                call = request.call
                if call is not None and call in self._open:
                    self._open[call] = self._open[call]._replace(request=request)
        super()._predict(requests, watch)

    def _answer(self, requests: Sequence[Request]) -> None:
        super()._answer(requests)
        for request in requests:
            call = request.call
            if call is not None and call in self._open:
                self._note(call, None)

    def _reply(self, call: Call, reply: bytes) -> None:
        super()._reply(call, reply)
        if call in self._open:
            self._note(call, None)

    def _refuse(self, call: Call, error: DomainError, refuse: Callable[[Call, DomainError], None] = fail) -> None:
        super()._refuse(call, error, refuse)
        if call in self._open:
            self._note(call, error)

    def _note(self, call: Call, error: DomainError | None) -> None:
        """Keep what is known of a traced call, now that it is answered; nothing of what was asked or answered."""
        traced = self._open.pop(call)
        attributes: dict[str, str | int] = {"rpc.system": "grpc"}
        attributes["rpc.grpc.status_code"] = 0 if error is None else number_of(error)
        steps = traced.watch.steps[:1]  # what the wave did afterwards is of the calls that became requests in it
        if traced.request is not None:
            steps = [*traced.watch.steps, traced.watch.now("encode")]
            attributes |= {"turnout.wave_calls": traced.wave_calls, **_described(traced.request)}
        self._tracer.note(
            PATHS[call.method][1:],
            traced.parent,
            began=call.arrived or traced.watch.began,
            steps=steps,
            attributes=attributes,
            error="" if error is None else error.reason,
        )


def _described(request: Request) -> dict[str, str | int]:
    target = request.target
    if target is None:
        return {"turnout.request_id": request.request_id}
    key = target.slot.key
    found: dict[str, str | int] = {
        "turnout.request_id": request.request_id,
        "turnout.model": key.model,
        "turnout.version": key.version,
    }
    if target.experiment:
        found |= {"turnout.experiment": target.experiment, "turnout.variant": target.variant}
    return found
