"""Batches on their way through the pipeline: a source of waves, in a thread of its own.

Rows of whatever batches wait are walked together in pieces of at most `PIECE_ROWS_MAX`. Between two pieces the waves of
single calls have their turn, so that a large batch holds up nobody for longer than a piece takes; where rows take long,
pieces become smaller.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from gateway.rpc import batch_codec
from gateway.rpc.status import hidden
from storage.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.serving.pipeline import Pipeline
    from gateway.serving.request import Request
    from gateway.transport.port import Call
    from storage.clock import Clock

_METHOD = "BatchPredict"
PIECE_ROWS_MAX = 256
_PIECE_ROWS_FIRST = 64
_PIECE_S_MAX = 0.02
"""A piece that took longer makes the next one half as large; one that took a quarter of it, twice as large."""

_log = logging.getLogger(__name__)


class _Batch:
    """A call with its rows, and those of them that are still to be walked."""

    __slots__ = ("call", "left", "rows")

    def __init__(self, call: Call, rows: list[Request]) -> None:
        self.call = call
        self.rows = rows
        self.left = deque(row for row in rows if row.error is None)


class Batches:
    """Answers calls of BatchPredict.

    Parameters
    ----------
    pipeline
        What answers the rows.
    clock
        Dates the identities that the gateway makes.
    rows_max
        How many rows a batch may have.
    reply, refuse
        Answer a call with a message, or with an error.
    """

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        clock: Clock,
        rows_max: int,
        reply: Callable[[Call, bytes], None],
        refuse: Callable[[Call, DomainError], None],
    ) -> None:
        self._pipeline = pipeline
        self._clock = clock
        self._rows_max = rows_max
        self._reply = reply
        self._refuse = refuse
        self._calls: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self._open: deque[_Batch] = deque()
        self._piece_rows = _PIECE_ROWS_FIRST
        threading.Thread(target=self._run, name="batches", daemon=True).start()

    def offer(self, call: Call) -> None:
        """Take a call, which is answered later."""
        self._calls.put(call)

    def _run(self) -> None:
        while True:
            self._read()
            self._walk()
            while self._open and not self._open[0].left:
                self._answer(self._open.popleft())
            time.sleep(0)  # whoever waits for the interpreter has it now

    def _read(self) -> None:
        """Take calls until there are rows for a piece, or none waits; wait for one when no batch is open."""
        rows = sum(len(batch.left) for batch in self._open)
        while not self._open or (rows < self._piece_rows and not self._calls.empty()):
            batch = self._decode(self._calls.get())
            if batch is not None:
                self._open.append(batch)
                rows += len(batch.left)

    def _walk(self) -> None:
        """Walk the next rows, of the oldest batches first."""
        piece: list[Request] = []
        for batch in self._open:
            if batch.call.cancelled:
                batch.left.clear()
            while batch.left and len(piece) < self._piece_rows:
                piece.append(batch.left.popleft())
        if not piece:
            return
        started = time.monotonic()
        try:
            self._pipeline.run(piece)
        except Exception:  # noqa: BLE001  (whatever it is, every row must be answered)
            _log.exception("a piece of %d rows failed", len(piece))
            for row in piece:
                row.error = hidden()
        took_s = time.monotonic() - started
        if took_s > _PIECE_S_MAX:
            self._piece_rows = max(1, self._piece_rows // 2)
        elif took_s < _PIECE_S_MAX / 4:
            self._piece_rows = min(PIECE_ROWS_MAX, self._piece_rows * 2)

    def _decode(self, call: Call) -> _Batch | None:
        """Return the batch of a call, or answer why there is none."""
        try:
            rows = batch_codec.decode(
                call.payload, now_us=self._clock.now_us(), deadline=call.deadline, rows_max=self._rows_max
            )
        except DomainError as error:
            self._refuse(call, error)
        except Exception:  # noqa: BLE001  (as above)
            _log.exception("a batch could not be read")
            self._refuse(call, hidden())
        else:
            for row in rows:
                row.method = _METHOD
                row.arrived = call.arrived
            return _Batch(call, rows)
        return None

    def _answer(self, batch: _Batch) -> None:
        if batch.call.cancelled:
            self._refuse(batch.call, DomainError("the client has gone"))
            return
        try:
            reply = batch_codec.encode(batch.rows)
        except Exception:  # noqa: BLE001  (as above)
            _log.exception("the reply to a batch could not be written")
            self._refuse(batch.call, hidden())
        else:
            self._reply(batch.call, reply)
