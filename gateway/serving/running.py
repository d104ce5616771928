"""Running versions over a wave: one run a version where stacking was proved exact, else one run a call."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from gateway.errors import ModelRunError
from gateway.serving.rows import split_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.models.slots import Slot
    from gateway.serving.request import Request

Feeds = dict[str, np.ndarray]
Ran = Callable[[int, float], None]
"""Takes the rows of a run, and when it began on the monotonic clock."""

_log = logging.getLogger(__name__)


def run_version(slot: Slot, requests: Sequence[Request], ran: Ran, matrix: np.ndarray | None = None) -> None:
    """Fill in the outputs, or the error, of requests that one version answers.

    Parameters
    ----------
    slot
        The version.
    requests
        At least one.
    ran
        Is told of each run that gave outputs.
    matrix
        The input that the feature set fills, a row a request, where that is all the graph takes; None: each request
        has its feeds.
    """
    chunks = _chunks(slot, requests) if matrix is None else _chunks_of_matrix(slot, requests, matrix)
    for chunk, feeds in chunks:
        _run(slot, chunk, feeds, ran)


def _chunks_of_matrix(
    slot: Slot, requests: Sequence[Request], matrix: np.ndarray
) -> Iterator[tuple[Sequence[Request], Feeds]]:
    step = slot.stack_rows_max if slot.stackable else 1
    for at in range(0, len(requests), step):
        yield requests[at : at + step], {slot.feature_input: matrix[at : at + step]}


def _chunks(slot: Slot, requests: Sequence[Request]) -> Iterator[tuple[Sequence[Request], Feeds]]:
    rows_max = slot.stack_rows_max if slot.stackable else 0
    chunk: list[Request] = []
    rows = 0
    for request in requests:
        if chunk and rows + request.rows > rows_max:
            yield chunk, _stacked(chunk)
            chunk, rows = [], 0
        chunk.append(request)
        rows += request.rows
    yield chunk, _stacked(chunk)


def _stacked(chunk: Sequence[Request]) -> Feeds:
    feeds = [request.feeds or {} for request in chunk]
    if len(feeds) == 1:
        return feeds[0]
    return {name: np.concatenate([each[name] for each in feeds]) for name in feeds[0]}


def _run(slot: Slot, chunk: Sequence[Request], feeds: Feeds, ran: Ran) -> None:
    """Run requests together; one that fails must not fail the others, so they are then run one by one."""
    began = time.monotonic()
    try:
        arrays = slot.session.run(feeds)
    except Exception:  # noqa: BLE001  (ONNX Runtime's errors have no common base)
        if len(chunk) == 1:
            _fail(slot, chunk[0])
            return
        at = 0
        for request in chunk:
            end = at + request.rows
            _run(slot, [request], {name: array[at:end] for name, array in feeds.items()}, ran)
            at = end
        return
    rows = sum([request.rows for request in chunk])
    ran(rows, began)
    if len(chunk) == 1:
        data = tuple(map(tensor_bytes, arrays))
        chunk[0].layout = slot.session.layouts.find([array.shape for array in arrays], map(len, data))
        chunk[0].data = data
    elif rows == len(chunk):
        _share_rows(slot, chunk, arrays)
    else:
        _share(slot, chunk, arrays)


def _share_rows(slot: Slot, chunk: Sequence[Request], arrays: Sequence[np.ndarray]) -> None:
    """Give each request its row."""
    columns = [split_rows(array.tobytes(), len(chunk)) for array in arrays]
    shapes = [(1, *array.shape[1:]) for array in arrays]
    layout = slot.session.layouts.find(shapes, [len(column[0]) for column in columns])
    for request, data in zip(chunk, zip(*columns, strict=True), strict=True):
        request.layout = layout
        request.data = data


def _share(slot: Slot, chunk: Sequence[Request], arrays: Sequence[np.ndarray]) -> None:
    """Give each request its rows, as many as it sent."""
    at = 0
    for request in chunk:
        end = at + request.rows
        request.data = tuple(array[at:end].tobytes() for array in arrays)
        shapes = [(request.rows, *array.shape[1:]) for array in arrays]
        request.layout = slot.session.layouts.find(shapes, map(len, request.data))
        at = end


def _fail(slot: Slot, request: Request) -> None:
    _log.exception(
        "version %d of model %s failed on a call",
        slot.key.version,
        slot.key.model,
        extra={"request_id": request.request_id},
    )
    request.error = ModelRunError("the model failed on this input", model=slot.key.model, version=slot.key.version)


def tensor_bytes(array: np.ndarray) -> bytes:
    """Return the elements as they travel: little-endian; text as length-prefixed UTF-8."""
    if array.dtype.kind in "OUS":
        items = [str(item).encode() for item in array.ravel()]
        return b"".join(len(item).to_bytes(4, "little") + item for item in items)
    return array.tobytes()
