"""What the outside sees of the fast transport: begin, drain, close; each from any thread but the loop's."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gateway.transport.grpcio import GrpcioTransport
from gateway.transport.native import bounds
from gateway.transport.native.addresses import bind
from gateway.transport.native.front import Front

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.transport.port import Wiring

_T = TypeVar("_T")
_log = logging.getLogger(__name__)
# How often the drain looks whether all is done.
_DRAIN_POLL_S = 0.005
# How long the drain waits for calls that the server behind answers; streams such as a health watch never end.
_FORWARDED_S_MAX = 1.0
_JOIN_S_MAX = 5.0


class NativeTransport:
    """Our own HTTP/2 server for the wave methods, with a grpcio server behind it for the rest."""

    name = "native"

    def __init__(self, wiring: Wiring, *, why: str = "it was asked for") -> None:
        self.why = why
        self._wiring = wiring
        # mkdtemp makes it 0700. A Unix socket's path is limited to 107 bytes, hence the short prefix.
        self._folder = Path(tempfile.mkdtemp(prefix="turnout-"))
        path = self._folder / "s"
        self._behind = GrpcioTransport(replace(wiring, address=f"unix:{path}", methods=(), streams=(), tls=None))
        self._front = Front(wiring, path)
        self._thread = threading.Thread(target=self._run, name="transport", daemon=True)

    def start(self) -> int:
        """Begin to take calls and return the bound port, or raise OSError when the address cannot be bound."""
        listening = bind(self._wiring.address)
        self._behind.start()
        self._front.loop.post(self._front.listen, listening)
        self._thread.start()
        place = listening[0].getsockname()
        return int(place[1]) if isinstance(place, tuple) else 0

    def calls_in_flight(self) -> int:
        """Return how many calls are taken and not answered."""
        return self._front.waves.held + self._front.waves.in_conversation

    def drain(self, grace_s: float) -> bool:
        """Refuse new calls with UNAVAILABLE and wait for the ones in flight; return whether all were finished.

        Clients are told to go first; what they have sent until they hear it is served, what comes later is not looked
        at, which tells them that they may try it elsewhere. Then their connections end, one by one, as they are done.
        """
        front = self._front
        deadline = time.monotonic() + grace_s
        self._do(front.close_door)
        self._do(front.notice)
        time.sleep(min(bounds.NOTICE_S, grace_s))
        self._do(front.dismiss)
        forwarded_by = min(deadline, time.monotonic() + _FORWARDED_S_MAX)
        while time.monotonic() < deadline:
            if not self.calls_in_flight() and (not front.behind.held or time.monotonic() > forwarded_by):
                break
            time.sleep(_DRAIN_POLL_S)
        finished = not self.calls_in_flight()
        return self._wait_for_last_answers(deadline) and finished

    def close(self) -> None:
        """Close the port and end what is still in flight; more than once does no harm."""
        if self._thread.is_alive():
            self._front.loop.post(self._front.drop_all)
            self._front.loop.post(self._front.loop.stop)
            self._thread.join(_JOIN_S_MAX)
        self._front.loop.close()
        self._behind.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait_for_last_answers(self, deadline: float) -> bool:
        """Wait until all answers have been read and clients have closed; return whether the answers have."""
        front = self._front
        lingered_by = time.monotonic() + bounds.LINGER_S_MAX
        while True:
            owing = self._do(front.count_owing)
            now = time.monotonic()
            if now > deadline or (not owing and (now > lingered_by or not front.connections)):
                return not owing
            time.sleep(_DRAIN_POLL_S)

    def _do(self, job: Callable[[], _T]) -> _T | None:
        """Have the loop's thread do something, and return what comes of it; None where it has ended."""
        done = threading.Event()
        result: list[_T] = []

        def run() -> None:
            try:
                result.append(job())
            finally:
                done.set()

        if self._thread.is_alive():
            self._front.loop.post(run)
            done.wait(_JOIN_S_MAX)
        return result[0] if result else None

    def _run(self) -> None:
        front = self._front
        try:
            front.loop.run(front.waves.answer, front.waves.waiting, lambda: front.waves.held > 0)
        except Exception:
            _log.exception("the transport has ended")
            raise
