"""Running versions over a wave: one run a version where stacking was proved exact, else one run a call."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from gateway.errors import ModelRunError
from gateway.journal.record import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.models.slots import Slot
    from gateway.serving.request import Request

_STACK_MIN = 2

_log = logging.getLogger(__name__)


def run_version(slot: Slot, requests: Sequence[Request]) -> None:
    """Fill in the outputs, or the error, of requests that one version answers."""
    if not slot.stackable or len(requests) < _STACK_MIN:
        for request in requests:
            _run_alone(slot, request)
        return
    stack: list[Request] = []
    rows = 0
    for request in requests:
        if stack and rows + request.rows > slot.stack_rows_max:
            _run_stack(slot, stack)
            stack, rows = [], 0
        stack.append(request)
        rows += request.rows
    _run_stack(slot, stack)


def _run_stack(slot: Slot, stack: list[Request]) -> None:
    if len(stack) < _STACK_MIN:
        _run_alone(slot, stack[0])
        return
    try:
        feeds = {name: np.concatenate([request.feeds[name] for request in stack]) for name in stack[0].feeds}
        arrays = slot.session.run(feeds)
    except Exception:  # noqa: BLE001  (ONNX Runtime's errors have no common base)
        # One call's input must not fail another's: find the culprit by running each alone.
        for request in stack:
            _run_alone(slot, request)
        return
    columns = [
        (spec.name, spec.dtype, array.shape[1:], *_row_bytes(array))
        for spec, array in zip(slot.session.outputs, arrays, strict=True)
    ]
    at = 0
    for request in stack:
        end = at + request.rows
        request.outputs = [
            Output(name, dtype, (request.rows, *shape), data[at * width : end * width])
            for name, dtype, shape, data, width in columns
        ]
        at = end


def _run_alone(slot: Slot, request: Request) -> None:
    try:
        arrays = slot.session.run(request.feeds)
    except Exception:  # noqa: BLE001  (as above)
        _log.exception(
            "version %d of model %s failed on a call",
            slot.key.version,
            slot.key.model,
            extra={"request_id": request.request_id},
        )
        request.error = ModelRunError("the model failed on this input", model=slot.key.model, version=slot.key.version)
        return
    request.outputs = [
        Output(spec.name, spec.dtype, array.shape, tensor_bytes(array))
        for spec, array in zip(slot.session.outputs, arrays, strict=True)
    ]


def _row_bytes(array: np.ndarray) -> tuple[bytes, int]:
    data = array.tobytes()
    return data, len(data) // array.shape[0]


def tensor_bytes(array: np.ndarray) -> bytes:
    """Return the elements as they travel: little-endian; text as length-prefixed UTF-8."""
    if array.dtype.kind in "OUS":
        items = [str(item).encode() for item in array.ravel()]
        return b"".join(len(item).to_bytes(4, "little") + item for item in items)
    return array.tobytes()
